package thimble

import "thimble/internal/qtensor"

// An extent is a run of bytes of the file.
type extent struct{ off, n int64 }

func (e extent) end() int64 { return e.off + e.n }

// A layout holds the place of each part of the file. Writer and reader compute it from
// the tensors and the lengths of the header and the tokenizer. The pieces of coded tensors
// follow all planes.
type layout struct {
	header    extent
	tokenizer extent
	data      int64       // where the planes begin
	planes    [][3]extent // of each tensor: codes, scales, mins; n is 0 if its scheme lacks the plane
	coded     int64       // where the pieces of coded tensors begin
	size      int64       // of the file
}

// arrange computes the layout. The limits of a Spec keep all sums below 2^58: it has at
// most 16,387 tensors of at most 2^42 bytes, or 2^44 for the embedding.
func arrange(tensors []Entry, header, tokenizer int64) (layout, error) {
	l := layout{header: extent{preambleLen, header}, planes: make([][3]extent, len(tensors))}
	l.tokenizer = extent{align(l.header.end(), planeAlign), tokenizer}
	l.data = align(l.tokenizer.end(), pageAlign)
	l.coded = l.data
	pieces := int64(0)
	for i, e := range tensors {
		if e.Coded {
			pieces += e.CodedBytes
			continue
		}
		sizes, err := e.sizes()
		if err != nil {
			return layout{}, err
		}
		for j, n := range sizes {
			if n > 0 {
				l.planes[i][j] = extent{l.coded, n}
				l.coded = align(l.coded+n, planeAlign)
			}
		}
	}
	l.size = align(l.coded+pieces, planeAlign)
	return l, nil
}

// align rounds n up to a multiple of to, a power of two.
func align(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }

// An Entry describes the scheme and the shape of one tensor.
type Entry struct {
	Name       string // canonical, see model.Slot
	Scheme     qtensor.Scheme
	Rows, Cols int

	// Coded is set if the tensor, whose scheme has integers, is stored in about as many bytes
	// as its entropy takes. CodedBytes is that length, or before it is written what it may be.
	Coded      bool
	CodedBytes int64
}

// sizes returns the sizes of codes, scales and mins in bytes.
func (e *Entry) sizes() (planes [3]int64, err error) {
	planes[0], planes[1], planes[2], err = e.Scheme.Sizes(e.Rows, e.Cols)
	return planes, err
}

// same reports whether m is what e describes.
func (e *Entry) same(m *qtensor.Matrix) bool {
	return m.Scheme == e.Scheme && m.Rows == e.Rows && m.Cols == e.Cols
}
