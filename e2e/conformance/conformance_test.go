// Package conformance runs containerd's content suite against `buildkit-gha content`.
package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/content/proxy"
	"github.com/containerd/containerd/v2/core/content/testsuite"
	"github.com/containerd/containerd/v2/defaults"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// binaryVariable names the program under test.
const binaryVariable = "BUILDKIT_GHA_BIN"

func TestContent(t *testing.T) {
	binary := os.Getenv(binaryVariable)
	if binary == "" {
		t.Fatalf("%s is not set: it must be the path of a built buildkit-gha", binaryVariable)
	}
	testsuite.ContentSuite(t, "gha", func(ctx context.Context, root string) (context.Context, content.Store, func() error, error) {
		server, err := start(binary, root)
		if err != nil {
			return nil, nil, nil, err
		}
		client, err := dial(server.address)
		if err != nil {
			return nil, nil, nil, errors.Join(err, server.stop())
		}
		stop := func() error { return errors.Join(client.Close(), server.stop()) }
		return ctx, proxy.NewContentStore(client), stop, nil
	})
}

// dial connects with the message limits that containerd's own client has.
func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
			grpc.MaxCallSendMsgSize(defaults.DefaultMaxSendMsgSize)))
}

// server is a running `buildkit-gha content`.
type server struct {
	process   *exec.Cmd
	address   string
	socketDir string
}

// start runs the program on root and waits until it says that it listens.
func start(binary, root string) (*server, error) {
	// Not inside root, and short: a socket path has at most 107 bytes.
	socketDir, err := os.MkdirTemp("", "gha-")
	if err != nil {
		return nil, err
	}
	address := "unix://" + filepath.Join(socketDir, "content.sock")
	process := exec.Command(binary, "content", "--root", root, "--addr", address)
	process.Stderr = os.Stderr
	output, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, err
	}
	s := &server{process: process, address: address, socketDir: socketDir}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "listening on ") {
		err = fmt.Errorf("unexpected output %q", line)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not listen: %w", binary, err), s.stop())
	}
	return s, nil
}

// stop asks the program to end; it must do so without an error.
func (s *server) stop() error {
	return errors.Join(
		s.process.Process.Signal(syscall.SIGTERM),
		s.process.Wait(),
		os.RemoveAll(s.socketDir))
}
