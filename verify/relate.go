package verify

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A relation compares a model's tensors with the reference's and finds what has
// become of them.
type relation struct {
	ctx                context.Context
	reference, subject *model.Model
	rotary             rotary
}

// How far a row may be from the reference's, as a multiple of rounding and
// relative to it; how alike two rows must be to be the same one, rounded; and how
// many rows and columns are looked for elsewhere.
const (
	rowMargin  = 3.0
	rowExact   = 1e-5
	alike      = 0.8
	sampleRows = 12
)

// of says what the model's tensor is to the reference's, "" if it is the same, but
// for rounding.
func (c *relation) of(name string) (string, error) {
	want, got := c.reference.Tensors[name], c.subject.Tensors[name]
	switch {
	case want == nil && got == nil:
		return "", nil
	case want == nil || got == nil || want.Rows != got.Rows || want.Cols != got.Cols:
		return "shapes differ", nil
	}
	p := &pair{ctx: c.ctx, want: want, got: got}
	if err := p.compare(); err != nil {
		return "", err
	}
	if len(p.bad) == 0 {
		return p.slightly(), nil
	}
	if text := p.simple(); text != "" {
		return text, nil
	}
	tries := []func(p *pair, name string) (string, error){c.rowsMoved, c.columnsMoved, c.otherTensor, c.transposed}
	if want.Rows == 1 {
		tries = []func(p *pair, name string) (string, error){c.vectorMoved, c.otherTensor}
	}
	for _, try := range tries {
		if text, err := try(p, name); text != "" || err != nil {
			return text, err
		}
	}
	return p.local()
}

// A pair is a tensor of both models.
type pair struct {
	ctx       context.Context
	want, got *qtensor.Matrix
	rows      []rowRelation
	bad       []int // the rows that differ by more than rounding
}

// A rowRelation is sums over the columns of a row.
type rowRelation struct{ want, got, dot, apart, noise float64 }

// each calls f with each row of both, on all cores.
func (p *pair) each(f func(lane *pairLane, r int)) error {
	lanes := make([]pairLane, parallel.Workers())
	return parallel.Do(p.ctx, p.want.Rows, func(worker, r int) error {
		l := &lanes[worker]
		l.read(p, r)
		f(l, r)
		return nil
	})
}

// A pairLane is one worker's scratch.
type pairLane struct {
	reader    qtensor.Reader
	noise     rounding
	want, got []float32
}

func (l *pairLane) read(p *pair, r int) {
	l.want, l.got = grow(l.want, p.want.Cols), grow(l.got, p.got.Cols)
	l.reader.Row(l.want, p.want, r)
	l.reader.Row(l.got, p.got, r)
}

func (p *pair) compare() error {
	p.rows = make([]rowRelation, p.want.Rows)
	err := p.each(func(l *pairLane, r int) {
		x := &p.rows[r]
		for i, v := range l.want {
			a, b := float64(v), float64(l.got[i])
			x.want += float64(a * a)
			x.got += float64(b * b)
			x.dot += float64(a * b)
			x.apart += float64((a - b) * (a - b))
		}
		if p.got.Scheme != p.want.Scheme || !p.got.Scheme.Float() {
			x.noise = sum(l.noise.row(p.got, r))
		}
	})
	for r, x := range p.rows {
		if x.apart > x.limit() {
			p.bad = append(p.bad, r)
		}
	}
	return err
}

// limit is how far apart rows may be.
func (x rowRelation) limit() float64 {
	return float64(rowMargin*rowMargin*x.noise) + float64(rowExact*rowExact*x.want)
}

// total is the sum over all rows that differ.
func (p *pair) total() (t rowRelation) {
	for _, r := range p.bad {
		x := p.rows[r]
		t.want += x.want
		t.got += x.got
		t.dot += x.dot
		t.apart += x.apart
		t.noise += x.noise
	}
	return t
}

// simple recognizes zeros and factors.
func (p *pair) simple() string {
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

// slightly recognizes a factor that no row shows alone. Codes that are the nearest
// to what they stand for make all a little smaller, by the share of rounding.
func (p *pair) slightly() string {
	var dot, want, noise float64
	for _, x := range p.rows {
		dot, want, noise = dot+x.dot, want+x.want, noise+x.noise
	}
	if want == 0 || math.Abs(dot/want-1) < 0.05+2*noise/want {
		return ""
	}
	return times(dot/want, noise)
}

// times writes a factor with the digits that are known of it.
func times(factor, noise float64) string {
	digits := 4
	if noise > 0 {
		digits = 2
	}
	return strconv.FormatFloat(factor, 'g', digits, 64) + " times the reference's"
}

// where names the rows that differ, if it is not nearly all of them.
func (p *pair) where() string {
	switch n := len(p.bad); {
	case p.want.Rows == 1 || 10*n > 9*p.want.Rows:
		return ""
	case n == 1:
		return fmt.Sprintf("row %d: ", p.bad[0])
	default:
		return fmt.Sprintf("%d of %d rows, from row %d: ", n, p.want.Rows, p.bad[0])
	}
}

// local says where a tensor differs that is in its place.
func (p *pair) local() (string, error) {
	worst := p.bad[0]
	for _, r := range p.bad {
		if p.rows[r].apart > p.rows[worst].apart {
			worst = r
		}
	}
	var l pairLane
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
	text := fmt.Sprintf("differs by %.2g of it, rounding explains %.2g", math.Sqrt(over(t.apart, t.want)), math.Sqrt(over(t.noise, t.want)))
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
