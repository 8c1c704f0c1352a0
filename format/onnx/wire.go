package onnx

import (
	"encoding/binary"
	"math"
)

// A message holds the fields of a message of protocol buffers in their wire format
// (protobuf.dev/programming-guides/encoding). Its methods append a field.
type message []byte

// Wire types.
const (
	wireVarint = 0
	wireBytes  = 2
	wireFixed4 = 5
)

func (m *message) tag(field, wire int) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|uint64(wire))
}

// integer appends an int32, int64 or enum.
func (m *message) integer(field int, v int64) {
	m.tag(field, wireVarint)
	*m = binary.AppendUvarint(*m, uint64(v))
}

func (m *message) float(field int, v float32) {
	m.tag(field, wireFixed4)
	*m = binary.LittleEndian.AppendUint32(*m, math.Float32bits(v))
}

// text appends a string.
func (m *message) text(field int, s string) {
	m.tag(field, wireBytes)
	*m = append(binary.AppendUvarint(*m, uint64(len(s))), s...)
}

// nest appends bytes or another message.
func (m *message) nest(field int, b []byte) {
	m.tag(field, wireBytes)
	*m = append(binary.AppendUvarint(*m, uint64(len(b))), b...)
}

// texts appends a string for each of all, which are the values of a repeated field.
func (m *message) texts(field int, all []string) {
	for _, s := range all {
		m.text(field, s)
	}
}

// integers appends the values of a repeated field, which ONNX does not pack.
func (m *message) integers(field int, all []int64) {
	for _, v := range all {
		m.integer(field, v)
	}
}
