package quantize

import (
	"encoding/binary"
	"maps"
	"math"
	"math/bits"
	"strings"
	"sync"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Between the value projection V and the output projection O of an attention head there
// are only sums over positions, so for any rotation R of the head's channels, R V and O
// R^T compute the same as V and O. A Hadamard matrix with random signs makes the channels
// similar, so that one scale fits a whole group (QuaRot, arXiv 2404.00456, section 4,
// which also uses it for activations). It costs nothing at inference.

// rotated returns m with the value and output projections of each block rotated, if p
// rounds both with a method that rotates. It computes their rows on demand and does not
// change m.
func rotated(m *Model, p *Plan) *Model {
	s := &m.Spec
	n := s.HeadDim & -s.HeadDim // the largest power of two that divides it: 16 for 80
	if !p.method.Rotates() || n < 8 {
		return m
	}
	rounds := map[string]bool{}
	for i := range p.Tensors {
		rounds[p.Tensors[i].Name] = p.Tensors[i].rounds()
	}
	out := *m
	out.Tensors = maps.Clone(m.Tensors)
	recent := &recentHeads{size: n}
	for b := range s.Blocks {
		v, o, bias := model.Name(b, model.V), model.Name(b, model.O), model.Name(b, model.V+model.BiasSuffix)
		if !rounds[v] || !rounds[o] {
			continue
		}
		out.Tensors[v] = onDemand(m.Tensors[v], &rotatedColumns{m.Tensors[v], recent})
		out.Tensors[o] = onDemand(m.Tensors[o], &rotatedRows{m.Tensors[o], n})
		if t := m.Tensors[bias]; t != nil {
			out.Tensors[bias] = onDemand(t, &rotatedRows{t, n})
		}
	}
	return &out
}

// Rotated returns those tensors of m that the calibrated runs of recipes, from a model
// like m, rotated before they rounded them, as these runs rotated them. recipes is the
// record in Provenance.Recipe: one YAML document for each run. Rotated makes the rows on
// demand.
//
// The record does not say which matrices were stored in integers before the first run;
// none of those was rotated. Rotated returns nothing for a record that it cannot read:
// files of other versions and other programs may have one.
func Rotated(m *Model, recipes string) map[string]*Matrix {
	const maxRuns = 64
	if strings.Count(recipes, "\n---\n") >= maxRuns {
		return nil
	}
	now := map[string]Scheme{} // of each tensor, after the runs so far
	turned := m
	for text := range strings.SplitSeq(recipes, "\n---\n") {
		r, err := ParseRecipe([]byte(text))
		if err != nil {
			return nil
		}
		full, err := r.resolve()
		if err != nil {
			return nil
		}
		p := &Plan{method: full.method}
		for _, slot := range m.Spec.Slots() {
			e := Entry{Slot: slot, From: now[slot.Name], To: now[slot.Name]}
			if s := full.storage(slot, make([]bool, len(full.rules))); !s.keep {
				e.To = s.scheme
			}
			now[slot.Name] = e.To
			p.Tensors = append(p.Tensors, e)
		}
		turned = rotated(turned, p) // a matrix is rounded once, so rotated at most once
	}
	out := map[string]*Matrix{}
	for name, t := range turned.Tensors {
		if t != m.Tensors[name] {
			out[name] = t
		}
	}
	return out
}

// onDemand returns a float32 matrix of t's shape whose rows come from source.
func onDemand(t *Matrix, source qtensor.Source) *Matrix {
	return &Matrix{Scheme: Scheme{Kind: qtensor.F32}, Rows: t.Rows, Cols: t.Cols, Source: source}
}

// rotatedRows rotates each run of size columns in every row of src.
type rotatedRows struct {
	src  *Matrix
	size int
}

func (t *rotatedRows) Row(dst []byte, r int) {
	x := make([]float32, t.src.Cols)
	new(qtensor.Reader).Row(x, t.src, r)
	for at := 0; at < len(x); at += t.size {
		hadamard(t.size, func(i int) []float32 { return x[at+i : at+i+1] })
	}
	putFloats(dst, x)
}

func (t *rotatedRows) Release() { t.src.Release() }

// rotatedColumns rotates each run of size rows in every column of src.
type rotatedColumns struct {
	src    *Matrix
	recent *recentHeads
}

func (t *rotatedColumns) Row(dst []byte, r int) {
	putFloats(dst, t.recent.rows(t.src, r/t.recent.size)[r%t.recent.size])
}

func (t *rotatedColumns) Release() { t.src.Release() }

// recentHeads computes runs of size rows, rotated together, and caches the latest: to
// compute one row takes all rows of its head.
type recentHeads struct {
	size int
	mu   sync.Mutex
	kept [8]rotatedHead
	next int
}

type rotatedHead struct {
	src  *Matrix
	head int
	rows [][]float32
}

// rows returns the rotated rows of one head of src.
func (h *recentHeads) rows(src *Matrix, head int) [][]float32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.kept {
		if k.src == src && k.head == head {
			return k.rows
		}
	}
	rows := make([][]float32, h.size)
	var reader qtensor.Reader
	for i := range rows {
		rows[i] = make([]float32, src.Cols)
		reader.Row(rows[i], src, head*h.size+i)
	}
	hadamard(h.size, func(i int) []float32 { return rows[i] })
	h.kept[h.next%len(h.kept)] = rotatedHead{src, head, rows}
	h.next++
	return rows
}

// hadamard changes the sign of half of n equally long vectors, n a power of two,
// and multiplies them by a Hadamard matrix over the root of n.
func hadamard(n int, vector func(i int) []float32) {
	root := float32(1 / math.Sqrt(float64(n)))
	for i := range n {
		sign := root
		if bits.OnesCount32(uint32(i)*2654435761>>7)%2 == 1 { // a hash: any fixed half works
			sign = -root
		}
		for j, v := range vector(i) {
			vector(i)[j] = v * sign
		}
	}
	for half := 1; half < n; half *= 2 {
		for i := range n {
			if i&half != 0 {
				continue
			}
			a, b := vector(i), vector(i+half)
			for j, v := range a {
				a[j], b[j] = v+b[j], v-b[j]
			}
		}
	}
}

// putFloats writes x to dst as little-endian float32.
func putFloats(dst []byte, x []float32) {
	for i, v := range x {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}
