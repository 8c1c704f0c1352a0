package thimble

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// Options specify how a container is written.
type Options struct {
	Overwrite bool     // replace an existing file
	Inputs    []string // paths being read, such as Model.Files, which are never replaced

	system atomicfile.System // the operating system's unless a test sets it
	piece  int               // bytes of a tensor in memory at a time; pieceBytes unless a test sets it
}

// A Writer writes one container, tensor by tensor. The file appears when Close is called.
// Until then the Writer fills a temporary file in the same folder, which begins with zeros
// and therefore cannot be mistaken for a container.
type Writer struct {
	path     string
	contents *Contents
	header   *header
	layout
	piece int // see Options
	file  *atomicfile.File
	buf   *bufio.Writer
	at    int64 // bytes written to buf
	tail  int64 // where the next piece of a coded tensor goes
	next  int   // tensors written
	err   error // the first failure

	digest Digest
}

// Create starts writing a container for c at path. It checks all of c before it writes
// anything. Until Close, the caller must not change c, except to fill in the digests of
// its sources.
func Create(path string, c *Contents, o Options) (*Writer, error) {
	if err := c.check(path, int64(len(c.Tokenizer))); err != nil {
		return nil, err
	}
	w := &Writer{path: path, contents: c, piece: cmp.Or(o.piece, pieceBytes)}
	var err error
	if w.header, w.layout, err = c.describe(); err != nil {
		return nil, fmt.Errorf("%s: header: %w", defect.Printable(path), err)
	}
	// Refuse a header that the reader would refuse, such as one with text that is not
	// UTF-8, or one that a recipe makes too long.
	if w.layout.header.n > maxHeader {
		return nil, fmt.Errorf("%s: header takes %d bytes, want at most %d", defect.Printable(path), w.layout.header.n, maxHeader)
	}
	if front, err := w.front(); err != nil {
		return nil, err
	} else if _, err := decodeHeader(path, front[preambleLen:]); err != nil {
		return nil, err
	}
	if w.file, err = atomicfile.Create(path, atomicfile.Options{
		Overwrite: o.Overwrite, Inputs: o.Inputs, Size: w.size, System: o.system,
	}); err != nil {
		return nil, err
	}
	w.buf = bufio.NewWriterSize(w.file, 1<<20)
	w.put(w.layout.tokenizer.off, c.Tokenizer)
	w.put(w.data, nil)
	w.tail = w.layout.coded
	if w.err != nil {
		w.Abort()
		return nil, w.err
	}
	return w, nil
}

// Write writes the next tensor, in the order of the contents.
func (w *Writer) Write(m *qtensor.Matrix) error {
	if w.err != nil {
		return w.err
	}
	if w.next == len(w.contents.Tensors) {
		return fmt.Errorf("%s: all %d tensors are written already", defect.Printable(w.path), w.next)
	}
	e := w.contents.Tensors[w.next]
	if !e.same(m) {
		return fmt.Errorf("%s: %s: is %v (%d, %d), want %v (%d, %d) as in the contents", defect.Printable(w.path), e.Name,
			m.Scheme, m.Rows, m.Cols, e.Scheme, e.Rows, e.Cols)
	}
	if err := m.Check(); err != nil {
		return fmt.Errorf("%s: %s: %w", defect.Printable(w.path), e.Name, err)
	}
	hash, crc := sha256.New(), newCRC32C()
	write := w.putPlanes
	if e.Coded {
		write = w.putCoded
	}
	if err := write(m, io.MultiWriter(hash, crc)); err != nil {
		if err == parallel.ErrFault {
			err = fmt.Errorf("%s: reading its source: %w", e.Name, err)
		}
		w.err = err
		return err
	}
	hash.Sum(w.header.Tensors[w.next].SHA256[:0])
	if !e.Coded {
		crc.Sum(w.header.Tensors[w.next].CRC32C[:0])
	}
	w.next++
	return nil
}

// pieceBytes is how much of a plane is resident at a time.
const pieceBytes = 4 << 20

// putPlanes writes the planes of m at their offsets in the file, and to hash.
func (w *Writer) putPlanes(m *qtensor.Matrix, hash io.Writer) error {
	for j, plane := range m.Planes() {
		off := w.planes[w.next][j].off
		for piece := range slices.Chunk(plane, w.piece) {
			if err := w.putPiece(off, piece, hash); err != nil {
				return err
			}
			mmap.Release(piece)
			off += int64(len(piece))
		}
	}
	if m.Source == nil {
		return nil
	}
	// The rows of a Source take the place of the codes, the first plane.
	off := w.planes[w.next][0].off
	var reader qtensor.Reader
	piece := make([]byte, 0, w.piece)
	for r := range m.Rows {
		err := parallel.Guard(func() error {
			piece = append(piece, reader.Stored(m, r)...)
			return nil
		})
		if err == nil && (r == m.Rows-1 || len(piece)+m.RowBytes() > w.piece) {
			err = w.putPiece(off, piece, hash)
			off += int64(len(piece))
			piece = piece[:0]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putPiece writes a piece at off, and to hash. Both take as long as reading it, which may be
// mapped from a source file, so they run in parallel.
func (w *Writer) putPiece(off int64, piece []byte, hash io.Writer) error {
	passes := []func() error{
		func() error { w.put(off, piece); return w.err },
		func() error { _, err := hash.Write(piece); return err },
	}
	return parallel.Do(context.Background(), len(passes), func(_, i int) error { return passes[i]() })
}

// put writes zeros up to offset off, followed by p.
func (w *Writer) put(off int64, p []byte) {
	if w.err == nil {
		_, w.err = w.buf.Write(make([]byte, off-w.at))
	}
	if w.err == nil {
		_, w.err = w.buf.Write(p)
	}
	w.at = off + int64(len(p))
}

// front returns the preamble and the header.
func (w *Writer) front() ([]byte, error) {
	raw, err := encoding.Marshal(w.header)
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) != w.layout.header.n {
		return nil, fmt.Errorf("%s: header takes %d bytes, %d were reserved for it", defect.Printable(w.path), len(raw), w.layout.header.n)
	}
	p := preamble{
		Magic:    [len(Magic)]byte([]byte(Magic)),
		Version:  version,
		Header:   uint32(len(raw)),
		Features: w.contents.features(),
		Data:     uint64(w.data),
		File:     uint64(w.size),
		SHA256:   sha256.Sum256(raw),
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, &p); err != nil {
		return nil, err
	}
	b.Write(raw)
	return b.Bytes(), nil
}

// Close finishes the file once all tensors are written: it writes the preamble and the
// header, syncs the file and gives it its name. If it fails, it removes the file.
func (w *Writer) Close() error {
	defer w.Abort()
	if n := len(w.contents.Tensors); w.err == nil && w.next < n {
		w.err = fmt.Errorf("%s: only %d of %d tensors are written", defect.Printable(w.path), w.next, n)
	}
	w.put(w.layout.coded, nil)
	if w.err == nil {
		w.err = w.buf.Flush()
	}
	w.size = align(w.tail, planeAlign)
	if w.err == nil && w.size > w.tail {
		_, w.err = w.file.WriteAt(make([]byte, w.size-w.tail), w.tail)
	}
	if w.err != nil {
		return w.err
	}
	front, err := w.front()
	if err != nil {
		return err
	}
	if _, err := w.file.WriteAt(front, 0); err != nil {
		return err
	}
	w.digest = sha256.Sum256(front[preambleLen:])
	return w.file.Commit()
}

// Size returns the length of the file in bytes. With coded tensors it is known after Close.
func (w *Writer) Size() int64 { return w.size }

// TensorBytes returns the bytes that the tensors take, gaps included.
func (w *Writer) TensorBytes() int64 { return w.size - w.data }

// Digest returns the SHA-256 of the header, which is known after Close. It identifies the
// contents of the file, because the header contains the digests of all parts.
func (w *Writer) Digest() Digest { return w.digest }

// Abort removes the temporary file. After Close it does nothing.
func (w *Writer) Abort() {
	w.file.Abort()
	if w.err == nil {
		w.err = errors.New("the container writer is closed")
	}
}

// Record rewrites the container that m was read from, with other gates, and closes m.
func Record(m *model.Model, gates []Gate) error {
	contents, err := Describe(m)
	if err != nil {
		return err
	}
	contents.Gates = gates
	w, err := Create(m.Path, contents, Options{Overwrite: true})
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, e := range contents.Tensors {
		if err := w.Write(m.Tensors[e.Name]); err != nil {
			return err
		}
	}
	if err := m.Close(); err != nil { // Windows does not replace a mapped file
		return err
	}
	return w.Close()
}
