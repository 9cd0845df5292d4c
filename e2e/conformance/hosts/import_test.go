package hosts

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestImport(t *testing.T) {
	store := open(t, "IMPORT_ADDRESS")
	blobs := imported(t)
	for name, check := range map[string]func(*testing.T, content.Store, digest.Digest){
		"Read":   checkRead,
		"Ranges": checkRanges,
	} {
		for _, blob := range blobs {
			t.Run(name, func(t *testing.T) { check(t, store, blob) })
		}
	}
	t.Run("Unknown", func(t *testing.T) { checkUnknown(t, store) })
	ctx := context.Background()
	_, descriptor, ref := layer(t, 1)
	notMeant(t, map[string]func() error{
		"Writer": func() error {
			_, err := store.Writer(ctx, content.WithRef(ref), content.WithDescriptor(descriptor))
			return err
		},
		"Update":       func() error { _, err := store.Update(ctx, content.Info{Digest: descriptor.Digest}); return err },
		"Delete":       func() error { return store.Delete(ctx, descriptor.Digest) },
		"Walk":         func() error { return store.Walk(ctx, func(content.Info) error { return nil }) },
		"ListStatuses": func() error { _, err := store.ListStatuses(ctx); return err },
		"Abort":        func() error { return store.Abort(ctx, ref) },
	})
}

// imported are the digests of the manifest and the layers, one a line.
func imported(t *testing.T) []digest.Digest {
	t.Helper()
	var blobs []digest.Digest
	for line := range strings.Lines(os.Getenv("IMPORT_DIGESTS")) {
		blob, err := digest.Parse(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, blob)
	}
	if len(blobs) == 0 {
		t.Fatal("IMPORT_DIGESTS names nothing")
	}
	return blobs
}

// described is what an importer knows of a blob before it reads it.
func described(t *testing.T, store content.Store, blob digest.Digest) ocispec.Descriptor {
	t.Helper()
	info, err := store.Info(context.Background(), blob)
	if err != nil {
		t.Fatal(err)
	}
	if info.Digest != blob || info.Size == 0 {
		t.Errorf("the info of another blob: %+v", info)
	}
	return ocispec.Descriptor{Digest: blob, Size: info.Size}
}

func checkRead(t *testing.T, store content.Store, blob digest.Digest) {
	descriptor := described(t, store, blob)
	bytes, err := content.ReadBlob(context.Background(), store, descriptor)
	if err != nil {
		t.Fatal(err)
	}
	if digest.FromBytes(bytes) != blob {
		t.Error("other bytes")
	}
}

func checkRanges(t *testing.T, store content.Store, blob digest.Digest) {
	descriptor := described(t, store, blob)
	whole, err := content.ReadBlob(context.Background(), store, descriptor)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := store.ReaderAt(context.Background(), descriptor)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	size := descriptor.Size
	if reader.Size() != size {
		t.Errorf("a size of %d, not %d", reader.Size(), size)
	}
	for _, offset := range []int64{0, 1, size / 3, size - 1} {
		part := make([]byte, min(100, size-offset))
		n, err := reader.ReadAt(part, offset)
		if err != nil && !errors.Is(err, io.EOF) || n != len(part) || !bytes.Equal(part, whole[offset:offset+int64(n)]) {
			t.Errorf("%d bytes at %d: %d, %v", len(part), offset, n, err)
		}
	}
	if n, err := reader.ReadAt(make([]byte, 8), size-4); n != 4 || !errors.Is(err, io.EOF) {
		t.Errorf("across the end: %d, %v", n, err)
	}
	if n, err := reader.ReadAt(make([]byte, 8), size+1); n != 0 || err == nil {
		t.Errorf("beyond the end: %d, %v", n, err)
	}
}

func checkUnknown(t *testing.T, store content.Store) {
	_, descriptor, _ := layer(t, 1)
	_, err := store.Info(context.Background(), descriptor.Digest)
	refused(t, "Info", err, errdefs.IsNotFound)
	_, err = store.ReaderAt(context.Background(), descriptor)
	refused(t, "ReaderAt", err, errdefs.IsNotFound)
}
