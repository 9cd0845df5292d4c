// Package hosts has cases for the two content stores that the gateway really uses. containerd's own suite writes
// each of its cases under a ref of its own choice and reads it back; an export takes refs that name a digest and
// is never read, and an import is never written. These cases ask the same with containerd's client, as far as
// either store is meant to answer. `tests/cache/conformance.rs` serves both and runs them.
package hosts

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/content/proxy"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// open dials the address that a variable names, with the message limits of containerd's own client.
func open(t *testing.T, variable string) content.Store {
	t.Helper()
	address := os.Getenv(variable)
	if address == "" {
		t.Fatalf("%s is not set: it must be the address of a content service", variable)
	}
	client, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
			grpc.MaxCallSendMsgSize(defaults.DefaultMaxSendMsgSize)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return proxy.NewContentStore(client)
}

// layer makes content that no other case has, its descriptor, and the ref that containerd's clients write it under.
func layer(t *testing.T, size int) ([]byte, ocispec.Descriptor, string) {
	t.Helper()
	bytes := make([]byte, size)
	if _, err := rand.Read(bytes); err != nil {
		t.Fatal(err)
	}
	descriptor := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageLayerGzip,
		Digest:    digest.FromBytes(bytes),
		Size:      int64(size),
	}
	return bytes, descriptor, remotes.MakeRefKey(context.Background(), descriptor)
}

// writer opens an ingest, which must not be refused.
func writer(t *testing.T, store content.Store, ref string, descriptor ocispec.Descriptor) content.Writer {
	t.Helper()
	writer, err := store.Writer(context.Background(), content.WithRef(ref), content.WithDescriptor(descriptor))
	if err != nil {
		t.Fatalf("open %s: %v", ref, err)
	}
	return writer
}

// write appends bytes and checks that the whole of them was taken.
func write(t *testing.T, writer content.Writer, part []byte) {
	t.Helper()
	if n, err := writer.Write(part); err != nil || n != len(part) {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(part), err)
	}
}

// refused fails unless the error is of the kind that is wanted.
func refused(t *testing.T, what string, err error, is func(error) bool) {
	t.Helper()
	if !is(err) {
		t.Errorf("%s: %v", what, err)
	}
}

// writeWhole is how containerd's clients write a blob that they have.
func writeWhole(store content.Store, ref string, blob []byte, descriptor ocispec.Descriptor) error {
	return content.WriteBlob(context.Background(), store, ref, bytes.NewReader(blob), descriptor)
}

// notMeant checks that the store says of methods which it has no use for that it lacks them.
func notMeant(t *testing.T, calls map[string]func() error) {
	for name, call := range calls {
		t.Run(fmt.Sprintf("Unimplemented/%s", name), func(t *testing.T) {
			refused(t, name, call(), errdefs.IsNotImplemented)
		})
	}
}
