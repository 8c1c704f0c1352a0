package recurrence

// A Past is what a layer keeps of the positions before the next one: the state after them, the
// inputs of the last ones, and an earlier state, the mark. From the mark and the inputs after it the
// state can be computed again where positions were discarded. What is before the mark is gone, so a
// Past takes as much memory after a long text as after a short one.
type Past struct {
	Width int // of a row of inputs
	Reach int // rows before a position that its convolution reads
	State State

	mark  State
	first int       // position of the first row
	rows  []float32 // (positions from first on, Width), and room for more
}

// Window is how many positions a text goes on before the mark follows.
const Window = 256

// Extend prepares for n positions from the given one on, which is 0 or at most one more than those
// seen. It returns the rows of inputs of the position first and those after it, the last n of which
// are those to fill.
func (p *Past) Extend(from, n int) (inputs []float32, first int) {
	if from == 0 {
		p.first, p.mark.N = 0, 0
	}
	switch stateless := p.State.S == nil; { // as of a convolution alone
	case !stateless && (p.State.N > from || p.State.N < p.mark.N):
		p.rewind()
	case from-p.mark.N >= Window && (stateless || p.State.N == from):
		p.follow(from)
	}
	if need := (from + n - p.first) * p.Width; len(p.rows) < need {
		p.rows = append(p.rows, make([]float32, max(need-len(p.rows), len(p.rows)/2))...)
	}
	return p.rows[:(from+n-p.first)*p.Width], p.first
}

// rewind makes the state that of the mark.
func (p *Past) rewind() {
	if p.State.N = p.mark.N; p.State.N == 0 {
		clear(p.State.S)
	} else {
		copy(p.State.S, p.mark.S)
	}
}

// follow moves the mark to position n, which the state has reached, and drops the inputs before it.
func (p *Past) follow(n int) {
	p.mark.N, p.mark.S = n, append(p.mark.S[:0], p.State.S...)
	keep := max(p.first, n-p.Reach)
	held, rows := p.rows[(keep-p.first)*p.Width:(n-p.first)*p.Width], p.rows
	if size := len(held) + Window*p.Width; len(rows) > 2*size { // after a long prompt
		rows = make([]float32, size)
	}
	copy(rows, held)
	p.rows, p.first = rows, keep
}

// Reaches reports whether the positions from n on can be discarded.
func (p *Past) Reaches(n int) bool { return n == 0 || n >= p.mark.N }

// Row returns the inputs of a position that was seen, or nil if they are gone.
func (p *Past) Row(position int) []float32 {
	if p.Width == 0 || position < p.first {
		return nil
	}
	return p.rows[(position-p.first)*p.Width:][:p.Width]
}

// Copy overwrites the inputs of position to with those of position from, if both are kept. The
// state is computed again from them.
func (p *Past) Copy(to, from int) {
	if a, b := p.Row(to), p.Row(from); a != nil && b != nil && p.Reaches(to) {
		copy(a, b)
		p.rewind()
	}
}

// Bytes returns the memory of p.
func (p *Past) Bytes() int64 { return 4 * int64(len(p.rows)+len(p.State.S)+len(p.mark.S)) }

// PastBytes returns the most memory that a Past takes after a pass over a single position.
func PastBytes(width, reach, state int) int64 { return 4 * int64((Window+reach)*width+2*state) }
