package quantize

import (
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/memory"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
	"thimble/quantize/rounding"
)

// A calibrated run takes memory for two things: for the activations of the texts, of which
// it keeps as much as the bound on memory allows and the rest in temporary files (see
// transformer.Room), and for the matrix that it works on, which it cannot divide.

// runningPositions is the number of positions that run at a time without a bound. With more
// of them, widening the weights for each part would not cost less.
const runningPositions = 4096

// room returns how many positions of texts a run with so many streams keeps in memory, next
// to work bytes for other things.
func (c *Calibration) room(m *Model, texts [][]int, streams, work int64) transformer.Room {
	all := memory.Room()
	if all == math.MaxInt64 {
		return transformer.Room{Positions: runningPositions}
	}
	left := (all - memory.Live() - work) / streams
	running, keeping := m.Spec.Footprint()
	kept := keeping * int64(tokensOf(texts))
	if most := int64(runningPositions); kept+most*running <= left {
		return transformer.Room{Positions: runningPositions}
	}
	positions := min(max(left/running, 1), runningPositions)
	return transformer.Room{Positions: int(positions), Spill: c.Spill}
}

// streams returns the number of models that a run of p on m with the texts of c follows.
func (p *Plan) streams(m *Model, c *Calibration) int64 {
	if p.method.ComparesStreams() && c.Tokens() >= driftPositions*m.Spec.Hidden {
		return 2
	}
	return 1
}

// Fits returns an error unless a run of p on m with the texts of c, which is nil for a run
// without texts, can do with the bound on memory, in bytes; 0 is no bound. If b is not nil, a
// survey and the choice of schemes by b precede the run, and p is of the smallest schemes.
// exports tells whether another format than the container's is written.
func (p *Plan) Fits(bound int64, m *Model, c *Calibration, b *Budget, exports bool) error {
	if bound == 0 {
		return nil
	}
	return memory.Check(bound, memory.Live()+p.demand(m, c, b, exports))
}

// demand returns the least bytes of memory for Fits, besides what is live now.
func (p *Plan) demand(m *Model, c *Calibration, b *Budget, exports bool) (least int64) {
	var schemes []Scheme
	if b != nil {
		schemes = b.Schemes
	}
	largest := p.in(schemes)
	for _, e := range largest.Tensors { // one stored matrix, or one of the container that is exported
		if e.From != e.To || exports {
			least = max(least, e.Bytes)
		}
	}
	if c == nil || !p.quantizes() {
		return least
	}
	running, _ := m.Spec.Footprint()
	longest := 0
	for _, text := range c.Texts {
		longest = max(longest, len(text))
	}
	trace := running * int64(longest)
	least = max(least, largest.work(m, c)+largest.streams(m, c)*trace)
	if b != nil || largest.rated() {
		least = max(least, fisherBytes(m, c)+statesBytes(m, tokensOf(c.first())))
	}
	if b == nil {
		return least
	}
	if b.Measured() { // the best trial and the next one are whole models in memory
		least += 2 * largest.Bytes
	}
	survey := surveyWork(m, c)
	if largest.rated() { // fineNoise takes more than the first of noises
		survey += survey / 2
	}
	return max(least, survey+trace)
}

// in returns p with the largest of schemes in every tensor that it rounds, and as it is in
// memory.
func (p *Plan) in(schemes []Scheme) *Plan {
	q := *p
	q.Tensors, q.Bytes = slices.Clone(p.Tensors), 0
	for i := range q.Tensors {
		e := &q.Tensors[i]
		e.Bytes = e.resident()
		for _, s := range schemes {
			if n, err := s.InMemory().Size(e.Rows, e.Cols); err == nil && e.rounds() && n > e.Bytes {
				e.To, e.Bytes = s, n
			}
		}
		q.Bytes += e.Bytes
	}
	return &q
}

// work returns the bytes that a calibrated run of p takes besides its streams: for the
// matrices of one block and the embedding, and for what rounds one of them.
func (p *Plan) work(m *Model, c *Calibration) int64 {
	var most, kept int64
	blocks := map[int]int64{}
	for _, e := range p.Tensors {
		if part := partOf(e.Name); isBlock(part) {
			blocks[part] += e.Bytes
		} else if e.Role != model.Vector && e.From != e.To {
			kept += e.Bytes
		}
		if !e.rounds() {
			continue
		}
		drift := p.streams(m, c) > 1 && e.Role == model.Linear && c.Tokens() >= driftPositions*e.Cols
		rows := e.Rows
		if e.Role != model.Linear {
			most = max(most, headWork(m, c))
			rows = min(rows, headRows)
		}
		most = max(most, momentBytes(e.Cols, 1, drift), inputBytes(e.Cols, drift), rounding.Bytes(e.To, rows, e.Cols, drift))
	}
	var block int64
	for _, n := range blocks {
		block = max(block, n)
	}
	return kept + block + most + p.finalBytes(m, c)
}

// finalBytes returns the bytes of the final states of the float model.
func (p *Plan) finalBytes(m *Model, c *Calibration) int64 {
	n := tokensOf(c.first())
	if !m.Spec.Tied && p.streams(m, c) > 1 {
		n = c.Tokens()
	}
	return statesBytes(m, n)
}

// statesBytes returns the bytes of finalStates of n positions.
func statesBytes(m *Model, n int) int64 {
	return 4 * int64(n) * int64(kernel.Padded(m.Spec.Hidden)+binsOf(m.Spec.Vocab))
}

// binsOf returns about the number of bins of so many rows.
func binsOf(vocab int) (n int) {
	for size := binFirst; vocab > 0; size *= binGrowth {
		vocab, n = vocab-size, n+1
	}
	return n
}

// headWork returns the bytes that it takes to rank the rows of m's head, or to predict their
// losses.
func headWork(m *Model, c *Calibration) int64 {
	vocab, hidden := int64(m.Spec.Vocab), int64(kernel.Padded(m.Spec.Hidden))
	sampled := 4 * hidden * int64(tokensOf(c.first())/binSample)
	return 4*headBatch*vocab + 32*vocab + sampled
}

// surveyWork returns the bytes that a survey takes besides its stream.
func surveyWork(m *Model, c *Calibration) int64 {
	vocab := int64(m.Spec.Vocab)
	most := headWork(m, c)
	rounded := map[int]int64{} // bytes by kind, in one section
	for _, slot := range m.Spec.Slots() {
		if slot.Role == model.Vector {
			continue
		}
		most = max(most, momentBytes(slot.Cols, surveyStride, false), inputBytes(slot.Cols, false)+noiseBytes(slot))
		if slot.Role == model.Linear {
			rounded[slot.Cols] = max(rounded[slot.Cols], noiseBytes(slot))
		}
	}
	var section int64
	for _, n := range rounded {
		section = max(section, n*int64((m.Spec.Blocks+surveySections-1)/surveySections))
	}
	running, _ := m.Spec.Footprint()
	texts := evalPieces(c.Texts)
	positions := int64(tokensOf(texts))
	logits := 4 * vocab * (positions/evalStride + headBatch + int64(parallel.Workers()))
	return max(most, section+logits+running*positions) + statesBytes(m, tokensOf(c.first()))
}

// noiseBytes returns the bytes of a slot's matrix in the first of noises.
func noiseBytes(s Slot) int64 {
	n, err := noises[0].Size(s.Rows, s.Cols)
	if err != nil {
		return 0
	}
	return n
}

// momentBytes returns the bytes for collecting the moments of an input.
func momentBytes(cols, stride int, drift bool) int64 {
	n := int64(kernel.Padded(cols))
	streams := int64(1)
	if drift {
		streams = 2
	}
	chunk := 4 * n * rounding.Together * 33 / 32
	return streams*(8*n*n+chunk+4*n*rounding.Together*int64(stride)) + int64(parallel.Workers())*4*rounding.PanelRows*n
}

// inputBytes returns the bytes for the input of given moments while it is made.
func inputBytes(cols int, drift bool) int64 {
	n := int64(kernel.Padded(cols))
	if drift {
		return 28 * n * n
	}
	return 20 * n * n
}
