package pattern

import (
	"errors"
	"fmt"
)

type opcode uint8

const (
	opMatch  opcode = iota // ends the pattern, or the group of opLook or opAtomic
	opSet                  // one character of a set
	opRun                  // min to max characters of a set, max -1 for infinity
	opSplit                // first continues at the next instruction, then at target
	opJump                 // continues at target
	opLook                 // continues at target if the next instructions match, or do not
	opAtomic               // the same, and moves to the end of their match
	opAssert
)

// An instruction is one step of a program. Unless it says otherwise, the next one follows.
type instruction struct {
	op       opcode
	mode     mode // opRun
	negated  bool // opLook
	assert   assertion
	set      int32
	min, max int32
	back     int32 // opLook: characters before the position at which the group begins
	target   int32
	memo     int32 // row of failed states, or -1
}

// A compiler turns nodes into a program.
type compiler struct {
	program []instruction
	sets    map[string]int32
	list    []*set
	memos   int32
	err     error
}

func (c *compiler) fail(text string) {
	if c.err == nil {
		c.err = errors.New(text)
	}
}

// emit appends an instruction and returns its index.
func (c *compiler) emit(in instruction) int32 {
	if len(c.program) >= maxProgram {
		c.fail(fmt.Sprintf("the pattern takes more than %d instructions", maxProgram))
		return 0
	}
	in.memo = -1
	if in.op == opSplit || in.op == opLook || in.op == opAtomic || in.op == opRun && in.max < 0 {
		if in.memo = c.memos; c.memos == maxMemos {
			c.fail(fmt.Sprintf("the pattern has more than %d alternatives and repetitions", maxMemos))
		}
		c.memos++
	}
	c.program = append(c.program, in)
	return int32(len(c.program) - 1)
}

// land makes the instruction at index at continue after the last one.
func (c *compiler) land(at int32) {
	if c.err == nil {
		c.program[at].target = int32(len(c.program))
	}
}

func (c *compiler) setOf(spans []span) int32 {
	key := fmt.Sprint(spans)
	if n, ok := c.sets[key]; ok {
		return n
	}
	if len(c.list) == maxSets {
		c.fail(fmt.Sprintf("the pattern has more than %d classes", maxSets))
		return 0
	}
	n := int32(len(c.list))
	c.list, c.sets[key] = append(c.list, newSet(spans)), n
	return n
}

func (c *compiler) node(n *node) {
	if c.err != nil {
		return
	}
	switch n.kind {
	case kindSequence:
		for _, part := range n.parts {
			c.node(part)
		}
	case kindChoice:
		c.choice(n.parts)
	case kindSet:
		c.emit(instruction{op: opSet, set: c.setOf(n.spans)})
	case kindRepeat:
		c.repeat(n)
	case kindAtomic:
		c.inner(n.parts[0], instruction{op: opAtomic})
	case kindAhead:
		c.inner(n.parts[0], instruction{op: opLook, negated: n.negated})
	case kindBehind:
		c.behind(n)
	case kindAssert:
		c.emit(instruction{op: opAssert, assert: n.assert})
	}
}

func (c *compiler) choice(parts []*node) {
	var ends []int32
	for _, part := range parts[:len(parts)-1] {
		split := c.emit(instruction{op: opSplit})
		c.node(part)
		ends = append(ends, c.emit(instruction{op: opJump}))
		c.land(split)
	}
	c.node(parts[len(parts)-1])
	for _, end := range ends {
		c.land(end)
	}
}

// inner emits in, which runs part as a pattern of its own.
func (c *compiler) inner(part *node, in instruction) {
	at := c.emit(in)
	c.node(part)
	c.emit(instruction{op: opMatch})
	c.land(at)
}

// behind emits a look-behind. Its alternatives may have different lengths.
func (c *compiler) behind(n *node) {
	parts := []*node{n.parts[0]}
	if parts[0].kind == kindChoice {
		parts = parts[0].parts
	}
	looks := &node{kind: kindChoice}
	for _, part := range parts {
		length, ok := part.length()
		if !ok {
			c.fail("a look-behind without a fixed length")
			return
		}
		looks.parts = append(looks.parts, part)
		if n.negated || len(parts) == 1 { // all of them must fail
			c.inner(part, instruction{op: opLook, negated: n.negated, back: int32(length)})
		}
	}
	if n.negated || len(parts) == 1 {
		return
	}
	var ends []int32
	for i, part := range looks.parts {
		split := int32(-1)
		if i+1 < len(looks.parts) {
			split = c.emit(instruction{op: opSplit})
		}
		length, _ := part.length()
		c.inner(part, instruction{op: opLook, back: int32(length)})
		if split >= 0 {
			ends = append(ends, c.emit(instruction{op: opJump}))
			c.land(split)
		}
	}
	for _, end := range ends {
		c.land(end)
	}
}

// length returns the number of characters that n matches, if it is fixed.
func (n *node) length() (int, bool) {
	total := 0
	switch n.kind {
	case kindSet:
		return 1, true
	case kindAhead, kindBehind, kindAssert:
		return 0, true
	case kindRepeat:
		each, ok := n.parts[0].length()
		return each * n.min, ok && n.min == n.max
	case kindChoice:
		first, ok := n.parts[0].length()
		for _, part := range n.parts[1:] {
			other, fixed := part.length()
			ok = ok && fixed && other == first
		}
		return first, ok
	}
	for _, part := range n.parts {
		each, ok := part.length()
		if !ok {
			return 0, false
		}
		total += each
	}
	return total, true
}

// empty reports whether n can match nothing.
func (n *node) empty() bool {
	switch n.kind {
	case kindSet:
		return false
	case kindRepeat:
		return n.min == 0 || n.parts[0].empty()
	case kindSequence:
		for _, part := range n.parts {
			if !part.empty() {
				return false
			}
		}
		return true
	case kindChoice:
		for _, part := range n.parts {
			if part.empty() {
				return true
			}
		}
		return false
	case kindAtomic:
		return n.parts[0].empty()
	}
	return true
}

func (c *compiler) repeat(n *node) {
	body := n.parts[0]
	if body.kind == kindSequence && len(body.parts) == 1 {
		body = body.parts[0]
	}
	if body.kind == kindSet {
		c.run(instruction{op: opRun, mode: n.mode, set: c.setOf(body.spans), min: int32(n.min), max: int32(n.max)})
		return
	}
	if n.mode == possessive {
		again := *n
		again.mode = greedy
		c.inner(&again, instruction{op: opAtomic})
		return
	}
	for range n.min {
		c.node(body)
	}
	if n.max >= 0 {
		var ends []int32
		for range n.max - n.min {
			ends = append(ends, c.optional(body, n.mode)...)
		}
		for _, end := range ends {
			c.land(end)
		}
		return
	}
	if body.empty() {
		c.fail("the repetition of a group that can match nothing")
		return
	}
	top := int32(len(c.program))
	ends := c.optional(body, n.mode)
	c.emit(instruction{op: opJump, target: top})
	for _, end := range ends {
		c.land(end)
	}
}

// run emits the repetition of a set. Without an upper bound, it has no lower one either.
func (c *compiler) run(in instruction) {
	if in.max < 0 && in.min > 0 {
		least := in
		least.max, in.min = in.min, 0
		c.emit(least)
	}
	c.emit(in)
}

// optional emits body, or not. It returns the instructions that skip it.
func (c *compiler) optional(body *node, m mode) []int32 {
	split := c.emit(instruction{op: opSplit})
	if m == greedy {
		c.node(body)
		return []int32{split}
	}
	skip := c.emit(instruction{op: opJump})
	c.land(split)
	c.node(body)
	return []int32{skip}
}
