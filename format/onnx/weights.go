package onnx

import (
	"context"
	"encoding/binary"
	"io"
	"math"

	"thimble/format/export"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A segment is a part of the data file.
type segment struct {
	offset int64
	tensor int // index of weights.tensors
	write  func(ctx context.Context, w io.Writer) error
}

// weights places tensors in the data file.
type weights struct {
	model   *model.Model
	options *export.Options

	tensors  []export.Tensor
	segments []segment
	end      int64 // of the last segment
}

// Alignment of segments in the data file: page if they have at least that many bytes, so that
// they can be mapped apart, and line otherwise.
const (
	page = 4096
	line = 64
)

// reserve returns the offset of the next n bytes.
func (w *weights) reserve(n int64) int64 {
	align := int64(line)
	if n >= page {
		align = page
	}
	offset := (w.end + align - 1) &^ (align - 1)
	w.end = offset + n
	return offset
}

// A stored matrix is where a matrix of the model is in the data file.
type stored struct {
	export.Tensor
	codes, scales, mins   int64 // offsets; floats are codes
	codeBytes, scaleBytes int64 // minimums have as many as scales
}

// place reserves the place of matrix source of the model, which has that role.
func (w *weights) place(source string, role model.Role) (*stored, error) {
	want := w.options.Exact(w.model, source)
	t, err := export.Place(Exporter{}, w.model, source, role, want, w.options)
	if err != nil {
		return nil, err
	}
	s := &stored{Tensor: t}
	s.Name = source
	var mins int64
	if s.codeBytes, s.scaleBytes, mins, err = t.To.Sizes(t.Rows, t.Cols); err != nil {
		return nil, err
	}
	s.Bytes = s.codeBytes + s.scaleBytes + mins
	s.codes = w.reserve(s.codeBytes)
	if s.scaleBytes > 0 {
		s.scales = w.reserve(s.scaleBytes)
	}
	if mins > 0 {
		s.mins = w.reserve(mins)
	}
	w.add(s.Tensor, s.codes, func(ctx context.Context, out io.Writer) error {
		return s.Read(ctx, w.model, w.options, func(x *qtensor.Matrix) error { return s.write(ctx, out, x) })
	})
	return s, nil
}

func (w *weights) add(t export.Tensor, offset int64, write func(ctx context.Context, out io.Writer) error) {
	w.segments = append(w.segments, segment{offset, len(w.tensors), write})
	w.tensors = append(w.tensors, t)
}

// write writes x: its rows of codes, then all scales, then all minimums. A row of codes of 2,
// 4 or 8 bits has the bytes that MatMulNBits reads.
func (s *stored) write(ctx context.Context, out io.Writer, x *qtensor.Matrix) error {
	var read qtensor.Reader
	var scales, mins []byte
	packed := make([]byte, s.codeBytes/int64(s.Rows))
	for r := range x.Rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		row := read.Stored(x, r)
		if s.To.Kind == qtensor.Int {
			codes, d, m := read.Codes(x, r)
			for g := range d {
				scales = binary.LittleEndian.AppendUint16(scales, d[g])
				if s.To.Asym {
					mins = binary.LittleEndian.AppendUint16(mins, m[g])
				}
			}
			if x.Scheme.Kind == qtensor.Foreign || x.Scheme.Uneven {
				row = packed
				s.To.PackRow(row, codes)
			}
		}
		if _, err := out.Write(row); err != nil {
			return err
		}
	}
	at := s.codes + s.codeBytes
	for _, part := range []struct {
		offset int64
		bytes  []byte
	}{{s.scales, scales}, {s.mins, mins}} {
		if len(part.bytes) == 0 {
			continue
		}
		if err := pad(out, part.offset-at); err != nil {
			return err
		}
		if _, err := out.Write(part.bytes); err != nil {
			return err
		}
		at = part.offset + int64(len(part.bytes))
	}
	return nil
}

// vectorOf reserves the place of tensor source of the model as float32, with add added to each value, and
// returns its offset and length.
func (w *weights) vectorOf(source string, add float32) (offset, length int64, err error) {
	t, err := export.Place(Exporter{}, w.model, source, model.Vector, qtensor.Scheme{Kind: qtensor.F32}, w.options)
	if err != nil {
		return 0, 0, err
	}
	t.Name, t.Bytes = source, 4*int64(t.Rows)*int64(t.Cols)
	offset = w.reserve(t.Bytes)
	w.add(t, offset, func(ctx context.Context, out io.Writer) error {
		return t.Read(ctx, w.model, w.options, func(x *qtensor.Matrix) error {
			var read qtensor.Reader
			return writeFloats(ctx, out, x.Rows, x.Cols, func(dst []float32, r int) {
				read.Row(dst, x, r)
				for i := range dst {
					dst[i] += add
				}
			})
		})
	})
	return offset, t.Bytes, nil
}

// tableOf reserves the place of rows of cols numbers that are not in the model, and returns their offset and
// length. row writes row r to dst, (cols).
func (w *weights) tableOf(name string, rows, cols int, row func(dst []float32, r int)) (offset, length int64) {
	t := export.Tensor{Name: name, Type: floatTypes[qtensor.F32].name, Rows: rows, Cols: cols, Bytes: 4 * int64(rows) * int64(cols)}
	offset = w.reserve(t.Bytes)
	w.add(t, offset, func(ctx context.Context, out io.Writer) error {
		return writeFloats(ctx, out, rows, cols, row)
	})
	return offset, t.Bytes
}

// writeFloats writes rows of cols numbers as float32. row writes row r to dst, (cols).
func writeFloats(ctx context.Context, out io.Writer, rows, cols int, row func(dst []float32, r int)) error {
	values, b := make([]float32, cols), make([]byte, 0, 4*cols)
	for r := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		row(values, r)
		b = b[:0]
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// write writes the data file.
func (w *weights) write(ctx context.Context, out io.Writer) error {
	c := &position{w: out}
	for _, s := range w.segments {
		if err := pad(c, s.offset-c.n); err != nil {
			return err
		}
		if err := s.write(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// A position counts what it passes to w.
type position struct {
	w io.Writer
	n int64
}

func (p *position) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.n += int64(n)
	return n, err
}

// pad writes n zeros.
func pad(w io.Writer, n int64) error {
	_, err := w.Write(make([]byte, n))
	return err
}
