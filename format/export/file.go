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
		if err := c.write(path, bytes, body); err != nil {
			return err
		}
		return f.Commit()
	}
}

// A Part is one file of a format that is a folder.
type Part struct {
	Name  string // one of Format.Files
	Bytes int64
	Body  func(ctx context.Context, w io.Writer) error // writes the bytes to w in order
}

// Text returns a Part that consists of text.
func Text(name string, text []byte) Part {
	return Part{Name: name, Bytes: int64(len(text)), Body: func(_ context.Context, w io.Writer) error {
		_, err := w.Write(text)
		return err
	}}
}

// Bytes returns the length of all parts.
func Bytes(parts []Part) (n int64) {
	for _, p := range parts {
		n += p.Bytes
	}
	return n
}

// Folder is File for format f, a folder, which consists of parts. The folder gets its name
// once all of them are complete.
func Folder(f Format, o *Options, parts []Part) func(ctx context.Context, path string) error {
	return func(ctx context.Context, path string) error {
		d, err := atomicfile.CreateDir(path, f.Files, atomicfile.Options{Overwrite: o.Overwrite, Inputs: o.Inputs, Size: Bytes(parts)})
		if err != nil {
			return err
		}
		defer d.Abort()
		c := &counter{ctx: ctx, progress: o.Progress}
		for _, p := range parts {
			err := d.Write(p.Name, func(w io.Writer) error {
				c.w = w
				return c.write(p.Name, p.Bytes, p.Body)
			})
			if err != nil {
				return err
			}
		}
		return d.Commit()
	}
}

// Check returns the error that a Plan.Write with these options would return about path, before
// any work.
func (f *Format) Check(path string, o atomicfile.Options) error {
	if f.Files != nil {
		return atomicfile.CheckDir(path, f.Files, o)
	}
	return atomicfile.Check(path, o)
}

// A counter counts the bytes that it passes to w, and fails once ctx is done.
type counter struct {
	ctx      context.Context
	w        io.Writer
	done     int64
	progress func(done int64) // may be nil
}

// write writes a file of the given length to w.
func (c *counter) write(name string, bytes int64, body func(ctx context.Context, w io.Writer) error) error {
	before := c.done
	w := bufio.NewWriterSize(c, 1<<20)
	if err := body(c.ctx, w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if n := c.done - before; n != bytes {
		return fmt.Errorf("%s: wrote %d bytes, planned %d", name, n, bytes)
	}
	return c.ctx.Err()
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
