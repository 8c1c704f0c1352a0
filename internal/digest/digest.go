// Package digest computes the SHA-256 of the files of a model.
package digest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// A Hashing computes the SHA-256 of files in the background.
type Hashing struct {
	// Sources has the name and length of each file. The digests are zero until Wait.
	Sources []model.Source
	paths   []string
	sums    [][]byte
	done    chan struct{} // closed when all files are hashed, or err is set
	err     error
	stop    context.CancelFunc
}

// Start starts to hash the files, as many at a time as there are cores. progress, which may
// be nil, is called with bytes, from several goroutines at once. The caller must call Wait
// or Stop.
func Start(ctx context.Context, paths []string, progress func(done, total int64)) (*Hashing, error) {
	if progress == nil {
		progress = func(done, total int64) {}
	}
	ctx, stop := context.WithCancel(ctx)
	sources, err := Sized(paths)
	if err != nil {
		stop()
		return nil, err
	}
	h := &Hashing{Sources: sources, paths: paths, sums: make([][]byte, len(paths)), done: make(chan struct{}), stop: stop}
	var total int64
	for _, s := range sources {
		total += s.Bytes
	}
	var done atomic.Int64
	go func() {
		defer close(h.done)
		h.err = parallel.Do(ctx, len(paths), func(_, i int) error {
			n, sum, err := hashFile(ctx, paths[i], func(k int64) { progress(done.Add(k), total) })
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

// Sized returns the names and lengths of files as sources whose digests are zero.
func Sized(paths []string) ([]model.Source, error) {
	sources := make([]model.Source, 0, len(paths))
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		sources = append(sources, model.Source{Name: filepath.Base(path), Bytes: info.Size(), SHA256: make([]byte, sha256.Size)})
	}
	return sources, nil
}

// Wait waits for the digests and sets them in Sources. It returns an error if a file that is mapped
// is not the one any more that it was when it was mapped.
func (h *Hashing) Wait() error {
	<-h.done
	h.stop()
	if h.err != nil {
		return h.err
	}
	for _, path := range h.paths {
		if err := mmap.Changed(path); err != nil {
			return err
		}
	}
	for i := range h.Sources {
		copy(h.Sources[i].SHA256, h.sums[i])
	}
	return nil
}

// Stop ends the work early. After Wait it does nothing.
func (h *Hashing) Stop() { h.stop() }

// hashFile hashes the file at path, and calls progress with the bytes just read.
func hashFile(ctx context.Context, path string, progress func(int64)) (n int64, sum []byte, err error) {
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
			progress(int64(k))
		}
	}
	if err != io.EOF {
		return n, nil, err
	}
	return n, h.Sum(nil), nil
}

// Files returns the name, length and SHA-256 of each file. progress is as in Start.
func Files(ctx context.Context, paths []string, progress func(done, total int64)) ([]model.Source, error) {
	h, err := Start(ctx, paths, progress)
	if err != nil {
		return nil, err
	}
	return h.Sources, h.Wait()
}

// Folder returns the paths of the files in a folder, in order.
func Folder(path string) (paths []string, err error) {
	files, err := os.ReadDir(path)
	for _, f := range files {
		paths = append(paths, filepath.Join(path, f.Name()))
	}
	return paths, err
}

// Main returns the digest that identifies a model: that of its largest file, which
// contains weights.
func Main(sources []model.Source) []byte {
	main := model.Source{Bytes: -1}
	for _, s := range sources {
		if s.Bytes > main.Bytes {
			main = s
		}
	}
	return main.SHA256
}
