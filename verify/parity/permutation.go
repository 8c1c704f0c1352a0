package parity

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/logits"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// sample returns at most sampleRows of the rows that differ.
func (p *tensorPair) sample() (rows []int) {
	n := min(len(p.bad), sampleRows)
	for i := range n {
		rows = append(rows, p.bad[i*len(p.bad)/n])
	}
	return rows
}

// A match pairs a row or column with the reference's row or column that it equals.
type match struct{ at, from int }

// enough reports whether matches were found for nearly all of n samples.
func enough(found, n int) bool { return n > 0 && 10*found >= 8*n }

// detectRowPermutation looks for the differing rows in other places of the
// reference's tensor.
func (d *tensorDiff) detectRowPermutation(p *tensorPair, _ string) (string, error) {
	at := p.sample()
	rows := make([][]float32, len(at))
	var reader qtensor.Reader
	err := parallel.Guard(func() error {
		for i, r := range at {
			rows[i] = make([]float32, p.got.Cols)
			reader.Row(rows[i], p.got.Matrix, r)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	cosines := make([]float64, len(at)*p.want.Rows)
	err = p.each(func(l *rowReader, r int) {
		for i, row := range rows {
			cosines[i*p.want.Rows+r] = logits.Cosine(dot(row, l.want), p.rows[r].want, p.rows[at[i]].got)
		}
	})
	if err != nil {
		return "", err
	}
	return d.permutation("row", p.where(), p.want.Rows, at, cosines), nil
}

// detectColumnPermutation looks for the columns in other places of the reference's
// tensor.
func (d *tensorDiff) detectColumnPermutation(p *tensorPair, _ string) (string, error) {
	cols := p.want.Cols
	n := min(cols, sampleRows)
	at := make([]int, n)
	for i := range at {
		at[i] = (2*i + 1) * cols / (2 * n)
	}
	// The sums run over rows in order, on one core.
	dots, want, got := make([]float64, n*cols), make([]float64, cols), make([]float64, cols)
	var l rowReader
	err := parallel.Guard(func() error {
		for r := range p.want.Rows {
			l.read(p, r)
			for j, v := range l.want {
				want[j] += float64(float64(v) * float64(v))
				got[j] += float64(float64(l.got[j]) * float64(l.got[j]))
			}
			for i, col := range at {
				b, sums := float64(l.got[col]), dots[i*cols:][:cols]
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
			dots[i*cols+j] = logits.Cosine(dots[i*cols+j], want[j], got[col])
		}
	}
	return d.permutation("column", "", cols, at, dots), nil
}

// permutation describes how the rows (or columns) at were permuted among the n of
// the reference. It returns "" if fewer than half of those found have moved, or too
// few were found. cosines, (len(at), n), compares each of them with each of the
// reference's.
func (d *tensorDiff) permutation(kind, where string, n int, at []int, cosines []float64) string {
	var found []match
	elsewhere := 0
	for i, r := range at {
		best := 0
		row := cosines[i*n:][:n]
		for j, x := range row {
			if x > row[best] {
				best = j
			}
		}
		if row[best] > minCosine {
			found = append(found, match{r, best})
			if best != r {
				elsewhere++
			}
		}
	}
	if 2*elsewhere < len(found) || !enough(len(found), len(at)) {
		return ""
	}
	for _, o := range d.rotary.orders(n) {
		if follows(found, o.from) {
			return strings.ReplaceAll(o.name, "row", kind)
		}
	}
	m := found[slices.IndexFunc(found, func(f match) bool { return f.from != f.at })]
	h := d.rotary.Head
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

// lookup returns the reference's row that matches row at, or at itself if it is not
// among found.
func lookup(found []match, at int) int {
	for _, m := range found {
		if m.at == at {
			return m.from
		}
	}
	return at
}

// follows reports whether a rule explains all matches.
func follows(found []match, from func(int) int) bool {
	for _, m := range found {
		if from(m.at) != m.from {
			return false
		}
	}
	return true
}

// detectOtherTensor looks for the tensor's values under another name in the
// reference.
func (d *tensorDiff) detectOtherTensor(p *tensorPair, name string) (string, error) {
	rows := p.sample()
	for _, slot := range d.reference.Spec.Slots() {
		w := d.reference.Tensors[slot.Name]
		if slot.Name == name || w == nil || w.Rows != p.want.Rows || w.Cols != p.want.Cols {
			continue
		}
		other := &tensorPair{ctx: p.ctx, want: w, got: p.got}
		var l rowReader
		found := 0
		err := parallel.Guard(func() error {
			for _, r := range rows {
				l.read(other, r)
				if logits.Cosine(dot(l.want, l.got), squares(l.want), squares(l.got)) > minCosine {
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
		if enough(found, len(rows)) {
			return fmt.Sprintf("%sholds what the reference has as %s", p.where(), slot.Name), nil
		}
	}
	return "", nil
}

// detectTranspose recognizes a transposed tensor: value i of the subject's tensor,
// counted along rows, is value i of the reference's, counted down columns.
func (d *tensorDiff) detectTranspose(p *tensorPair, _ string) (string, error) {
	rows, cols := p.want.Rows, p.want.Cols
	at := p.sample()
	should := make([][]float32, len(at))
	for i := range at {
		should[i] = make([]float32, cols)
	}
	var l rowReader
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
			if logits.Cosine(dot(should[i], l.got), squares(should[i]), squares(l.got)) > minCosine {
				found++
			}
		}
		return nil
	})
	if err != nil || !enough(found, len(at)) {
		return "", err
	}
	return "is transposed", nil
}

// detectVectorPermutation recognizes a vector whose values are permuted, or are all
// too large or too small by one.
func (d *tensorDiff) detectVectorPermutation(p *tensorPair, _ string) (string, error) {
	var l rowReader
	if err := parallel.Guard(func() error { l.read(p, 0); return nil }); err != nil {
		return "", err
	}
	n := p.want.Cols
	is := func(from func(i int) float64) bool {
		diff := 0.0
		for i, v := range l.got {
			d := float64(v) - from(i)
			diff += float64(d * d)
		}
		return diff <= p.rows[0].limit()+float64(1e-6*p.rows[0].want)
	}
	for _, o := range d.rotary.orders(n) {
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
