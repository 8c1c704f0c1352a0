package rounding

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
)

// roundSchemes are the schemes, and the columns, that the steps of gptq are tested
// with.
var roundSchemes = []struct {
	scheme string
	cols   int
}{
	{"int4/g32", 128}, {"int4/g32/asym", 128}, {"int5/g64", 256}, {"int8/row", 80}, {"int4/g32", 72}, {"int3/g32/asym", 72}, {"int4/g32", 300},
	{"int4/g16/s4", 160}, {"int5/g16/s4", 72},
}

// newTarget returns rows of random weights to be rounded for a correlated input.
func newTarget(t testing.TB, rows, cols int, text string) target {
	t.Helper()
	in, err := NewInput(t.Context(), secondMoments(t, 4*cols, cols, uint64(cols)), Damping)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := qtensor.New(scheme(t, text), rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	w, err := rowsOf(t.Context(), quantizetest.Weights(rows, cols, uint64(cols)))
	if err != nil {
		t.Fatal(err)
	}
	return target{in, dst, w, nil, 0}
}

// lossOf returns e (H + lambda I) e^T of row r, in float64 from its codes.
func (p *panel) lossOf(r int) float64 {
	return quadratic(p.errorOf(r), p.Input)
}

// errorOf returns the target less the value of row r, from its codes.
func (p *panel) errorOf(r int) []float64 {
	e := make([]float64, p.dst.Cols)
	g := p.grids[r]
	for i, w := range p.want(r) {
		k := g.group(i)
		e[i] = float64(w) - (float64(g.scale[k])*float64(p.codes[r*p.stride+i]) + float64(g.min[k]))
	}
	return e
}

func quadratic(e []float64, in *Input) float64 {
	sum := 0.0
	for i, a := range e {
		for j, b := range e {
			sum += a * b * float64(in.H[i*in.Stride+j])
		}
	}
	return sum
}

// invert returns the inverse of a, by Gauss-Jordan elimination with pivots.
func invert(a []float64, n int) []float64 {
	a, inv := slices.Clone(a), make([]float64, n*n)
	for i := range n {
		inv[i*n+i] = 1
	}
	for c := range n {
		p := c
		for r := c; r < n; r++ {
			if math.Abs(a[r*n+c]) > math.Abs(a[p*n+c]) {
				p = r
			}
		}
		for j := range n {
			a[c*n+j], a[p*n+j] = a[p*n+j], a[c*n+j]
			inv[c*n+j], inv[p*n+j] = inv[p*n+j], inv[c*n+j]
		}
		d := a[c*n+c]
		for j := range n {
			a[c*n+j] /= d
			inv[c*n+j] /= d
		}
		for r := range n {
			if f := a[r*n+c]; r != c && f != 0 {
				for j := range n {
					a[r*n+j] -= f * a[c*n+j]
					inv[r*n+j] -= f * inv[c*n+j]
				}
			}
		}
	}
	return inv
}

// textbook is GPTQ as in its paper (arXiv 2210.17323, equations 2 and 3): it inverts
// the second moments, and after each column updates all that remain and removes the
// column from the inverse. It returns the codes, less zero, of w on grid g.
func textbook(w []float32, g *grid, in *Input) []float64 {
	n := len(w)
	h := make([]float64, n*n)
	for i := range n {
		for j := range n {
			h[i*n+j] = float64(in.H[i*in.Stride+j])
		}
	}
	inv, rest, codes := invert(h, n), make([]float64, n), make([]float64, n)
	for i, v := range w {
		rest[i] = float64(v)
	}
	for at, q := range in.Factor.Order {
		k := g.group(q)
		scale, low := float64(g.scale[k]), float64(g.min[k])
		if scale != 0 {
			codes[q] = math.RoundToEven(min(max((rest[q]-low)/scale, float64(g.bottom)), float64(g.top)))
		}
		step := (rest[q] - (scale*codes[q] + low)) / inv[q*n+q]
		for _, j := range in.Factor.Order[at:] {
			rest[j] -= step * inv[q*n+j]
		}
		column := make([]float64, n)
		for i := range n {
			column[i] = inv[i*n+q]
		}
		d := inv[q*n+q]
		for i := range n {
			for j := range n {
				inv[i*n+j] -= column[i] * column[j] / d
			}
		}
	}
	return codes
}

// swept returns a panel after its sweep.
func swept(t testing.TB, rows, cols int, text string) *panel {
	t.Helper()
	p := newPanel(newTarget(t, rows, cols, text))
	if err := p.begin(0); err != nil {
		t.Fatal(err)
	}
	p.sweep()
	return p
}

func TestSweepIsTextbookGPTQ(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	const rows = 3
	for _, c := range roundSchemes {
		t.Run(fmt.Sprint(c.scheme, " ", c.cols), func(t *testing.T) {
			p := swept(t, rows, c.cols, c.scheme)
			same, ours, theirs := 0, 0.0, 0.0
			for r := range rows {
				got := p.codes[r*p.stride:][:c.cols]
				ours += p.lossOf(r)
				e := p.errorOf(r)
				for i, v := range e {
					if d := float64(p.e[r*p.stride+i]) - v; math.Abs(d) > 1e-6 {
						t.Fatalf("row %d, column %d: e is %v, want %v", r, i, p.e[r*p.stride+i], v)
					}
				}
				want := textbook(p.want(r), p.grids[r], p.Input)
				for i, v := range want {
					if float64(got[i]) == v {
						same++
					}
				}
				copyCodes(p, r, want)
				theirs += p.lossOf(r)
			}
			if share := float64(same) / float64(rows*c.cols); share < 0.97 {
				t.Errorf("%.1f%% of the codes are the paper's", 100*share)
			}
			if math.Abs(ours/theirs-1) > 0.005 {
				t.Errorf("loss %v, the paper's %v", ours, theirs)
			}
			t.Logf("%d of %d codes, loss %v and %v", same, rows*c.cols, ours, theirs)
		})
	}
}

func copyCodes(p *panel, r int, codes []float64) {
	for i, v := range codes {
		p.codes[r*p.stride+i] = float32(v)
	}
}

// losses returns the loss of every row of a panel.
func (p *panel) losses() []float64 {
	x := make([]float64, p.rows)
	for r := range x {
		x[r] = p.lossOf(r)
	}
	return x
}

// On a correlated input, error feedback lowers the loss of rounding to nearest, and
// refit and descent lower that of error feedback.
func TestEachStepLowersTheLoss(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	const rows, cols = 100, 256
	for _, text := range []string{"int4/g32", "int4/g32/asym", "int3/g64", "int4/g16/s4"} {
		in := newTarget(t, rows, cols, text)
		src := quantizetest.Weights(rows, cols, cols)
		lossAfter := func(fill func(dst *qtensor.Matrix) error) float64 {
			dst, err := qtensor.New(in.dst.Scheme, rows, cols)
			if err == nil {
				err = fill(dst)
			}
			if err != nil {
				t.Fatal(err)
			}
			l, _, err := in.Loss(t.Context(), src, dst, nil)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		nearest := lossAfter(func(dst *qtensor.Matrix) error { return ToNearest(t.Context(), dst, src, in.Input, nil) })
		bare := lossAfter(func(dst *qtensor.Matrix) error {
			p := newPanel(target{in.Input, dst, in.w, nil, 0})
			for first := 0; first < rows; first += PanelRows {
				if err := p.begin(first); err != nil {
					return err
				}
				p.sweep()
				p.store()
			}
			return nil
		})
		full := lossAfter(func(dst *qtensor.Matrix) error { return gptq(t.Context(), dst, src, in.Input, nil) })
		t.Logf("%s: %v, %v, %v", text, nearest, bare, full)
		if !(bare < 0.8*nearest) || !(full < 0.97*bare) {
			t.Errorf("%s: loss %v to nearest, %v with feedback, %v with refit and descent", text, nearest, bare, full)
		}
	}
}

func TestGPTQNeedsCalibration(t *testing.T) {
	src := quantizetest.Weights(2, 32, 1)
	dst, err := qtensor.New(scheme(t, "int4/g32"), 2, 32)
	if err != nil {
		t.Fatal(err)
	}
	if err := gptq(t.Context(), dst, src, Even(32), nil); err == nil || err.Error() != "gptq needs calibration" {
		t.Errorf("error is %v", err)
	}
}
