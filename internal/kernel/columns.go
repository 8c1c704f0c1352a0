package kernel

import "unsafe"

// Columns is a matrix of which products take the columns: second moments are sums over its rows.
// Rows are written in the order in which a packing multiplies, so they are moved once, however
// many products they are part of.
type Columns struct {
	cols, k     int       // k is the number of rows, a multiple of 16
	left, right []float32 // packed, if that pays
	plain       []float32 // transposed, (cols, stride), if it does not
	stride      int
}

// Reset makes x a matrix of n rows of cols columns, for Set to fill; rows of zeros follow up to a
// multiple of 16. Only a matrix that is b of Product is right. Reset may reuse x's memory.
func (x *Columns) Reset(cols, n int, right bool) {
	k := Padded(n)
	clean := x.cols == cols && x.k == k && n == k // Set replaces whatever is there
	x.cols, x.k, x.stride = cols, k, k+width      // a power of two would map all columns to one set of the cache
	zeros := func(s []float32, n int) []float32 {
		if clean && len(s) == n {
			return s
		}
		s = grown(s, n)
		clear(s)
		return s
	}
	p := best.packing
	if !p.pays(cols, cols, k) {
		x.left, x.right, x.plain = nil, nil, zeros(x.plain, cols*x.stride)
		return
	}
	x.plain, x.left = nil, zeros(x.left, p.left.size(cols, k))
	if !right {
		x.right = nil
		return
	}
	x.right = zeros(x.right, p.right.size(cols, k))
}

// Set sets rows from the given one on. Calls for different rows may run in parallel.
func (x *Columns) Set(from int, rows [][]float32) {
	check(from >= 0 && from+len(rows) <= x.k, "Columns: rows")
	for _, row := range rows {
		check(len(row) >= x.cols, "Columns: a row is too short")
	}
	if x.plain != nil {
		for i, row := range rows {
			for c, v := range row[:x.cols] {
				x.plain[c*x.stride+from+i] = v
			}
		}
		return
	}
	best.packing.left.set(x.left, from, rows, x.cols, x.k)
	if len(x.right) > 0 {
		best.packing.right.set(x.right, from, rows, x.cols, x.k)
	}
}

// set packs rows of the transpose of a matrix: of its columns, elements from the given one on.
// It goes stripe by stripe, because the same place in all of them is in one set of the cache.
func (s *side) set(dst []float32, from int, rows [][]float32, cols, k int) {
	steps := k / width
	s.blocks(cols, func(first, groups int) {
		for i := range min(width, len(rows)) {
			stripe := treePlace((from+i)%width) * groups
			for g := range groups {
				at, c := first*k+((stripe+g)*steps+(from+i)/width)*s.rows, first+g*s.rows
				to, n := dst[at:], min(s.rows, cols-c)
				for r := i; r < len(rows); r += width {
					move(to[(r-i)/width*s.rows:][:n], rows[r][c:][:n])
				}
			}
		}
	})
}

// move copies a few elements without a call.
func move(dst, src []float32) {
	for ; len(dst) >= 8 && len(src) >= 8; dst, src = dst[8:], src[8:] {
		d, s := (*[4]uint64)(unsafe.Pointer(&dst[0])), (*[4]uint64)(unsafe.Pointer(&src[0]))
		d[0], d[1], d[2], d[3] = s[0], s[1], s[2], s[3]
	}
	for ; len(dst) >= 2 && len(src) >= 2; dst, src = dst[2:], src[2:] {
		*(*uint64)(unsafe.Pointer(&dst[0])) = *(*uint64)(unsafe.Pointer(&src[0]))
	}
	if len(src) > 0 {
		dst[0] = src[0]
	}
}

// ColumnPanel returns the number of columns that Product takes best at a time from a: first must
// be a multiple of it.
func ColumnPanel() int {
	if p := best.packing; p != nil {
		return p.left.rows * p.left.groups
	}
	return 3 * width
}

// Product sets
//
//	c[r*ldc+j] = sum over i of a[i][first+r] * b[i][j]
//
// for rows columns of a, from first on, which is a multiple of ColumnPanel, and the first cols
// columns of b. The sums are those of Gemm. a and b have equal numbers of rows and columns.
func (b *Columns) Product(c []float32, ldc int, a *Columns, first, rows, cols int) {
	check(a.k == b.k && a.cols == b.cols, "Columns: a and b differ in shape")
	check(first%ColumnPanel() == 0 && rows > 0 && first+rows <= a.cols && cols > 0 && cols <= b.cols, "Columns: range")
	check(rows == a.cols-first || rows%ColumnPanel() == 0, "Columns: part of a panel")
	check(ldc >= cols && len(c) >= (rows-1)*ldc+cols, "Columns: c")
	if b.plain != nil {
		best.gemm(c, ldc, a.plain[first*a.stride:], a.stride, b.plain, b.stride, rows, cols, b.k)
		return
	}
	room := packingRoom.Get().(*packingScratch)
	best.packing.multiplyPacked(c, ldc, a.left[first*b.k:], b.right, rows, cols, b.k, room)
	packingRoom.Put(room)
}
