package quantize

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Between the value projection and the output projection of an attention head
// lies nothing but sums over positions, so any rotation R of the head's channels
// may be put there for free: R V and O R^T compute what V and O do. A Hadamard
// matrix with random signs makes the channels alike, and a group's one scale then
// fits them all (QuaRot, arXiv 2404.00456, section 4, there for activations too).
// Nothing is left to do when the model runs.

// rotated returns m with the values and outputs of the heads of each block turned
// where p rounds both; their rows are made when they are asked for. m itself is
// not changed.
func rotated(m *model.Model, p *Plan) *model.Model {
	s := &m.Spec
	n := s.HeadDim & -s.HeadDim // the largest power of two in it: of 80, five times 16
	if p.without.has(StepRotation) || n < 8 {
		return m
	}
	rounds := map[string]bool{}
	for i := range p.Tensors {
		rounds[p.Tensors[i].Name] = p.Tensors[i].rounds()
	}
	out := *m
	out.Tensors = map[string]*qtensor.Matrix{}
	for name, t := range m.Tensors {
		out.Tensors[name] = t
	}
	heads := &turnedHeads{size: n}
	for b := range s.Blocks {
		v, o, bias := model.Name(b, model.V), model.Name(b, model.O), model.Name(b, model.V+model.BiasSuffix)
		if !rounds[v] || !rounds[o] {
			continue
		}
		out.Tensors[v] = onDemand(m.Tensors[v], &turnedColumns{m.Tensors[v], heads})
		out.Tensors[o] = onDemand(m.Tensors[o], &turnedRows{m.Tensors[o], n})
		if t := m.Tensors[bias]; t != nil {
			out.Tensors[bias] = onDemand(t, &turnedRows{t, n})
		}
	}
	return &out
}

// onDemand is a float32 matrix of t's shape with rows of source.
func onDemand(t *qtensor.Matrix, source qtensor.Source) *qtensor.Matrix {
	return &qtensor.Matrix{Scheme: qtensor.Scheme{Kind: qtensor.F32}, Rows: t.Rows, Cols: t.Cols, Source: source}
}

// turnedRows turns stretches of size columns of every row.
type turnedRows struct {
	src  *qtensor.Matrix
	size int
}

func (t *turnedRows) Row(dst []byte, r int) {
	x := make([]float32, t.src.Cols)
	new(qtensor.Reader).Row(x, t.src, r)
	for at := 0; at < len(x); at += t.size {
		turn(t.size, func(i int) []float32 { return x[at+i : at+i+1] })
	}
	putFloats(dst, x)
}

func (t *turnedRows) Release() { t.src.Release() }

// turnedColumns turns stretches of rows of every column.
type turnedColumns struct {
	src   *qtensor.Matrix
	heads *turnedHeads
}

func (t *turnedColumns) Row(dst []byte, r int) {
	putFloats(dst, t.heads.get(t.src, r/t.heads.size)[r%t.heads.size])
}

func (t *turnedColumns) Release() { t.src.Release() }

// turnedHeads keeps the stretches of rows that were made last: a row takes all
// rows of its head to make.
type turnedHeads struct {
	size int
	mu   sync.Mutex
	kept [8]turnedHead
	next int
}

type turnedHead struct {
	src  *qtensor.Matrix
	head int
	rows [][]float32
}

func (h *turnedHeads) get(src *qtensor.Matrix, head int) [][]float32 {
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
	turn(h.size, func(i int) []float32 { return rows[i] })
	h.kept[h.next%len(h.kept)] = turnedHead{src, head, rows}
	h.next++
	return rows
}

// turn multiplies n equally long vectors, a power of two of them, by a Hadamard
// matrix over the root of n, after changing the sign of half of them.
func turn(n int, vector func(i int) []float32) {
	root := float32(1 / math.Sqrt(float64(n)))
	for i := range n {
		sign := root
		if bits.OnesCount32(uint32(i)*2654435761>>7)%2 == 1 { // a hash: any fixed half will do
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

func putFloats(dst []byte, x []float32) {
	for i, v := range x {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}
