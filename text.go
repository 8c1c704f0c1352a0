package thimble

import (
	"context"
	"fmt"
	"io"
	"os"

	"thimble/internal/defect"
	"thimble/internal/units"
)

// MaxText is the maximum size of a text, in bytes.
const MaxText = 1 << 30

// ReadText reads a text of at most limit bytes from the file at path, or from
// standard input for "-". It returns as soon as ctx ends, even while a pipe blocks.
func ReadText(ctx context.Context, path string, limit int64) (string, error) {
	return await(ctx, func() (string, error) {
		in := os.Stdin
		if path != "-" {
			f, err := os.Open(path)
			if err != nil {
				return "", err
			}
			defer f.Close()
			in = f
		}
		text, err := io.ReadAll(io.LimitReader(in, limit+1))
		if err == nil && int64(len(text)) > limit {
			err = fmt.Errorf("is larger than %s", units.Size(limit))
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", defect.Printable(path), err)
		}
		return string(text), nil
	})
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
