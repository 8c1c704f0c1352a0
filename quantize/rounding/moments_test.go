package rounding

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// correlated returns n rows of width values that mix fewer sources than there are
// columns, plus a little noise, as activations do. Columns differ in size.
func correlated(n, width int, seed uint64) [][]float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	sources := max(1, width/4)
	mix := make([]float64, width*sources)
	for i := range mix {
		mix[i] = r.NormFloat64()
	}
	x := make([][]float32, n)
	s := make([]float64, sources)
	for t := range x {
		for k := range s {
			s[k] = r.NormFloat64()
		}
		x[t] = make([]float32, width)
		for c := range x[t] {
			v := 0.3 * r.NormFloat64()
			for k, y := range s {
				v += mix[c*sources+k] * y / math.Sqrt(float64(sources))
			}
			x[t][c] = float32(v * (0.3 + float64(c%7)))
		}
	}
	return x
}

func rowsAt(x [][]float32) Positions {
	return Positions{len(x), func(i int) []float32 { return x[i] }}
}

// slowMoments returns the mean of w a b^T in float64.
func slowMoments(a, b [][]float32, weights []float32) []float64 {
	d := len(a[0])
	m, n := make([]float64, d*d), 0.0
	for t, w := range weights {
		for i, u := range a[t] {
			for j, v := range b[t] {
				m[i*d+j] += float64(w) * float64(u) * float64(v)
			}
		}
		n += float64(w)
	}
	for i := range m {
		m[i] /= n
	}
	return m
}

// near compares second moments entry by entry, relative to the bound that Cauchy and
// Schwarz give the entry.
func near(t *testing.T, what string, got, want, rows, cols []float64) {
	t.Helper()
	d := len(rows)
	for i := range d {
		for j := range d {
			if e := math.Abs(got[i*d+j] - want[i*d+j]); !(e <= 1e-6*math.Sqrt(rows[i]*cols[j])) {
				t.Fatalf("%s[%d,%d] is %v, want %v", what, i, j, got[i*d+j], want[i*d+j])
			}
		}
	}
}

func diagonal(m []float64, d int) []float64 {
	x := make([]float64, d)
	for i := range x {
		x[i] = m[i*d+i]
	}
	return x
}

func TestMoments(t *testing.T) {
	for _, width := range []int{5, 16, 72} {
		for _, n := range []int{1, 255, 257, 1500} {
			t.Run(fmt.Sprintf("%d columns, %d positions", width, n), func(t *testing.T) {
				x, xq := correlated(n, width, 1), correlated(n, width, 1)
				r := rand.New(rand.NewPCG(2, 2))
				weights := make([]float32, n)
				for i := range weights {
					weights[i] = r.Float32() + 0.1
					for c := range xq[i] {
						xq[i][c] += float32(0.1 * r.NormFloat64())
					}
				}
				apart := make([][]float32, n)
				for i := range apart {
					for c, v := range x[i] {
						apart[i] = append(apart[i], v-xq[i][c])
					}
				}
				alone, pair := &Moments{Width: width}, &Moments{Width: width}
				if err := alone.Add(t.Context(), rowsAt(xq), Positions{}, weights); err != nil {
					t.Fatal(err)
				}
				if err := pair.Add(t.Context(), rowsAt(xq), rowsAt(x), weights); err != nil {
					t.Fatal(err)
				}
				alone.Close()
				pair.Close()
				h := slowMoments(xq, xq, weights)
				power := diagonal(h, width)
				near(t, "h alone", alone.H, h, power, power)
				near(t, "h", pair.H, h, power, power)
				either := diagonal(slowMoments(x, x, weights), width) // that is subtracted
				for i, p := range power {
					either[i] += p
				}
				near(t, "drift", pair.Drift, slowMoments(apart, xq, weights), either, power)
				if alone.Drift != nil {
					t.Error("drift was not asked for")
				}
				for i, p := range pair.power() {
					if p != pair.H[i*width+i] {
						t.Errorf("power of column %d is %v, h has %v", i, p, pair.H[i*width+i])
					}
				}
			})
		}
	}
}

// Positions added in two calls count as if added in one.
func TestMomentsAddUp(t *testing.T) {
	const width, n, cut = 24, 700, 300
	x, weights := correlated(n, width, 3), ones(n)
	m := &Moments{Width: width}
	for _, part := range [][2]int{{0, cut}, {cut, n}} {
		rows := rowsAt(x[part[0]:part[1]])
		if err := m.Add(t.Context(), rows, Positions{}, weights[part[0]:part[1]]); err != nil {
			t.Fatal(err)
		}
	}
	m.Close()
	want := slowMoments(x, x, weights)
	near(t, "h", m.H, want, diagonal(want, width), diagonal(want, width))
}

// The weighted square of a position that is a thousand times louder than the others
// is loudest times the median's; the others weigh one.
func TestPositionWeights(t *testing.T) {
	x := make([][]float32, 9)
	for i := range x {
		x[i] = []float32{1, float32(i%2) - 0.5} // of the square 1.25
	}
	x[4] = []float32{1000, 0}
	for i, w := range rowsAt(x).Weights() {
		want := float32(1)
		if i == 4 {
			want = loudest * 1.25 / 1e6
		}
		if w != want {
			t.Errorf("position %d weighs %v, want %v", i, w, want)
		}
	}
}

// The rank is that of known eigenvalues, in any basis: here after a reflection.
func TestSpread(t *testing.T) {
	for _, c := range []struct {
		l    []float64
		rank float64
	}{
		{[]float64{1, 1, 1, 1, 1}, 5},
		{[]float64{3, 3, 0, 0, 0, 0}, 2},
		{[]float64{7, 0, 0}, 1},
		{[]float64{4, 2, 1, 1}, 64.0 / 22},
		{[]float64{1e-20, 1e-20}, 2},
		{[]float64{0, 0}, 0},
		{[]float64{math.NaN(), 1}, 0},
		{[]float64{1e300, 1}, 0},
	} {
		n := len(c.l)
		r := rand.New(rand.NewPCG(1, uint64(n)))
		v, norm := make([]float64, n), 0.0
		for i := range v {
			v[i] = r.NormFloat64()
			norm += v[i] * v[i]
		}
		m := &Moments{Width: n, H: make([]float64, n*n)}
		turned := func(i, k int) float64 { // element of 1 - 2 v v^T / |v|^2
			x := -2 * v[i] * v[k] / norm
			if i == k {
				x++
			}
			return x
		}
		for i := range n {
			for j := range n {
				for k, l := range c.l {
					m.H[i*n+j] += l * turned(i, k) * turned(j, k)
				}
			}
		}
		if rank, _ := m.Spread(); math.Abs(rank-c.rank) > 1e-9 {
			t.Errorf("eigenvalues %v: rank %v, want %v", c.l, rank, c.rank)
		}
	}
	m := &Moments{Width: 3, H: []float64{0, 0, 0, 0, 2, 0, 0, 0, 0}}
	if rank, dead := m.Spread(); rank != 1 || dead != 2 {
		t.Errorf("rank %v, %d dead channels, want 1 and 2", rank, dead)
	}
}

// The excess is the inverse of the loudest position's weight.
func TestExcess(t *testing.T) {
	rows := make([][]float32, 9)
	for i := range rows {
		rows[i] = []float32{1, 0}
	}
	rows[4] = []float32{10, 0} // a square of 100, where 20 are allowed
	x := Positions{len(rows), func(i int) []float32 { return rows[i] }}
	m, err := MomentsOf(t.Context(), x, x.Weights())
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(m.Excess()-5) > 1e-6 {
		t.Errorf("%v, want 5", m.Excess())
	}
}
