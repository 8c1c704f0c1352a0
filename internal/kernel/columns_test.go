package kernel

import (
	"fmt"
	"testing"
)

// Products of columns are those of Gemm on the transposed matrices, to the bit.
func TestColumns(t *testing.T) {
	products := map[[3]int][]float32{} // the same for every form
	eachForm(t, func(t *testing.T) {
		for _, size := range [][2]int{{1, 16}, {5, 64}, {12, 64}, {13, 48}, {22, 64}, {50, 80}, {101, 128}, {150, 64}, {112, 1024}} {
			cols, k := size[0], size[1]
			var a, b Columns
			for pass := range 2 { // the second time in the same memory
				r := seeded(cols<<11 + k<<1 + pass)
				n := k - r.IntN(min(k, 16)) // the rest of the rows are zero
				x, y := columnsAt(r.Float32, &a, cols, k, n, false), columnsAt(r.Float32, &b, cols, k, n, true)
				dots, known := products[[3]int{cols, k, pass}]
				if !known {
					for i := range cols {
						for j := range cols {
							dots = append(dots, portableDot(x[i], y[j]))
						}
					}
					products[[3]int{cols, k, pass}] = dots
				}
				for first := 0; first < cols; first += ColumnPanel() {
					rows := min(ColumnPanel(), cols-first)
					for _, wide := range []int{cols, max(1, cols-3), first + rows} {
						ldc := wide + r.IntN(3)
						got := row(r, (rows-1)*ldc+wide)
						want := append([]float32(nil), got...)
						for i := range rows {
							copy(want[i*ldc:][:wide], dots[(first+i)*cols:])
						}
						b.Product(got, ldc, &a, first, rows, wide)
						same(t, fmt.Sprintf("%d columns of %d, from %d, with %d", rows, cols, first, wide), got, want)
					}
				}
			}
		}
	})
}

// columnsAt fills x with n rows, in two calls, and returns its columns, k elements each.
func columnsAt(next func() float32, x *Columns, cols, k, n int, right bool) [][]float32 {
	rows, columns := make([][]float32, n), make([][]float32, cols)
	for c := range columns {
		columns[c] = make([]float32, k)
	}
	for i := range rows {
		rows[i] = make([]float32, cols)
		for c := range cols {
			rows[i][c] = next() - 0.5
			columns[c][i] = rows[i][c]
		}
	}
	x.Reset(cols, n, right)
	x.Set(n/3, rows[n/3:])
	x.Set(0, rows[:n/3])
	return columns
}
