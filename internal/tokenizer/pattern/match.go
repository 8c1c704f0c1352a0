package pattern

import "unicode/utf8"

// A machine runs the program of a Regexp on one text at a time.
type machine struct {
	re    *Regexp
	text  string
	stack []frame
	runs  []span // by instruction, the last run of its set that was measured
	steps int    // left until states are recorded

	// ends holds, for each instruction with a memo, by position, what is known of the state:
	// 0 nothing, -1 that it fails, otherwise one more than the end of its match inside of a
	// group. It is nil until the steps are used up.
	ends [][]int32
}

// A frame is a state to go back to when a later one fails.
type frame struct {
	kind frameKind
	pc   int32
	at   int
	low  int // frameRun: the shortest run; frameMore: characters that may still follow
}

type frameKind uint8

const (
	frameState frameKind = iota // continue at pc
	frameRun                    // give back one character, at least low remain, continue after pc
	frameMore                   // take one more character, continue after pc
	frameFails                  // no state since then matched: that at pc fails
)

// stepsPerByte limits the search without a record.
const stepsPerByte = 64

func (m *machine) load(text string) {
	m.text, m.stack, m.ends = text, m.stack[:0], nil
	m.steps = 1024 + stepsPerByte*len(text)
	for i := range m.runs {
		m.runs[i] = span{0, -1}
	}
}

// find returns the first match that begins at or after an offset, or -1.
func (m *machine) find(at int) (start, end int) {
	for ; at <= len(m.text); at += width(m.text, at) {
		if end := m.run(0, at, false); end >= 0 {
			return at, end
		}
	}
	return -1, -1
}

// run returns the end of the match of the program from pc at an offset, or -1. inner
// reports whether it runs a group whose matches are recorded.
func (m *machine) run(pc int32, at int, inner bool) int {
	base := len(m.stack)
	for {
		next, to, done := m.step(pc, at, inner)
		switch {
		case done && to >= 0: // a match
			if inner && m.ends != nil {
				for _, f := range m.stack[base:] {
					if f.kind == frameFails {
						*m.known(f.pc, f.at) = int32(to) + 1
					}
				}
			}
			m.stack = m.stack[:base]
			return to
		case done:
			if pc, at = m.back(base); pc < 0 {
				return -1
			}
		default:
			pc, at = next, to
		}
	}
}

// back takes the last state to go back to off the stack, down to base. pc is -1 if there is
// none.
func (m *machine) back(base int) (pc int32, at int) {
	for len(m.stack) > base {
		f := &m.stack[len(m.stack)-1]
		m.steps--
		switch f.kind {
		case frameState:
			pc, at = f.pc, f.at
			m.stack = m.stack[:len(m.stack)-1]
			return pc, at
		case frameRun:
			_, n := utf8.DecodeLastRuneInString(m.text[:f.at])
			f.at -= n
			pc, at = f.pc+1, f.at
			if f.at <= f.low {
				m.stack = m.stack[:len(m.stack)-1]
			}
			return pc, at
		case frameMore:
			in := &m.re.program[f.pc]
			n := m.re.sets[in.set].next(m.text, f.at)
			pc, at = f.pc+1, f.at+n
			f.at, f.low = at, f.low-1
			if n == 0 || f.low < 0 {
				m.stack = m.stack[:len(m.stack)-1]
				continue
			}
			if in.max < 0 && m.ends != nil { // a state of its own, which is recorded
				pc--
				m.stack = m.stack[:len(m.stack)-1]
			}
			return pc, at
		case frameFails:
			*m.known(f.pc, f.at) = -1
			m.stack = m.stack[:len(m.stack)-1]
		}
	}
	return -1, 0
}

// known returns what is recorded of the state at pc and at.
func (m *machine) known(pc int32, at int) *int32 {
	row := &m.ends[m.re.program[pc].memo]
	if *row == nil {
		*row = make([]int32, len(m.text)+1)
	}
	return &(*row)[at]
}

// recall looks the state at pc and at up, if states are recorded and it has a memo. end is
// the end of its match, or -1. If it is not known, recall prepares to record it.
func (m *machine) recall(pc int32, at int, inner bool) (end int, ok bool) {
	if m.ends == nil {
		if m.steps > 0 {
			return 0, false
		}
		m.ends = make([][]int32, m.re.memos)
	}
	switch n := *m.known(pc, at); {
	case n < 0:
		return -1, true
	case n > 0 && inner:
		return int(n) - 1, true
	}
	m.stack = append(m.stack, frame{kind: frameFails, pc: pc, at: at})
	return 0, false
}

// step runs one instruction. It returns the next state, or done with the end of the match or
// -1.
func (m *machine) step(pc int32, at int, inner bool) (next int32, to int, done bool) {
	m.steps--
	in := &m.re.program[pc]
	if in.memo >= 0 {
		if end, ok := m.recall(pc, at, inner); ok {
			return 0, end, true
		}
	}
	switch in.op {
	case opMatch:
		return 0, at, true
	case opSet:
		if n := m.re.sets[in.set].next(m.text, at); n > 0 {
			return pc + 1, at + n, false
		}
		return 0, -1, true
	case opRun:
		return m.many(pc, at)
	case opSplit:
		m.stack = append(m.stack, frame{kind: frameState, pc: in.target, at: at})
		return pc + 1, at, false
	case opJump:
		return in.target, at, false
	case opAtomic:
		if end := m.run(pc+1, at, true); end >= 0 {
			return in.target, end, false
		}
		return 0, -1, true
	case opLook:
		start := at
		for range in.back {
			_, n := utf8.DecodeLastRuneInString(m.text[:start])
			if start -= n; n == 0 {
				start = -1
				break
			}
		}
		if found := start >= 0 && m.run(pc+1, start, true) >= 0; found == in.negated {
			return 0, -1, true
		}
		return in.target, at, false
	}
	if m.holds(in.assert, at) {
		return pc + 1, at, false
	}
	return 0, -1, true
}

// many runs opRun.
func (m *machine) many(pc int32, at int) (next int32, to int, done bool) {
	in := &m.re.program[pc]
	set := m.re.sets[in.set]
	for range in.min {
		n := set.next(m.text, at)
		if n == 0 {
			return 0, -1, true
		}
		at += n
	}
	left := int(in.max - in.min)
	if in.max < 0 {
		left = len(m.text)
	}
	if in.max < 0 && in.mode == greedy && m.ends != nil { // one character at a time, so that each state is recorded
		m.stack = append(m.stack, frame{kind: frameState, pc: pc + 1, at: at})
		if n := set.next(m.text, at); n > 0 {
			return pc, at + n, false
		}
		return 0, -1, true
	}
	if in.mode == lazy {
		m.stack = append(m.stack, frame{kind: frameMore, pc: pc, at: at, low: left})
		return pc + 1, at, false
	}
	end := at
	if in.max < 0 {
		end = m.runFrom(pc, at)
	} else {
		for ; left > 0; left-- {
			n := set.next(m.text, end)
			if n == 0 {
				break
			}
			end += n
		}
	}
	if in.mode == greedy && end > at {
		m.stack = append(m.stack, frame{kind: frameRun, pc: pc, at: end, low: at})
	}
	return pc + 1, end, false
}

// runFrom returns the end of the characters of the set of opRun that begin at an offset.
func (m *machine) runFrom(pc int32, at int) int {
	if r := m.runs[pc]; r.lo <= at && at <= r.hi {
		return r.hi
	}
	set, end := m.re.sets[m.re.program[pc].set], at
	for n := set.next(m.text, end); n > 0; n = set.next(m.text, end) {
		end += n
	}
	m.steps -= (end - at) / 8
	m.runs[pc] = span{at, end}
	return end
}

func (m *machine) holds(a assertion, at int) bool {
	s := m.text
	switch a {
	case textStart:
		return at == 0
	case textEnd:
		return at == len(s)
	case lineStart:
		return at == 0 || s[at-1] == '\n' && at < len(s)
	case lineEnd:
		return at == len(s) || s[at] == '\n'
	case beforeLastLine:
		return at == len(s) || at == len(s)-1 && s[at] == '\n'
	}
	before, _ := utf8.DecodeLastRuneInString(s[:at])
	after, _ := utf8.DecodeRuneInString(s[at:])
	edge := (at > 0 && wordSet().has(before)) != (at < len(s) && wordSet().has(after))
	return edge == (a == wordEdge)
}
