//go:build !purego && (amd64 || arm64)

package kernel

import "unsafe"

// A tile multiplies groups of rows of a by groups of rows of b: m groups by n,
// their sizes fixed by the tile. The product of row i of a and row j of b goes
// to c[i*rs+j*cs], strides in elements. k is a multiple of width; neither it
// nor m nor n is 0. A tile reads and writes nothing else.
type tile func(c *float32, rs, cs int, a *float32, lda int, b *float32, ldb int, m, n, k int)

// A tiling covers a matrix product with tiles.
type tiling struct {
	rows, cols int  // of large
	large      tile // rows by cols
	strip      int
	long       tile // 1 by strip
	single     tile // 1 by 1
}

// Bytes of the rows of b that stay in the first cache while all of a passes,
// and of the rows of a that stay in the second while all of b passes.
const (
	bytesB = 20 << 10
	bytesA = 192 << 10
)

func (t *tiling) gemm(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int) {
	mt, nt := m/t.rows, n/t.cols // large tiles
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
		for j := n0; j < n; j++ { // a column is a row of the transpose
			t.row(c[j:], ldc, b[j*ldb:], a, lda, m0, k)
		}
	}
}

// row multiplies one row x by n rows of y.
func (t *tiling) row(c []float32, cs int, x, y []float32, ldy, n, k int) {
	whole := n / t.strip
	if whole > 0 {
		t.long(&c[0], 0, cs, &x[0], 0, &y[0], ldy, 1, whole, k)
	}
	if i := whole * t.strip; i < n {
		t.single(&c[i*cs], 0, cs, &x[0], 0, &y[i*ldy], ldy, 1, n-i, k)
	}
}

// mixing covers the columns of Mix: m64 and m16 sum 64 and 16 of them, p not
// being empty.
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

// fromF32LittleEndian holds where memory is little-endian.
func fromF32LittleEndian(dst []float32, src []byte) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), 4*len(dst)), src)
}
