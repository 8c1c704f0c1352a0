//go:build !purego && (amd64 || arm64)

package kernel

import "unsafe"

// A tile multiplies m groups of rows of a by n groups of rows of b. Each tile
// function has its own fixed group sizes. It stores the product of row i of a
// and row j of b in c[i*rs+j*cs]; all strides count elements. k is a multiple of
// width, and m, n and k are at least 1. A tile accesses no other memory.
type tile func(c *float32, rs, cs int, a *float32, lda int, b *float32, ldb int, m, n, k int)

// A tiling covers a matrix product with tiles.
type tiling struct {
	rows, cols int  // group sizes of large
	large      tile // rows by cols
	strip      int
	long       tile // 1 by strip
	single     tile // 1 by 1
}

// Cache blocking, in bytes.
const (
	bytesB = 20 << 10  // rows of b that stay in the L1 cache while all rows of a pass
	bytesA = 192 << 10 // rows of a that stay in the L2 cache while all rows of b pass
)

func (t *tiling) gemm(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int) {
	mt, nt := m/t.rows, n/t.cols // groups that large covers
	if mt > 0 && nt > 0 {
		ms := max(1, bytesA/(4*k*t.rows))
		ns := max(1, bytesB/(4*k*t.cols))
		for i := 0; i < mt; i += ms {
			for j := 0; j < nt; j += ns {
				t.large(&c[i*t.rows*ldc+j*t.cols], ldc, 1, &a[i*t.rows*lda], lda, &b[j*t.cols*ldb], ldb, min(ms, mt-i), min(ns, nt-j), k)
			}
		}
	}
	m0, n0 := mt*t.rows, nt*t.cols
	for i := m0; i < m; i++ {
		t.row(c[i*ldc:], 1, a[i*lda:], b, ldb, n, k)
	}
	if m0 > 0 {
		for j := n0; j < n; j++ { // a column of c is a row of its transpose
			t.row(c[j:], ldc, b[j*ldb:], a, lda, m0, k)
		}
	}
}

// row multiplies the row x by n rows of y and stores the products cs elements
// apart.
func (t *tiling) row(c []float32, cs int, x, y []float32, ldy, n, k int) {
	whole := n / t.strip
	if whole > 0 {
		t.long(&c[0], 0, cs, &x[0], 0, &y[0], ldy, 1, whole, k)
	}
	if i := whole * t.strip; i < n {
		t.single(&c[i*cs], 0, cs, &x[0], 0, &y[i*ldy], ldy, 1, n-i, k)
	}
}

// A mixing covers the columns of Mix: m64 and m16 compute 64 and 16 of them. p
// must not be empty.
type mixing struct {
	m64, m16 func(dst *float32, p []float32, v *float32, ldv int)
}

func (m mixing) mix(dst, p, v []float32, ldv int) {
	for ; len(dst) >= 64; dst, v = dst[64:], v[64:] {
		m.m64(&dst[0], p, &v[0], ldv)
	}
	for ; len(dst) >= 16; dst, v = dst[16:], v[16:] {
		m.m16(&dst[0], p, &v[0], ldv)
	}
	if len(dst) > 0 {
		mixPortable(dst, p, v, ldv)
	}
}

// A rowMixing covers the columns of MixRows for mixedRows rows, of which it computes some
// at once: the widths descend, and divide by the last.
type rowMixing []struct {
	cols int
	mix  func(dst *float32, ldd int, p *float32, ldp, n int, v *float32, ldv int)
}

func (m rowMixing) mix(dst []float32, ldd int, p []float32, ldp, n int, v []float32, ldv, cols int) {
	at := 0
	for _, f := range m {
		for ; at+f.cols <= cols; at += f.cols {
			f.mix(&dst[at], ldd, &p[0], ldp, n, &v[at], ldv)
		}
	}
}

// fromF32LittleEndian is fromF32 for little-endian machines.
func fromF32LittleEndian(dst []float32, src []byte) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), 4*len(dst)), src)
}
