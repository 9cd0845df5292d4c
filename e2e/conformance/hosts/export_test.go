package hosts

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

func TestExport(t *testing.T) {
	store := open(t, "EXPORT_ADDRESS")
	for name, check := range map[string]func(*testing.T, content.Store){
		"Write":             checkWrite,
		"WriteInParts":      checkWriteInParts,
		"WrongSize":         checkWrongSize,
		"WrongDigest":       checkWrongDigest,
		"OtherExpectation":  checkOtherExpectation,
		"Truncate":          checkTruncate,
		"Reopen":            checkReopen,
		"Copy":              checkCopy,
		"Crosswise":         checkCrosswise,
		"RefWithoutDigest":  checkRefWithoutDigest,
		"AbortOfWhatIsGone": checkAbort,
	} {
		t.Run(name, func(t *testing.T) { check(t, store) })
	}
	ctx := context.Background()
	_, descriptor, _ := layer(t, 1)
	notMeant(t, map[string]func() error{
		"Info":         func() error { _, err := store.Info(ctx, descriptor.Digest); return err },
		"ReaderAt":     func() error { _, err := store.ReaderAt(ctx, descriptor); return err },
		"Update":       func() error { _, err := store.Update(ctx, content.Info{Digest: descriptor.Digest}); return err },
		"Delete":       func() error { return store.Delete(ctx, descriptor.Digest) },
		"Walk":         func() error { return store.Walk(ctx, func(content.Info) error { return nil }) },
		"ListStatuses": func() error { _, err := store.ListStatuses(ctx); return err },
	})
}

// checkWrite writes a blob of several messages, and again: who has it already is not refused.
func checkWrite(t *testing.T, store content.Store) {
	blob, descriptor, ref := layer(t, 20<<20)
	for _, when := range []string{"first", "again"} {
		if err := writeWhole(store, ref, blob, descriptor); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}

func checkWriteInParts(t *testing.T, store content.Store) {
	blob, descriptor, ref := layer(t, 100_003)
	writer := writer(t, store, ref, descriptor)
	for _, end := range []int{1, 4_096, 65_537, len(blob)} {
		status, err := writer.Status()
		if err != nil {
			t.Fatal(err)
		}
		if status.Ref != ref || status.Total != descriptor.Size {
			t.Errorf("the status of another ingest: %+v", status)
		}
		write(t, writer, blob[status.Offset:end])
	}
	if err := writer.Commit(context.Background(), descriptor.Size, descriptor.Digest); err != nil {
		t.Error(err)
	}
}

func checkWrongSize(t *testing.T, store content.Store) {
	blob, descriptor, ref := layer(t, 1_000)
	ingest := writer(t, store, ref, descriptor)
	write(t, ingest, blob[:999])
	err := ingest.Commit(context.Background(), descriptor.Size, descriptor.Digest)
	refused(t, "a byte is missing", err, errdefs.IsFailedPrecondition)
	if err := writeWhole(store, ref, blob, descriptor); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

func checkWrongDigest(t *testing.T, store content.Store) {
	blob, descriptor, ref := layer(t, 1_000)
	ingest := writer(t, store, ref, descriptor)
	damaged := bytes.Clone(blob)
	damaged[500] ^= 1
	write(t, ingest, damaged)
	err := ingest.Commit(context.Background(), descriptor.Size, descriptor.Digest)
	refused(t, "a damaged byte", err, errdefs.IsFailedPrecondition)
	if err := writeWhole(store, ref, blob, descriptor); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

func checkOtherExpectation(t *testing.T, store content.Store) {
	blob, descriptor, ref := layer(t, 1_000)
	ingest := writer(t, store, ref, descriptor)
	write(t, ingest, blob)
	err := ingest.Commit(context.Background(), descriptor.Size, digest.FromString("another"))
	refused(t, "another digest", err, func(err error) bool {
		return errdefs.IsFailedPrecondition(err) || errdefs.IsInvalidArgument(err)
	})
}

func checkTruncate(t *testing.T, store content.Store) {
	blob, descriptor, ref := layer(t, 10_000)
	writer := writer(t, store, ref, descriptor)
	write(t, writer, []byte("not what it should begin with"))
	if err := writer.Truncate(0); err != nil {
		t.Fatal(err)
	}
	write(t, writer, blob)
	if err := writer.Commit(context.Background(), descriptor.Size, descriptor.Digest); err != nil {
		t.Error(err)
	}
}

// checkReopen closes an ingest halfway. Nothing is kept of it: the next begins at the start.
func checkReopen(t *testing.T, store content.Store) {
	blob, descriptor, ref := layer(t, 10_000)
	halfway := writer(t, store, ref, descriptor)
	write(t, halfway, blob[:5_000])
	if err := halfway.Close(); err != nil {
		t.Fatal(err)
	}
	again := writer(t, store, ref, descriptor)
	status, err := again.Status()
	if err != nil || status.Offset != 0 {
		t.Fatalf("the next ingest: %+v, %v", status, err)
	}
	write(t, again, blob)
	if err := again.Commit(context.Background(), descriptor.Size, descriptor.Digest); err != nil {
		t.Error(err)
	}
}

// checkCopy is containerd's own loop of retries and seeks.
func checkCopy(t *testing.T, store content.Store) {
	blob, descriptor, ref := layer(t, 3<<20)
	writer := writer(t, store, ref, descriptor)
	defer writer.Close()
	err := content.Copy(context.Background(), writer, bytes.NewReader(blob), descriptor.Size, descriptor.Digest)
	if err != nil {
		t.Error(err)
	}
}

// checkCrosswise writes several blobs at once, and each by two writers.
func checkCrosswise(t *testing.T, store content.Store) {
	var writers sync.WaitGroup
	for range 8 {
		blob, descriptor, ref := layer(t, 1<<20)
		for range 2 {
			writers.Go(func() {
				if err := writeWhole(store, ref, blob, descriptor); err != nil {
					t.Errorf("%s: %v", ref, err)
				}
			})
		}
	}
	writers.Wait()
}

func checkRefWithoutDigest(t *testing.T, store content.Store) {
	_, descriptor, _ := layer(t, 1_000)
	_, err := store.Writer(context.Background(), content.WithRef("some-ref"), content.WithDescriptor(descriptor))
	refused(t, "a ref that names no digest", err, errdefs.IsInvalidArgument)
}

func checkAbort(t *testing.T, store content.Store) {
	_, _, ref := layer(t, 1_000)
	refused(t, "abort", store.Abort(context.Background(), ref), errdefs.IsNotFound)
}
