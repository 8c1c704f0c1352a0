package thimble

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/verify"
)

// A hashing computes the SHA-256 of files in the background.
type hashing struct {
	// Sources has the name and length of each file. The digests are zero until wait.
	Sources []model.Source
	sums    [][]byte
	done    chan struct{} // closed when all files are hashed, or err is set
	err     error
	stop    context.CancelFunc
}

// startHashing starts to hash the files, as many at a time as there are cores.
// progress may be nil.
func startHashing(ctx context.Context, paths []string, progress Progress) (*hashing, error) {
	ctx, stop := context.WithCancel(ctx)
	sources, err := sized(paths)
	if err != nil {
		stop()
		return nil, err
	}
	h := &hashing{Sources: sources, sums: make([][]byte, len(paths)), done: make(chan struct{}), stop: stop}
	var total int64
	for _, s := range sources {
		total += s.Bytes
	}
	var done atomic.Int64
	report := progress.stage("hash", Bytes)
	go func() {
		defer close(h.done)
		h.err = parallel.Do(ctx, len(paths), func(_, i int) error {
			n, sum, err := hashFile(ctx, paths[i], func(k int64) { report(done.Add(k), total) })
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

// sized returns the names and lengths of files as sources whose digests are zero.
func sized(paths []string) ([]model.Source, error) {
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

// wait waits for the digests and sets them in Sources.
func (h *hashing) wait() error {
	<-h.done
	h.stop()
	if h.err != nil {
		return h.err
	}
	for i := range h.Sources {
		copy(h.Sources[i].SHA256, h.sums[i])
	}
	return nil
}

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

// hashFiles returns the name, length and SHA-256 of each file.
func hashFiles(ctx context.Context, paths []string, progress Progress) ([]model.Source, error) {
	h, err := startHashing(ctx, paths, progress)
	if err != nil {
		return nil, err
	}
	return h.Sources, h.wait()
}

// identify returns the path, size and digest of a model for a report.
func identify(ctx context.Context, m *model.Model, progress Progress) (verify.ModelInfo, error) {
	weights, bytes := m.Size()
	info := verify.ModelInfo{Path: m.Path, BitsPerWeight: 8 * float64(bytes) / float64(weights)}
	sources, err := hashFiles(ctx, m.Files, progress)
	for _, s := range sources {
		info.Bytes += s.Bytes
	}
	info.SHA256 = hex.EncodeToString(mainDigest(sources))
	return info, err
}

// mainDigest returns the digest that identifies a model: that of its largest file, which
// contains weights.
func mainDigest(sources []model.Source) []byte {
	main := model.Source{Bytes: -1}
	for _, s := range sources {
		if s.Bytes > main.Bytes {
			main = s
		}
	}
	return main.SHA256
}
