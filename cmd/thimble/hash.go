package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// A hashing computes the SHA-256 of files while other work goes on.
type hashing struct {
	// Sources are name and length of each file; their digests are zero until wait.
	Sources []model.Source
	sums    [][]byte
	ended   chan struct{} // closed when err is known
	err     error
	stop    context.CancelFunc
}

// startHashing begins to hash the files, several at a time.
func startHashing(ctx context.Context, paths []string, progress *meter) (*hashing, error) {
	ctx, stop := context.WithCancel(ctx)
	h := &hashing{Sources: make([]model.Source, len(paths)), sums: make([][]byte, len(paths)), ended: make(chan struct{}), stop: stop}
	var total int64
	for i, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			stop()
			return nil, err
		}
		h.Sources[i] = model.Source{Name: filepath.Base(path), Bytes: info.Size(), SHA256: make([]byte, sha256.Size)}
		total += info.Size()
	}
	var done atomic.Int64
	go func() {
		defer close(h.ended)
		h.err = parallel.Do(ctx, len(paths), func(_, i int) error {
			n, sum, err := hashFile(ctx, paths[i], func(k int64) { progress.at(done.Add(k), total) })
			if err == nil && n != h.Sources[i].Bytes {
				err = fmt.Errorf("has %d bytes, had %d before: %w", n, h.Sources[i].Bytes, parallel.ErrFault)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", defect.Printable(paths[i]), err)
			}
			h.sums[i] = sum
			return nil
		})
	}()
	return h, nil
}

// wait fills in the digests of Sources once all are known.
func (h *hashing) wait() error {
	<-h.ended
	h.stop()
	if h.err != nil {
		return h.err
	}
	for i := range h.Sources {
		copy(h.Sources[i].SHA256, h.sums[i])
	}
	return nil
}

// hashFile calls more with the bytes that it has got further.
func hashFile(ctx context.Context, path string, more func(int64)) (n int64, sum []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for err == nil {
		if err = ctx.Err(); err == nil {
			var k int
			k, err = f.Read(buf)
			h.Write(buf[:k])
			n += int64(k)
			more(int64(k))
		}
	}
	if err != io.EOF {
		return n, nil, err
	}
	return n, h.Sum(nil), nil
}

// hashFiles returns name, length and SHA-256 of each file.
func hashFiles(ctx context.Context, paths []string, progress *meter) ([]model.Source, error) {
	h, err := startHashing(ctx, paths, progress)
	if err != nil {
		return nil, err
	}
	return h.Sources, h.wait()
}
