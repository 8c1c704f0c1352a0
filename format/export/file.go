package export

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"thimble/internal/atomicfile"
)

// File returns a Plan.Write for a format that consists of one file. body writes the file's
// bytes to w in order. The returned function buffers them, reports progress, checks that
// there are as many as bytes, and gives the file its name once it is complete.
func File(o *Options, bytes int64, body func(ctx context.Context, w io.Writer) error) func(ctx context.Context, path string) error {
	return func(ctx context.Context, path string) error {
		f, err := atomicfile.Create(path, atomicfile.Options{Overwrite: o.Overwrite, Inputs: o.Inputs, Size: bytes})
		if err != nil {
			return err
		}
		defer f.Abort()
		c := &counter{ctx: ctx, w: f, progress: o.Progress}
		w := bufio.NewWriterSize(c, 1<<20)
		if err := body(ctx, w); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if c.done != bytes {
			return fmt.Errorf("%s: wrote %d bytes, planned %d", path, c.done, bytes)
		}
		return f.Commit()
	}
}

// A counter counts the bytes that it passes to w, and fails once ctx is done.
type counter struct {
	ctx      context.Context
	w        io.Writer
	done     int64
	progress func(done int64) // may be nil
}

func (c *counter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.w.Write(p)
	c.done += int64(n)
	if err == nil && c.progress != nil {
		c.progress(c.done)
	}
	return n, err
}
