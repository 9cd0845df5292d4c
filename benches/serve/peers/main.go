// Program act is act's cache server without act: it serves the directory that it is given until it is ended.
package main

import (
	"fmt"
	"os"

	"github.com/nektos/act/pkg/artifactcache"
)

func main() {
	handler, err := artifactcache.StartHandler(os.Args[1], "", "127.0.0.1", 0, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(handler.ExternalURL())
	select {}
}
