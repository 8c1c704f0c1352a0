package verify

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

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
	return rowMargin*rowMargin*x.noise + rowExact*rowExact*x.want
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
	if left <= rowMargin*rowMargin*t.noise+1e-6*t.got && math.Abs(factor-1) > 1e-3 {
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

// sample takes some of the rows that differ.
func (p *pair) sample() (rows []int) {
	n := min(len(p.bad), sampleRows)
	for i := range n {
		rows = append(rows, p.bad[i*len(p.bad)/n])
	}
	return rows
}

// A match is a row, or column, and the one of the reference that it is.
type match struct{ at, from int }

// enough says whether nearly all of n samples have been found.
func enough(found []match, n int) bool {
	return n > 0 && 10*len(found) >= 8*n
}

func (c *relation) rowsMoved(p *pair, _ string) (string, error) {
	at := p.sample()
	rows := make([][]float32, len(at))
	var reader qtensor.Reader
	err := parallel.Guard(func() error {
		for i, r := range at {
			rows[i] = make([]float32, p.got.Cols)
			reader.Row(rows[i], p.got, r)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	cosines := make([]float64, len(at)*p.want.Rows)
	err = p.each(func(l *pairLane, r int) {
		for i, row := range rows {
			var dot float64
			for j, v := range row {
				dot += float64(float64(v) * float64(l.want[j]))
			}
			cosines[i*p.want.Rows+r] = cosine(dot, p.rows[r].want, p.rows[at[i]].got)
		}
	})
	if err != nil {
		return "", err
	}
	return c.moved("row", p.where(), p.want.Rows, at, cosines), nil
}

func (c *relation) columnsMoved(p *pair, _ string) (string, error) {
	cols := p.want.Cols
	n := min(cols, sampleRows)
	at := make([]int, n)
	for i := range at {
		at[i] = (2*i + 1) * cols / (2 * n)
	}
	// The sums run over rows in order, on one core.
	dot, want, got := make([]float64, n*cols), make([]float64, cols), make([]float64, cols)
	var l pairLane
	err := parallel.Guard(func() error {
		for r := range p.want.Rows {
			l.read(p, r)
			for j, v := range l.want {
				want[j] += float64(float64(v) * float64(v))
				got[j] += float64(float64(l.got[j]) * float64(l.got[j]))
			}
			for i, col := range at {
				b, sums := float64(l.got[col]), dot[i*cols:][:cols]
				for j, v := range l.want {
					sums[j] += float64(b * float64(v))
				}
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	for i, col := range at {
		for j := range cols {
			dot[i*cols+j] = cosine(dot[i*cols+j], want[j], got[col])
		}
	}
	return c.moved("column", "", cols, at, dot), nil
}

// moved says by what rule the rows (or columns) at have come from elsewhere among
// the n of the reference; cosines is (len(at), n). "" if they have not, at least
// half of them.
func (c *relation) moved(kind, where string, n int, at []int, cosines []float64) string {
	var found []match
	elsewhere := 0
	for i, r := range at {
		best := 0
		all := cosines[i*n:][:n]
		for j, x := range all {
			if x > all[best] {
				best = j
			}
		}
		if all[best] > alike {
			found = append(found, match{r, best})
			if best != r {
				elsewhere++
			}
		}
	}
	if 2*elsewhere < len(found) || !enough(found, len(at)) {
		return ""
	}
	for _, o := range c.rotary.orders(n) {
		if follows(found, o.from) {
			return strings.ReplaceAll(o.name, "row", kind)
		}
	}
	m := found[slices.IndexFunc(found, func(f match) bool { return f.from != f.at })]
	h := c.rotary.head
	ofHeads := h > 0 && n%h == 0
	shift := ((m.from-m.at)%n + n) % n
	switch {
	case ofHeads && follows(found, func(i int) int { return i%h + lookup(found, i)/h*h }):
		return fmt.Sprintf("%sheads are in another order: head %d is the reference's head %d", where, m.at/h, m.from/h)
	case follows(found, func(i int) int { return (i + shift) % n }):
		if shift > n/2 {
			shift -= n
		}
		return fmt.Sprintf("%s%ss are shifted by %+d: %s %d is the reference's %s %d", where, kind, -shift, kind, m.at, kind, m.from)
	}
	return fmt.Sprintf("%s%ss are in another order: %s %d is the reference's %s %d", where, kind, kind, m.at, kind, m.from)
}

func lookup(found []match, at int) int {
	for _, m := range found {
		if m.at == at {
			return m.from
		}
	}
	return at
}

// follows says whether all matches are where a rule has them from.
func follows(found []match, from func(int) int) bool {
	for _, m := range found {
		if from(m.at) != m.from {
			return false
		}
	}
	return true
}

// otherTensor looks for the tensor under another name.
func (c *relation) otherTensor(p *pair, name string) (string, error) {
	rows := p.sample()
	for _, slot := range c.reference.Spec.Slots() {
		w := c.reference.Tensors[slot.Name]
		if slot.Name == name || w == nil || w.Rows != p.want.Rows || w.Cols != p.want.Cols {
			continue
		}
		other := &pair{ctx: p.ctx, want: w, got: p.got}
		var l pairLane
		found := 0
		err := parallel.Guard(func() error {
			for _, r := range rows {
				l.read(other, r)
				var dot float64
				for i, v := range l.want {
					dot += float64(float64(v) * float64(l.got[i]))
				}
				if cosine(dot, squares(l.want), squares(l.got)) > alike {
					found++
				}
			}
			return nil
		})
		if err != nil {
			return "", err
		}
		if p.want.Rows == 1 { // any two vectors of gains are alike
			found = 0
			if err := other.compare(); err != nil {
				return "", err
			}
			if len(other.bad) == 0 {
				found = 1
			}
		}
		if 10*found >= 8*len(rows) {
			return fmt.Sprintf("%sholds what the reference has as %s", p.where(), slot.Name), nil
		}
	}
	return "", nil
}

// transposed looks for the values of a row down the columns: value i of the whole,
// counted along rows, is the one that is number i counted down columns.
func (c *relation) transposed(p *pair, _ string) (string, error) {
	rows, cols := p.want.Rows, p.want.Cols
	at := p.sample()
	should := make([][]float32, len(at))
	for i := range at {
		should[i] = make([]float32, cols)
	}
	var l pairLane
	found := 0
	err := parallel.Guard(func() error {
		for x := range rows {
			l.read(p, x)
			for i, r := range at {
				first := r * cols
				for j := ((x-first)%rows + rows) % rows; j < cols; j += rows {
					should[i][j] = l.want[(first+j)/rows]
				}
			}
		}
		for i, r := range at {
			l.read(p, r)
			var dot float64
			for j, v := range should[i] {
				dot += float64(float64(v) * float64(l.got[j]))
			}
			if cosine(dot, squares(should[i]), squares(l.got)) > alike {
				found++
			}
		}
		return nil
	})
	if err != nil || 10*found < 8*len(at) {
		return "", err
	}
	return "is transposed", nil
}

// vectorMoved recognizes a vector whose values are in another order, or less or
// more by one.
func (c *relation) vectorMoved(p *pair, _ string) (string, error) {
	var l pairLane
	if err := parallel.Guard(func() error { l.read(p, 0); return nil }); err != nil {
		return "", err
	}
	n := p.want.Cols
	is := func(from func(i int) float64) bool {
		apart := 0.0
		for i, v := range l.got {
			d := float64(v) - from(i)
			apart += float64(d * d)
		}
		return apart <= p.rows[0].limit()+1e-6*p.rows[0].want
	}
	for _, o := range c.rotary.orders(n) {
		if is(func(i int) float64 { return float64(l.want[o.from(i)]) }) {
			return strings.ReplaceAll(o.name, "row", "value"), nil
		}
	}
	for _, by := range []int{1, -1} {
		if is(func(i int) float64 { return float64(l.want[((i+by)%n+n)%n]) }) {
			return fmt.Sprintf("values are shifted: value 0 is the reference's value %d", (by+n)%n), nil
		}
		if is(func(i int) float64 { return float64(l.want[i]) + float64(by) }) {
			return fmt.Sprintf("every value is the reference's %+d, as if gains were stored with 1 or without", by), nil
		}
	}
	return "", nil
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
		if d > 2*rowMargin*math.Sqrt(noise[i])+1e-6*math.Abs(float64(v)) {
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
