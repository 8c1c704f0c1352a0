package thimble

import (
	"context"
	"fmt"
	"io"
	"os"

	"thimble/internal/defect"
	"thimble/internal/parallel"
	"thimble/internal/units"
)

// MaxText is the maximum size of a text, in bytes.
const MaxText = 1 << 30

// ReadText reads a text of at most limit bytes from the file at path, or from
// standard input for "-". It returns as soon as ctx ends, even while a pipe blocks. Errors
// name flag, the option that path is the value of.
func ReadText(ctx context.Context, flag, path string, limit int64) (string, error) {
	return parallel.Await(ctx, func() (string, error) {
		in := os.Stdin
		if path != "-" {
			f, err := os.Open(path)
			if err != nil {
				return "", defect.Unreadable(flag, path, err)
			}
			defer f.Close()
			in = f
		}
		text, err := io.ReadAll(io.LimitReader(in, limit+1))
		if err == nil && int64(len(text)) > limit {
			err = fmt.Errorf("is larger than %s", units.Size(limit))
		}
		if err != nil {
			return "", defect.Unreadable(flag, path, err)
		}
		return string(text), nil
	})
}
