package thimble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"thimble/internal/defect"
	"thimble/internal/units"
)

// MaxText is the maximum size of a text, in bytes.
const MaxText = 1 << 30

// ReadText reads a text of at most limit bytes from the file at path, or from
// standard input for "-". It returns as soon as ctx ends, even while a pipe blocks. Errors
// name flag, the option that path is the value of.
func ReadText(ctx context.Context, flag, path string, limit int64) (string, error) {
	return await(ctx, func() (string, error) {
		in := os.Stdin
		if path != "-" {
			f, err := os.Open(path)
			if err != nil {
				return "", unreadable(flag, path, err)
			}
			defer f.Close()
			in = f
		}
		text, err := io.ReadAll(io.LimitReader(in, limit+1))
		if err == nil && int64(len(text)) > limit {
			err = fmt.Errorf("is larger than %s", units.Size(limit))
		}
		if err != nil {
			return "", unreadable(flag, path, err)
		}
		return string(text), nil
	})
}

// unreadable returns the error for the value of a flag, a file that cannot be read because
// of err. It wraps err, but names the file only once and no system call.
func unreadable(flag, path string, err error) error {
	why := err.Error()
	if p := new(fs.PathError); errors.As(err, &p) {
		why = p.Err.Error()
	}
	if errors.Is(err, fs.ErrNotExist) {
		why = "no such file" // in the same words on every system
	}
	return defect.Replace(err, fmt.Sprintf("%s %s: %s", flag, defect.Printable(path), why))
}

// await returns the result of f, or ctx's error as soon as ctx ends. f then keeps
// running, so it must not change anything that outlives the process.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
