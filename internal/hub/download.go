package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"thimble/internal/defect"
)

var digits = regexp.MustCompile(`^[0-9a-f]+$`)

// newHash returns the hash that the hub names a file by: SHA-256 of its bytes for a file of
// Git LFS, Git's hash of a blob of size bytes for any other. It is nil if sum is neither.
func newHash(sum string, size int64) hash.Hash {
	switch {
	case !digits.MatchString(sum):
		return nil
	case len(sum) == 2*sha256.Size:
		return sha256.New()
	case len(sum) == 2*sha1.Size:
		h := sha1.New()
		fmt.Fprintf(h, "blob %d\x00", size)
		return h
	}
	return nil
}

// A transfer downloads one file to the cache.
type transfer struct {
	*client
	name
	remote
	commit string
	cache  cache
	report func(bytes int64) // of this file so far
}

// errTooMuch and errWrongHash mean that what was received is not the file.
var (
	errTooMuch   = errors.New("the server sends more than the file's size")
	errWrongHash = errors.New("what was received has another hash than the hub lists")
)

// run fetches the file unless the cache has it. It continues a partial file, BLOB.incomplete.
func (t *transfer) run(ctx context.Context) error {
	blob := t.cache.blob(t.repo, t.hash)
	if info, err := os.Stat(blob); err != nil || info.Size() != t.size {
		if err := t.locked(ctx, blob); err != nil {
			return err
		}
	}
	t.report(t.size)
	return t.cache.link(t.repo, t.commit, t.remote.path, t.hash)
}

// locked downloads the blob while no other program does.
func (t *transfer) locked(ctx context.Context, blob string) error {
	for _, dir := range []string{filepath.Dir(blob), filepath.Dir(t.cache.lockFile(t.repo, t.hash))} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	unlock, err := lock(ctx, t.cache.lockFile(t.repo, t.hash))
	if err != nil {
		return err
	}
	defer unlock()
	if info, err := os.Stat(blob); err == nil && info.Size() == t.size { // the other program has done it
		return nil
	}
	part := blob + ".incomplete"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	err = t.fill(ctx, f)
	if errors.Is(err, errTooMuch) || errors.Is(err, errWrongHash) {
		f.Close()
		os.Remove(part)
		return fmt.Errorf("%s: %s: %w; the download was discarded", t.name, defect.Printable(t.remote.path), err)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(part, blob)
}

// fill completes the file f. If what an earlier run left was not the beginning of the file,
// or the server cannot continue, it starts again.
func (t *transfer) fill(ctx context.Context, f *os.File) error {
	for restarts := 0; ; restarts++ {
		sum, at, err := t.resume(f)
		if err != nil {
			return err
		}
		err = t.receive(ctx, f, sum, at)
		switch {
		case err == nil && hex.EncodeToString(sum.Sum(nil)) == t.hash:
			return nil
		case err == nil && at == 0:
			return errWrongHash
		case err != nil && !errors.Is(err, errFromStart):
			return err
		case restarts == attempts:
			return fmt.Errorf("%s: %s: %w, and the connection breaks each time", t.name, defect.Printable(t.remote.path), errFromStart)
		}
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
}

// receive appends the bytes from offset at on. A connection that breaks is opened again for
// the rest, as long as bytes arrive.
func (t *transfer) receive(ctx context.Context, f *os.File, sum hash.Hash, at int64) error {
	for at < t.size {
		err := t.retry(ctx, t.name, func() (err error) {
			before := at
			at, err = t.get(ctx, f, sum, at)
			if stop := new(final); at > before && !errors.As(err, stop) {
				return nil // the rest is another request
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// errFromStart means that the server sends only the whole file.
var errFromStart = errors.New("the server cannot continue a download")

// resume returns the hash of the bytes that f holds, and their number.
func (t *transfer) resume(f *os.File) (hash.Hash, int64, error) {
	sum := newHash(t.hash, t.size)
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if info.Size() > t.size {
		return sum, 0, f.Truncate(0)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, 0, err
	}
	at, err := io.Copy(sum, f)
	return sum, at, err
}

// get appends the bytes from offset at on, and returns the new offset.
func (t *transfer) get(ctx context.Context, f *os.File, sum hash.Hash, at int64) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	header := http.Header{}
	if at > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", at))
	}
	r, err := t.do(ctx, http.MethodGet, t.fileAddress(t.name, t.commit, t.remote.path), header)
	if err != nil {
		return at, err
	}
	defer r.Body.Close()
	want := fmt.Sprintf("bytes %d-%d/%d", at, t.size-1, t.size)
	switch {
	case r.StatusCode == http.StatusOK && at == 0:
	case r.StatusCode == http.StatusPartialContent && at > 0 && r.Header.Get("Content-Range") == want:
	case at > 0 && (r.StatusCode == http.StatusOK || r.StatusCode == http.StatusPartialContent || r.StatusCode == http.StatusRequestedRangeNotSatisfiable):
		return at, final{errFromStart}
	default:
		return at, t.refused(t.name, t.remote.path, r)
	}
	if r.ContentLength > t.size-at {
		return at, final{errTooMuch}
	}
	watch := time.AfterFunc(t.stall, func() { cancel(fmt.Errorf("no byte arrived for %v", t.stall)) })
	defer watch.Stop()
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return at, final{err}
	}
	buf := make([]byte, 1<<18)
	for {
		n, err := r.Body.Read(buf)
		watch.Reset(t.stall)
		if at+int64(n) > t.size {
			return at, final{errTooMuch}
		}
		if _, err := f.Write(buf[:n]); err != nil {
			return at, final{err}
		}
		sum.Write(buf[:n])
		at += int64(n)
		t.report(at)
		switch {
		case errors.Is(err, io.EOF) && at < t.size:
			return at, io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return at, nil
		case err != nil && ctx.Err() != nil:
			return at, context.Cause(ctx)
		case err != nil:
			return at, err
		}
	}
}
