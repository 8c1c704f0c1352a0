package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"thimble/internal/defect"
)

// A pickle is a program for a small stack machine. Python's machine calls any function
// that the program names. This one is restricted: it only builds values, accepts only the
// names in the table globals, and never executes code.
//
// The values are nil, bool, int64, float64, string, tuple, *list, *dict, global, *storage
// and *view. torch.save writes protocol 2.
// https://github.com/python/cpython/blob/main/Lib/pickletools.py
const (
	maxPickle = 64 << 20 // bytes
	maxOps    = 4 << 20
	maxStack  = 1 << 20
	maxMemo   = 1 << 20 // values; the largest checkpoints have a few for each tensor
	maxLine   = 256     // bytes of a name
)

// limits bound what a pickle takes: its bytes, operations, and values on the stack and in the memo.
type limits struct{ bytes, ops, stack, memo int }

var pickleLimits = limits{maxPickle, maxOps, maxStack, maxMemo}

// A machine runs one pickle.
type machine struct {
	file  string
	b     []byte // the contents that contain the pickle; offsets in errors count from its start
	at    int    // offset of the next byte in b
	op    int    // offset of the current opcode
	stack []any
	marks []int // lengths of the stack
	memo  map[uint32]any
	most  limits

	// storage returns the storage with a persistent id.
	storage func(id tuple) (*storage, error)
}

func (m *machine) corrupt(format string, args ...any) error {
	return &defect.CorruptError{File: m.file, Off: int64(m.op), Field: "pickle", Why: fmt.Sprintf(format, args...)}
}

func (m *machine) unsupported(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	return fmt.Errorf("%s: byte %d: %w; load it with torch and save only the state dict", defect.Printable(m.file), m.op, defect.Unsupported("pickle", "%s", what))
}

// take returns the next n bytes.
func (m *machine) take(n uint64) ([]byte, error) {
	if left := len(m.b) - m.at; n > uint64(left) {
		return nil, m.corrupt("needs %d bytes, %d are left: it is truncated; copy or download it again", n, left)
	}
	b := m.b[m.at:][:n]
	m.at += int(n)
	return b, nil
}

// run runs the pickle up to its STOP and returns the only value on the stack.
func (m *machine) run() (any, error) {
	m.memo = map[uint32]any{}
	start := m.at
	for ops := 0; ; ops++ {
		m.op = m.at
		code, err := m.take(1)
		switch {
		case err != nil:
			return nil, err
		case ops == m.most.ops:
			return nil, m.corrupt("more than %d operations", m.most.ops)
		case m.at-start > m.most.bytes:
			return nil, m.corrupt("longer than %d bytes", m.most.bytes)
		case code[0] == '.':
			if len(m.stack) != 1 || len(m.marks) != 0 {
				return nil, m.corrupt("stops with %d values, want 1", len(m.stack))
			}
			return m.stack[0], nil
		}
		if err := m.step(code[0]); err != nil {
			return nil, err
		}
		if len(m.stack) > m.most.stack || len(m.marks) > m.most.stack {
			return nil, m.corrupt("more than %d values on the stack", m.most.stack)
		}
	}
}

// step runs one operation other than STOP.
func (m *machine) step(code byte) error {
	if width, ok := operandBytes[code]; ok {
		b, err := m.take(uint64(width))
		if err != nil {
			return err
		}
		var operand [8]byte
		copy(operand[:], b)
		return m.stepOperand(code, binary.LittleEndian.Uint64(operand[:]))
	}
	switch code {
	case '(':
		m.marks = append(m.marks, len(m.stack))
	case 'c':
		return m.global()
	case ')':
		m.push(tuple{})
	case ']':
		m.push(&list{})
	case '}':
		m.push(newDict())
	case 'N':
		m.push(nil)
	case '\x88', '\x89':
		m.push(code == '\x88')
	case '\x85', '\x86', '\x87': // TUPLE1, TUPLE2, TUPLE3
		return m.tuple(int(code - '\x84'))
	case 't', 'e', 'u': // TUPLE, APPENDS, SETITEMS
		n, err := m.sinceMark()
		switch {
		case err != nil:
			return err
		case code == 't':
			return m.tuple(n)
		case code == 'e':
			return m.appends(n)
		}
		return m.setItems(n)
	case 'a': // APPEND
		return m.appends(1)
	case 's': // SETITEM
		return m.setItems(2)
	case 'Q': // BINPERSID
		return m.persistent()
	case 'R': // REDUCE
		return m.reduce()
	case 'b': // BUILD
		return m.build()
	default:
		return m.unsupported("opcode %#02x", code)
	}
	return nil
}

// operandBytes is the width in bytes of the little-endian number that follows an opcode.
var operandBytes = map[byte]int{
	'\x80': 1,                 // PROTO
	'K':    1, 'M': 2, 'J': 4, // BININT1, BININT2, BININT
	'\x8a': 1,         // LONG1
	'G':    8,         // BINFLOAT
	'X':    4, 'U': 1, // BINUNICODE, SHORT_BINSTRING
	'q': 1, 'r': 4, // BINPUT, LONG_BINPUT
	'h': 1, 'j': 4, // BINGET, LONG_BINGET
}

// stepOperand runs an operation whose opcode is followed by the number n.
func (m *machine) stepOperand(code byte, n uint64) error {
	switch code {
	case '\x80':
		if n != 2 {
			return m.unsupported("protocol %d (want 2)", n)
		}
	case 'K', 'M':
		m.push(int64(n))
	case 'J':
		m.push(int64(int32(n)))
	case '\x8a':
		b, err := m.take(n)
		switch {
		case err != nil:
			return err
		case n > 8:
			return m.corrupt("integer of %d bytes, want at most 8", n)
		}
		x := int64(0)
		for i, c := range b {
			x |= int64(c) << (8 * i)
		}
		if unused := 64 - 8*n; n > 0 {
			x = x << unused >> unused
		}
		m.push(x)
	case 'G':
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], n)
		m.push(math.Float64frombits(binary.BigEndian.Uint64(b[:])))
	case 'X', 'U':
		b, err := m.take(n)
		if err != nil {
			return err
		}
		if !utf8.Valid(b) {
			return m.corrupt("string is not UTF-8")
		}
		m.push(string(b))
	case 'q', 'r':
		v, err := m.pop()
		if err != nil {
			return err
		}
		m.push(v)
		m.memo[uint32(n)] = v
		if len(m.memo) > m.most.memo {
			return m.corrupt("more than %d values in the memo", m.most.memo)
		}
	case 'h', 'j':
		v, ok := m.memo[uint32(n)]
		if !ok {
			return m.corrupt("reads memo %d, which was not written", n)
		}
		m.push(v)
	}
	return nil
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

// floor returns the number of values below the last mark. No operation may take them.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) pop() (any, error) {
	top := len(m.stack) - 1
	if top < m.floor() {
		return nil, m.corrupt("the stack is empty")
	}
	v := m.stack[top]
	m.stack = m.stack[:top]
	return v, nil
}

// popN removes and returns the last n values. The next push overwrites them.
func (m *machine) popN(n int) ([]any, error) {
	from := len(m.stack) - n
	if from < m.floor() {
		return nil, m.corrupt("the stack has %d values, want %d", len(m.stack)-m.floor(), n)
	}
	v := m.stack[from:]
	m.stack = m.stack[:from]
	return v, nil
}

// sinceMark removes the last mark and returns the number of values above it.
func (m *machine) sinceMark() (int, error) {
	if len(m.marks) == 0 {
		return 0, m.corrupt("no mark")
	}
	n := len(m.stack) - m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	return n, nil
}

func (m *machine) tuple(n int) error {
	v, err := m.popN(n)
	if err == nil {
		m.push(append(tuple(nil), v...))
	}
	return err
}

func (m *machine) appends(n int) error {
	v, err := m.popN(n)
	if err != nil {
		return err
	}
	target, err := m.pop()
	if err != nil {
		return err
	}
	l, ok := target.(*list)
	if !ok {
		return m.corrupt("appends to %s", kindOf(target))
	}
	l.items = append(l.items, v...)
	m.push(l)
	return nil
}

func (m *machine) setItems(n int) error {
	v, err := m.popN(n)
	if err != nil {
		return err
	}
	target, err := m.pop()
	if err != nil {
		return err
	}
	d, ok := target.(*dict)
	if !ok || n%2 != 0 {
		return m.corrupt("sets %d keys and values in %s", n, kindOf(target))
	}
	for i := 0; i < n; i += 2 {
		switch v[i].(type) {
		case string, int64:
		default:
			return m.unsupported("%s as a key", kindOf(v[i]))
		}
		if _, exists := d.values[v[i]]; !exists {
			d.keys = append(d.keys, v[i])
		}
		d.values[v[i]] = v[i+1]
	}
	m.push(d)
	return nil
}

// global reads the two lines of a name, module and object. It looks up the pair and not
// the text joined with a dot, which could be split in more than one way.
func (m *machine) global() error {
	var line [2]string
	for i := range line {
		rest := m.b[m.at:]
		n := bytes.IndexByte(rest[:min(len(rest), maxLine+1)], '\n')
		switch {
		case n < 0 && len(rest) <= maxLine:
			return m.corrupt("the name has no end: it is truncated; copy or download it again")
		case n < 0:
			return m.corrupt("name of more than %d bytes", maxLine)
		}
		line[i] = string(rest[:n])
		m.at += n + 1
	}
	g := global{line[0], line[1]}
	if _, ok := globals[g]; !ok {
		return m.unsupported("the Python object %.128q of module %.128q", g.name, g.module)
	}
	m.push(g)
	return nil
}

func (m *machine) persistent() error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	id, ok := v.(tuple)
	if !ok || m.storage == nil {
		return m.corrupt("persistent id is %s, want a tuple that identifies a storage", kindOf(v))
	}
	s, err := m.storage(id)
	if err == nil {
		m.push(s)
	}
	return err
}

// reduce replaces a function and its arguments with the value that construct returns.
func (m *machine) reduce() error {
	v, err := m.popN(2)
	if err != nil {
		return err
	}
	g, isGlobal := v[0].(global)
	args, isTuple := v[1].(tuple)
	if !isGlobal || !isTuple {
		return m.corrupt("calls %s with %s", kindOf(v[0]), kindOf(v[1]))
	}
	value, err := m.construct(g, args)
	if err == nil {
		m.push(value)
	}
	return err
}

// build discards the attributes of an OrderedDict. In a state dict they are the versions
// of the modules.
func (m *machine) build() error {
	v, err := m.popN(2)
	if err != nil {
		return err
	}
	d, ok := v[0].(*dict)
	if _, ok2 := v[1].(*dict); !ok || !ok2 {
		return m.unsupported("setting the state of %s to %s", kindOf(v[0]), kindOf(v[1]))
	}
	m.push(d)
	return nil
}
