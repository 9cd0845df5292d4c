// Command solve is a client of BuildKit as other Go programs are: it calls Client.Solve with a
// frontend or with LLB, which buildctl and buildx never do.
//
//	solve ADDR frontend CONTEXT EXPORT IMPORT    the Dockerfile of CONTEXT
//	solve ADDR llb CONTEXT EXPORT IMPORT         three steps as LLB
//	solve - marshal FILE                         writes the same LLB to FILE
//
// EXPORT and IMPORT are attributes of a gha entry, or empty. Progress is raw JSON, on standard error.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/util/progress/progresswriter"
	"github.com/tonistiigi/fsutil"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "solve:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	def, err := steps().Marshal(ctx, llb.LinuxAmd64)
	if err != nil {
		return err
	}
	if args[1] == "marshal" {
		out, err := os.Create(args[2])
		if err != nil {
			return err
		}
		defer out.Close()
		return llb.WriteTo(def, out)
	}
	c, err := client.New(ctx, args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	mount, err := fsutil.NewFS(args[2])
	if err != nil {
		return err
	}
	opt := client.SolveOpt{
		CacheExports:  entries(args[3]),
		CacheImports:  entries(args[4]),
		FrontendAttrs: map[string]string{},
		LocalMounts:   map[string]fsutil.FS{"context": mount, "dockerfile": mount},
	}
	if args[1] == "frontend" {
		def, opt.Frontend = nil, "dockerfile.v0"
	}
	shown, err := progresswriter.NewPrinter(ctx, os.Stderr, "rawjson")
	if err != nil {
		return err
	}
	_, err = c.Solve(ctx, def, opt, shown.Status())
	<-shown.Done()
	return err
}

// The names are those of a Dockerfile's steps, which the suite looks for.
func steps() llb.State {
	shell := llb.Scratch().File(
		llb.Copy(llb.Local("context"), "busybox", "/bin/busybox", &llb.CopyInfo{CreateDestPath: true}),
		llb.WithCustomName("[shell 1/3] COPY busybox"))
	random := shell.Run(
		llb.Args([]string{"/bin/busybox", "sh", "-c", "/bin/busybox head -c 90000 /dev/urandom > /random"}),
		llb.WithCustomName("[shell 2/3] RUN head")).Root()
	return random.Run(
		llb.Args([]string{"/bin/busybox", "cp", "/random", "/again"}),
		llb.WithCustomName("[shell 3/3] RUN cp")).Root()
}

func entries(attributes string) []client.CacheOptionsEntry {
	if attributes == "" {
		return nil
	}
	attrs := map[string]string{}
	for pair := range strings.SplitSeq(attributes, ",") {
		name, value, _ := strings.Cut(pair, "=")
		attrs[name] = value
	}
	delete(attrs, "type")
	return []client.CacheOptionsEntry{{Type: "gha", Attrs: attrs}}
}
