package thimble

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync"
	"sync/atomic"

	"thimble/internal/ans"
	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A coded tensor is stored in pieces: for each plane that its scheme has, the head of package
// ans and then the pieces. Codes are coded one by one, whatever their width; float16 numbers as
// two bytes each.

// pieceRecord is the length of a piece's record in the header.
const pieceRecord = 4 + sha256.Size

// features returns the bits of preamble.Features that c needs.
func (c *Contents) features() (bits uint64) {
	for _, e := range c.Tensors {
		if e.Coded {
			bits |= featureCoded
		}
		if e.Scheme.Short {
			bits |= featureShort
		}
		if e.Scheme.Uneven {
			bits |= featureUneven
		}
	}
	return bits
}

// A codedPlane is the shape of a plane in elements of a byte.
type codedPlane struct{ rows, cols int }

// codedPlanes returns the planes of a coded tensor: codes, scales and perhaps mins.
func (e *Entry) codedPlanes() []codedPlane {
	factors := codedPlane{e.Rows, e.Scheme.ScaleBytes(e.Cols)}
	planes := []codedPlane{{e.Rows, e.Cols}, factors}
	if e.Scheme.Asym {
		planes = append(planes, factors)
	}
	return planes
}

// pieces returns the number of pieces of a coded tensor, heads included.
func (e *Entry) pieces() (n int) {
	for _, p := range e.codedPlanes() {
		n += 1 + ans.Pieces(p.rows, p.cols)
	}
	return n
}

// A piece is a part of a coded tensor.
type piece struct {
	extent
	sha256 Digest
}

// pieces returns the lengths and digests in r.
func (r *record) pieces() []piece {
	all := make([]piece, len(r.Pieces)/pieceRecord)
	for i := range all {
		b := r.Pieces[i*pieceRecord:]
		all[i].n, all[i].sha256 = int64(binary.LittleEndian.Uint32(b)), Digest(b[4:pieceRecord])
	}
	return all
}

// checkSums returns an error unless each coded tensor has a record for each of its pieces, and
// CRCs have their length.
func (h *header) checkSums(path string, tensors []Entry) error {
	for i, e := range tensors {
		if n := len(h.Tensors[i].CRC32C); n != 0 && (n != crc32.Size || e.Coded) {
			return defect.Corrupt(path, e.Name, "crc32c has %d bytes, want %d, or none if the tensor is coded", n, crc32.Size)
		}
		if got := len(h.Tensors[i].Pieces); e.Coded && got != e.pieces()*pieceRecord {
			return defect.Corrupt(path, e.Name, "pieces take %d bytes, want %d for %d pieces", got, e.pieces()*pieceRecord, e.pieces())
		}
		if e.Coded && e.CodedBytes < e.leastCoded() {
			return defect.Corrupt(path, e.Name, "is coded in %d bytes, want at least %d", e.CodedBytes, e.leastCoded())
		}
	}
	return nil
}

// leastCoded returns the least length of a coded tensor, which keeps a small file from filling
// a large memory.
func (e *Entry) leastCoded() (n int64) {
	for _, p := range e.codedPlanes() {
		n += ans.LeastBytes(p.rows, p.cols)
	}
	return n
}

// putCoded writes m in pieces, and its planes to hash.
func (w *Writer) putCoded(m *qtensor.Matrix, hash io.Writer) error {
	if err := hashCoded(m, hash); err != nil {
		return err
	}
	record := w.header.Tensors[w.next].Pieces[:0]
	for _, p := range ans.Planes(m) {
		pieces, err := p.Encode(context.Background())
		if err != nil {
			return err
		}
		for _, b := range pieces {
			if int64(len(b)) > math.MaxUint32 {
				return fmt.Errorf("a piece of %d bytes is too long", len(b))
			}
			if _, err := w.file.WriteAt(b, w.tail); err != nil {
				return err
			}
			w.tail += int64(len(b))
			sum := sha256.Sum256(b)
			record = append(binary.LittleEndian.AppendUint32(record, uint32(len(b))), sum[:]...)
		}
	}
	return nil
}

// hashCoded writes the planes of m to hash as a reader decodes them: the unused bits of m's codes
// may not be zero.
func hashCoded(m *qtensor.Matrix, hash io.Writer) error {
	return parallel.Guard(func() error {
		var reader qtensor.Reader
		row := make([]byte, m.RowBytes())
		for r := range m.Rows {
			codes, _, _ := reader.Codes(m, r)
			m.Scheme.PackRow(row, codes)
			hash.Write(row)
		}
		hash.Write(m.Scales)
		hash.Write(m.Mins)
		return nil
	})
}

// A codedTensor is a coded tensor of a container.
type codedTensor struct {
	Entry
	want   Digest // of the decoded planes
	pieces []piece
	matrix *qtensor.Matrix // of the model; empty until load fills it
}

// Row panics: a model's Verify, which loads coded tensors, comes before any use of weights.
func (t *codedTensor) Row(dst []byte, r int) {
	panic("thimble: " + t.Name + " is used before Verify has loaded it")
}

// Release does nothing: a coded tensor is decoded once.
func (t *codedTensor) Release() {}

// placePieces finds the pieces of all coded tensors.
func (c *container) placePieces() {
	at := c.layout.coded
	for i, e := range c.contents.Tensors {
		if !e.Coded {
			continue
		}
		t := &codedTensor{Entry: e, want: c.header.Tensors[i].SHA256, pieces: c.header.Tensors[i].pieces()}
		for j := range t.pieces {
			t.pieces[j].off = at
			at = t.pieces[j].end()
		}
		// The planes of scales take no memory before they are filled.
		sizes, _ := e.sizes() // checkTensors has returned its error
		t.matrix = &qtensor.Matrix{Scheme: e.Scheme, Rows: e.Rows, Cols: e.Cols, Source: t, Scales: make([]byte, sizes[1]), Mins: make([]byte, sizes[2])}
		c.coded = append(c.coded, t)
	}
}

// A codedPart is a plane of a coded tensor.
type codedPart struct {
	tensor *codedTensor
	plane  int // 0 for codes
	shape  codedPlane
	pieces []piece // the head first
	dst    []byte  // the plane, decoded

	head    sync.Once // sets decoder or fault
	decoder *ans.Decoder
	fault   error
	left    atomic.Int32 // pieces that have yet to be decoded
}

// A slab is memory for the codes of several tensors, in large pages.
type slab struct {
	left int64  // bytes that have yet to be taken, padding included
	rest []byte // not taken yet
}

// slabBytes is the size of a slab. The system may refuse much more at once.
const slabBytes = 64 << 20

// padded returns n rounded up to a line of a cache.
func padded(n int64) int64 { return align(n, 64) }

func (s *slab) take(n int64) []byte {
	size := padded(n)
	if size > int64(len(s.rest)) {
		s.rest = mmap.Large(int(max(size, min(s.left, slabBytes))))
	}
	b := s.rest[:n:n]
	s.rest, s.left = s.rest[size:], s.left-size
	return b
}

// parts returns the planes of t, with memory for them.
func (t *codedTensor) parts(memory *slab) []*codedPart {
	var all []*codedPart
	at := 0
	planes := t.matrix.Planes()
	for i, p := range t.codedPlanes() {
		n := 1 + ans.Pieces(p.rows, p.cols)
		dst := planes[i]
		if i == 0 {
			sizes, _ := t.sizes()
			dst = memory.take(sizes[0])
		}
		part := &codedPart{tensor: t, plane: i, shape: p, pieces: t.pieces[at : at+n], dst: dst}
		part.left.Store(int32(n - 1))
		all = append(all, part)
		at += n
	}
	return all
}

// load decodes the coded tensors, and compares their pieces with the digests. It calls count
// with the bytes it has read; an error of count ends it. It returns the first fault of each
// tensor.
func (c *container) load(ctx context.Context, count func(n int64) error) (faults map[string]error, err error) {
	type task struct {
		*codedPart
		piece int
	}
	var parts []*codedPart
	var tasks []task
	var memory slab
	for _, t := range c.coded {
		sizes, _ := t.sizes()
		memory.left += padded(sizes[0])
	}
	for _, t := range c.coded {
		if t.matrix.Source == nil {
			continue // loaded before
		}
		for _, p := range t.parts(&memory) {
			parts = append(parts, p)
			for i := range p.pieces[1:] {
				tasks = append(tasks, task{p, 1 + i})
			}
		}
	}
	faults = map[string]error{}
	var mu sync.Mutex
	var decoders sync.Pool // each takes as much as a small tensor
	err = parallel.Do(ctx, len(tasks), func(_, i int) error {
		t := tasks[i]
		n := t.pieces[t.piece].n
		t.head.Do(func() {
			n += t.pieces[0].n
			t.fault = parallel.ErrFault // if reading the mapped head ends this function
			t.decoder, t.fault = c.decoder(t.codedPart, &decoders)
		})
		fault := t.fault
		if fault == nil {
			fault = c.decode(t.codedPart, t.piece)
		}
		if t.left.Add(-1) == 0 && t.decoder != nil {
			decoders.Put(t.decoder)
		}
		if fault != nil {
			mu.Lock()
			defer mu.Unlock()
			if faults[t.tensor.Name] == nil {
				faults[t.tensor.Name] = fault
			}
		}
		return count(n)
	})
	if err != nil || len(faults) > 0 {
		return faults, err
	}
	for _, p := range parts {
		if p.plane == 0 {
			p.tensor.matrix.Codes, p.tensor.matrix.Source = p.dst, nil
		}
	}
	return nil, nil
}

// read compares piece i of p with its digest, calls use with it, and releases it. It returns the
// fault in it, or nil.
func (c *container) read(p *codedPart, i int, use func(data []byte) error) error {
	x := p.pieces[i]
	data := c.bytes(x.extent)
	if got := Digest(sha256.Sum256(data)); got != x.sha256 {
		return damaged(c.path, p.tensor.Name, x.off, got, x.sha256)
	}
	err := use(data)
	mmap.Release(data)
	if err != nil {
		return &defect.CorruptError{File: c.path, Off: x.off, Field: p.tensor.Name, Why: err.Error()}
	}
	return nil
}

// decoder returns a decoder of p, of those in spare if there are any, or the fault in p's head.
func (c *container) decoder(p *codedPart, spare *sync.Pool) (*ans.Decoder, error) {
	d, ok := spare.Get().(*ans.Decoder)
	if !ok {
		d = &ans.Decoder{}
	}
	elements := 256
	if p.plane == 0 {
		elements = 1 << p.tensor.Scheme.Even().Bits
	}
	err := c.read(p, 0, func(head []byte) error { return d.Reset(head, p.shape.rows, p.shape.cols, elements) })
	if err != nil {
		return nil, err
	}
	return d, nil
}

// decode decodes piece i of p and returns the fault in it, or nil.
func (c *container) decode(p *codedPart, i int) error {
	return c.read(p, i, func(data []byte) error { return p.decodePiece(i-1, data) })
}

// decodePiece decodes a piece of p into its plane.
func (p *codedPart) decodePiece(i int, data []byte) error {
	from := i * ans.PieceRows(p.shape.cols)
	to := min(from+ans.PieceRows(p.shape.cols), p.shape.rows)
	width := len(p.dst) / p.shape.rows // bytes of a row
	dst := p.dst[from*width : to*width]
	scheme := p.tensor.Scheme
	if p.plane > 0 || scheme.Bits == 8 {
		return p.decoder.Piece(dst, i, data)
	}
	codes := make([]uint8, (to-from)*p.shape.cols)
	if err := p.decoder.Piece(codes, i, data); err != nil {
		return err
	}
	for r := range to - from {
		scheme.PackRow(dst[r*width:(r+1)*width], codes[r*p.shape.cols:(r+1)*p.shape.cols])
	}
	return nil
}

// checkDecoded compares loaded tensors with their digests. The digests of pieces have shown
// that the file is as it was written; these show that it was decoded to what was coded.
func (c *container) checkDecoded(ctx context.Context) error {
	return parallel.Do(ctx, len(c.coded), func(_, i int) error {
		t := c.coded[i]
		hash := sha256.New()
		for _, plane := range t.matrix.Planes() {
			hash.Write(plane)
		}
		if got := Digest(hash.Sum(nil)); got != t.want {
			return fmt.Errorf("%w; %s", damaged(c.path, t.Name, t.pieces[0].off, got, t.want), remedy)
		}
		return nil
	})
}
