package parity

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A tensorDiff compares the subject's tensors with the reference's and identifies
// the damage.
type tensorDiff struct {
	ctx                context.Context
	reference, subject *model.Model
	rotary             rotary
}

const (
	rowMargin  = 3.0  // largest difference of two equal rows, as a multiple of rounding
	rowExact   = 1e-5 // the same, relative to the reference's row
	minCosine  = 0.8  // above this cosine, one row is the other one, rounded
	sampleRows = 12   // number of rows or columns to look for in other places
)

// describe returns how the subject's tensor differs from the reference's, or "" if
// only by rounding.
func (d *tensorDiff) describe(name string) (string, error) {
	want, got := d.reference.Tensors[name], storedIn(d.subject, name)
	switch {
	case want == nil && got.Matrix == nil:
		return "", nil
	case want == nil || got.Matrix == nil || want.Rows != got.Rows || want.Cols != got.Cols:
		return "shapes differ", nil
	}
	p := &tensorPair{ctx: d.ctx, want: want, got: got}
	if err := p.compare(); err != nil {
		return "", err
	}
	if len(p.bad) == 0 {
		return p.scaleMismatch(), nil
	}
	if text := p.zerosOrFactor(); text != "" {
		return text, nil
	}
	detectors := []func(p *tensorPair, name string) (string, error){d.detectRowPermutation, d.detectColumnPermutation, d.detectOtherTensor, d.detectTranspose}
	if want.Rows == 1 {
		detectors = []func(p *tensorPair, name string) (string, error){d.detectVectorPermutation, d.detectOtherTensor}
	}
	for _, detect := range detectors {
		if text, err := detect(p, name); text != "" || err != nil {
			return text, err
		}
	}
	return p.localDifference()
}

// A tensorPair holds the same tensor of both models.
type tensorPair struct {
	ctx  context.Context
	want *qtensor.Matrix
	got  stored
	rows []rowSums
	bad  []int // the rows that differ by more than rounding
}

// rowSums are sums over the columns of a row: of the squares in either model, of the
// products, of the squared differences, and of the variance that rounding explains.
type rowSums struct{ want, got, dot, diff, noise float64 }

// limit returns the largest diff at which the rows still count as equal.
func (x rowSums) limit() float64 {
	return float64(rowMargin*rowMargin*x.noise) + float64(rowExact*rowExact*x.want)
}

// rowReader reads rows of both tensors; it is scratch of one worker.
type rowReader struct {
	reader    qtensor.Reader
	noise     rounding
	want, got []float32
}

func (l *rowReader) read(p *tensorPair, r int) {
	l.want, l.got = grow(l.want, p.want.Cols), grow(l.got, p.got.Cols)
	l.reader.Row(l.want, p.want, r)
	l.reader.Row(l.got, p.got.Matrix, r)
}

// each calls f with each row of both tensors, on all cores.
func (p *tensorPair) each(f func(l *rowReader, r int)) error {
	readers := make([]rowReader, parallel.Workers())
	return parallel.Do(p.ctx, p.want.Rows, func(worker, r int) error {
		l := &readers[worker]
		l.read(p, r)
		f(l, r)
		return nil
	})
}

// compare fills rows and bad.
func (p *tensorPair) compare() error {
	p.rows = make([]rowSums, p.want.Rows)
	err := p.each(func(l *rowReader, r int) {
		x := &p.rows[r]
		for i, v := range l.want {
			a, b := float64(v), float64(l.got[i])
			x.want += float64(a * a)
			x.got += float64(b * b)
			x.dot += float64(a * b)
			x.diff += float64((a - b) * (a - b))
		}
		if p.got.Scheme != p.want.Scheme || !p.got.Scheme.Float() || p.got.moves() {
			x.noise = sum(l.noise.row(p.got, r))
		}
	})
	for r, x := range p.rows {
		if x.diff > x.limit() {
			p.bad = append(p.bad, r)
		}
	}
	return err
}

// total returns the sums over all rows that differ.
func (p *tensorPair) total() (t rowSums) {
	for _, r := range p.bad {
		x := p.rows[r]
		t.want += x.want
		t.got += x.got
		t.dot += x.dot
		t.diff += x.diff
		t.noise += x.noise
	}
	return t
}

// zerosOrFactor recognizes rows that are all zeros, and rows that are a common
// multiple of the reference's.
func (p *tensorPair) zerosOrFactor() string {
	t := p.total()
	where := p.where()
	switch {
	case t.got == 0:
		return where + "all zeros"
	case t.want == 0:
		return where + "not zero as in the reference"
	}
	factor := t.dot / t.want
	left := t.got - float64(factor*t.dot)
	if left <= float64(rowMargin*rowMargin*t.noise)+float64(1e-6*t.got) && math.Abs(factor-1) > 1e-3 {
		return where + times(factor, t.noise)
	}
	return ""
}

// scaleMismatch recognizes a common factor that is too close to 1 to show in a
// single row. Rounding to the nearest code may itself shrink all values, by about
// its share of their squares; the limit allows for that.
func (p *tensorPair) scaleMismatch() string {
	var dot, want, noise float64
	for _, x := range p.rows {
		dot, want, noise = dot+x.dot, want+x.want, noise+x.noise
	}
	if want == 0 || math.Abs(dot/want-1) < 0.05+2*noise/want {
		return ""
	}
	return times(dot/want, noise)
}

// times formats a factor with the digits that are certain.
func times(factor, noise float64) string {
	digits := 4
	if noise > 0 {
		digits = 2
	}
	return strconv.FormatFloat(factor, 'g', digits, 64) + " times the reference's"
}

// where names the rows that differ, or returns "" if nearly all rows do.
func (p *tensorPair) where() string {
	switch n := len(p.bad); {
	case p.want.Rows == 1 || 10*n > 9*p.want.Rows:
		return ""
	case n == 1:
		return fmt.Sprintf("row %d: ", p.bad[0])
	default:
		return fmt.Sprintf("%d of %d rows, from row %d: ", n, p.want.Rows, p.bad[0])
	}
}

// localDifference describes the largest difference in a tensor whose rows are all in
// their places.
func (p *tensorPair) localDifference() (string, error) {
	worst := p.bad[0]
	for _, r := range p.bad {
		if p.rows[r].diff > p.rows[worst].diff {
			worst = r
		}
	}
	var l rowReader
	var noise []float64
	err := parallel.Guard(func() error {
		l.read(p, worst)
		noise = l.noise.row(p.got, worst)
		return nil
	})
	if err != nil {
		return "", err
	}
	lo, hi, largest := -1, -1, 0
	for i, v := range l.want {
		d := math.Abs(float64(l.got[i]) - float64(v))
		if d > math.Abs(float64(l.got[largest])-float64(l.want[largest])) {
			largest = i
		}
		if d > float64(2*rowMargin*math.Sqrt(noise[i]))+float64(1e-6*math.Abs(float64(v))) {
			if lo < 0 {
				lo = i
			}
			hi = i
		}
	}
	t := p.total()
	text := fmt.Sprintf("differs by %.2g of it, rounding explains %.2g", math.Sqrt(over(t.diff, t.want)), math.Sqrt(over(t.noise, t.want)))
	switch {
	case lo >= 0 && lo == hi:
		text = fmt.Sprintf("column %d is %.4g, the reference has %.4g", lo, l.got[lo], l.want[lo])
	case lo >= 0 && hi-lo < 256 && len(p.bad) <= 4 && hi-lo < p.want.Cols/2:
		text = fmt.Sprintf("columns %d to %d differ, most column %d: %.4g, the reference has %.4g", lo, hi, largest, l.got[largest], l.want[largest])
	}
	switch n := len(p.bad); {
	case p.want.Rows == 1:
		return text, nil
	case n <= 4 && lo >= 0:
		return fmt.Sprintf("row %d: %s", worst, text), nil
	}
	return p.where() + text, nil
}
