package thimble

import "thimble/internal/qtensor"

// An extent is a run of bytes of the file.
type extent struct{ off, n int64 }

func (e extent) end() int64 { return e.off + e.n }

// A layout is where each part of the file is. Writer and reader compute it from
// the tensors and the lengths of the header and the tokenizer.
type layout struct {
	header    extent
	tokenizer extent
	data      int64       // where the planes begin
	planes    [][3]extent // of each tensor: codes, scales, mins; n is 0 for a plane that its scheme does not have
	size      int64       // of the file
}

// arrange computes the layout. The limits of a Spec keep all sums below 2^58: it
// has at most 16,387 tensors of at most 2^42 bytes, 2^44 for the embedding.
func arrange(tensors []Entry, header, tokenizer int64) (layout, error) {
	l := layout{header: extent{preambleLen, header}, planes: make([][3]extent, len(tensors))}
	l.tokenizer = extent{align(l.header.end(), planeAlign), tokenizer}
	l.data = align(l.tokenizer.end(), pageAlign)
	l.size = l.data
	for i, e := range tensors {
		sizes, err := e.sizes()
		if err != nil {
			return layout{}, err
		}
		for j, n := range sizes {
			if n > 0 {
				l.planes[i][j] = extent{l.size, n}
				l.size = align(l.size+n, planeAlign)
			}
		}
	}
	return l, nil
}

// align rounds n up to a multiple of to, a power of two.
func align(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }

// An Entry is one tensor: how it is stored and its shape.
type Entry struct {
	Name       string // canonical, see model.Slot
	Scheme     qtensor.Scheme
	Rows, Cols int
}

// sizes returns the bytes of codes, scales and mins.
func (e *Entry) sizes() (planes [3]int64, err error) {
	planes[0], planes[1], planes[2], err = e.Scheme.Sizes(e.Rows, e.Cols)
	return planes, err
}
