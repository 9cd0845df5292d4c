// Writes the architecture that it runs on into a file: what a step of another platform does, where no
// registry has an image of that platform.
package main

import (
	"os"
	"runtime"
)

func main() {
	if err := os.WriteFile("/architecture", []byte(runtime.GOARCH), 0o644); err != nil {
		panic(err)
	}
}
