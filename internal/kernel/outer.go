package kernel

import (
	"math/bits"
	"sync"
)

// A packing multiplies matrices whose rows it has packed. Several groups of rows form a
// block, which is stored stripe after stripe, in the order in which a tree adds them up:
//
//	stripe 0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15
//
// Of a stripe, a block stores group after group; of a group the first element of each row,
// then the second, and so on. A tile then loads what it multiplies from consecutive memory
// and needs no sum across a register. (Goto and van de Geijn 2008, Anatomy of
// high-performance matrix multiplication, doi 10.1145/1356052.1356053; there without
// stripes.)
type packing struct {
	left, right side

	// tile sets c[i*ldc+j] for all rows i of a block of a and all rows j of a block of b,
	// which has one group. The rows have steps blocks of elements.
	tile func(c *float32, ldc int, a, b *float32, groups, steps int, stack *float32)
}

// A side is an operand of a packing.
type side struct {
	rows   int // of a group
	groups int // of a block; they share a stripe of the other side in the first cache

	// pack packs one group. Stripes are stride elements apart in dst.
	pack func(dst *float32, stride, steps int, src *float32, ld int)
}

// stackSize returns the room for the stacks of a block: four tiles for each group.
func (p *packing) stackSize() int { return 4 * p.left.groups * p.left.rows * p.right.rows }

// size returns the length of rows of k elements when packed.
func (s *side) size(rows, k int) int { return (rows + s.rows - 1) / s.rows * s.rows * k }

// blocks calls f for each block of some rows: its first row and its number of groups. A
// group with fewer rows than others is a block of its own.
func (s *side) blocks(rows int, f func(row, groups int)) {
	whole := rows / s.rows
	for g := 0; g < whole; g += s.groups {
		f(g*s.rows, min(s.groups, whole-g))
	}
	if whole*s.rows < rows {
		f(whole*s.rows, 1)
	}
}

// packAll packs rows of k elements into dst. It completes the last group with zeros.
func (s *side) packAll(dst, src []float32, ld, rows, k int) {
	steps := k / width
	s.blocks(rows, func(row, groups int) {
		if rows-row < s.rows {
			s.packPortable(dst[row*k:], src[row*ld:], ld, rows-row, k)
			return
		}
		for g := range groups {
			s.pack(&dst[row*k+g*steps*s.rows], groups*steps*s.rows, steps, &src[(row+g*s.rows)*ld], ld)
		}
	})
}

// packPortable packs a group with fewer rows than others.
func (s *side) packPortable(dst, src []float32, ld, rows, k int) {
	clear(dst[:s.rows*k])
	steps := k / width
	for r := range rows {
		for i, v := range src[r*ld:][:k] {
			dst[(treePlace(i%width)*steps+i/width)*s.rows+r] = v
		}
	}
}

// treePlace returns the place of a stripe in the order of a packing: its four bits
// reversed.
func treePlace(stripe int) int { return int(bits.Reverse8(uint8(stripe)) >> 4) }

// A Left is the left operand of several calls of Gemm. Set may reuse its memory, so that
// it is no allocation in the long run. The zero Left has no rows.
type Left struct {
	a         []float32
	lda, m, k int
	packed    []float32 // empty unless worth it
}

// Set makes l the matrix a [m, k], of which Gemm describes the layout. a must not change
// while l is in use.
func (l *Left) Set(a []float32, lda, m, k int) {
	l.a, l.lda, l.m, l.k, l.packed = a, lda, m, k, l.packed[:0]
	if p := best.packing; p.pays(m, leastPacked, k) {
		checkLeft(a, lda, m, k)
		l.packed = grown(l.packed, p.left.size(m, k))
		p.left.packAll(l.packed, a, lda, m, k)
	}
}

// Gemm is the function Gemm with l as a.
func (l *Left) Gemm(c []float32, ldc int, b []float32, ldb, n int) {
	if len(l.packed) == 0 || n < leastPacked {
		Gemm(c, ldc, l.a, l.lda, b, ldb, l.m, n, l.k)
		return
	}
	checkProduct(c, ldc, b, ldb, l.m, n, l.k)
	room := packingRoom.Get().(*packingScratch)
	best.packing.multiply(c, ldc, l.packed, b, ldb, l.m, n, l.k, room)
	packingRoom.Put(room)
}

// leastPacked is the least number of rows of a and b that Gemm packs.
const leastPacked = 12

// pays reports whether packing both operands of a product takes less time than it saves.
func (p *packing) pays(m, n, k int) bool {
	return p != nil && m >= leastPacked && n >= leastPacked && k >= 4*width
}

// gemm is Gemm for operands that are worth packing.
func (p *packing) gemm(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int) {
	room := packingRoom.Get().(*packingScratch)
	room.a = grown(room.a, p.left.size(m, k))
	p.left.packAll(room.a, a, lda, m, k)
	p.multiply(c, ldc, room.a, b, ldb, m, n, k, room)
	packingRoom.Put(room)
}

// A packingScratch is the memory of a product.
type packingScratch struct {
	a, b  []float32
	edge  []float32 // products of a block of which c has only a part
	stack []float32
}

var packingRoom = sync.Pool{New: func() any { return new(packingScratch) }}

// together is the number of groups of b that are packed at once, so that a block of a that
// has been read into the second cache meets several.
const together = 3

// multiply multiplies packed rows of a by rows of b, which it packs.
func (p *packing) multiply(c []float32, ldc int, a, b []float32, ldb, m, n, k int, room *packingScratch) {
	most := together * p.right.rows
	room.b = grown(room.b, p.right.size(min(n, most), k))
	for ; n > 0; n -= most {
		cols := min(n, most)
		p.right.packAll(room.b, b, ldb, cols, k)
		p.multiplyPacked(c, ldc, a, room.b, m, cols, k, room)
		c, b = c[min(most, len(c)):], b[min(most*ldb, len(b)):]
	}
}

// multiplyPacked multiplies packed rows of a by packed rows of b.
func (p *packing) multiplyPacked(c []float32, ldc int, a, b []float32, m, n, k int, room *packingScratch) {
	room.edge = grown(room.edge, p.left.groups*p.left.rows*p.right.rows)
	room.stack = grown(room.stack, p.stackSize())
	p.left.blocks(m, func(row, groups int) {
		for j := 0; j < n; j += p.right.rows {
			p.multiplyBlock(c[row*ldc+j:], ldc, a[row*k:], b[j*k:], groups, min(groups*p.left.rows, m-row), min(p.right.rows, n-j), k, room)
		}
	})
}

// multiplyBlock multiplies a block of a by a group of b, which have the given numbers of
// rows.
func (p *packing) multiplyBlock(c []float32, ldc int, a, b []float32, groups, rows, cols, k int, room *packingScratch) {
	if rows == groups*p.left.rows && cols == p.right.rows {
		p.tile(&c[0], ldc, &a[0], &b[0], groups, k/width, &room.stack[0])
		return
	}
	p.tile(&room.edge[0], p.right.rows, &a[0], &b[0], groups, k/width, &room.stack[0])
	for i := range rows {
		copy(c[i*ldc:][:cols], room.edge[i*p.right.rows:])
	}
}

// grown returns s with length n, and with new memory if it is too small.
func grown(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
