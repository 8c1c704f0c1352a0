package onnx

import (
	"encoding/binary"
	"math"
	"strconv"
	"testing"
)

// A decoded message has the values of each field: uint64, or []byte of strings, messages and
// fixed numbers.
type decoded map[int][]any

// decode reads a message. It is written from the specification of the wire format, apart from
// the writer.
func decode(t *testing.T, b []byte) decoded {
	t.Helper()
	m := decoded{}
	varint := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			t.Fatal("a number is cut off")
		}
		b = b[n:]
		return v
	}
	take := func(n uint64) []byte {
		if n > uint64(len(b)) {
			t.Fatalf("%d bytes are missing", n-uint64(len(b)))
		}
		part := b[:n]
		b = b[n:]
		return part
	}
	for len(b) > 0 {
		key := varint()
		field := int(key >> 3)
		switch key & 7 {
		case 0:
			m[field] = append(m[field], varint())
		case 2:
			m[field] = append(m[field], take(varint()))
		case 5:
			m[field] = append(m[field], take(4))
		default:
			t.Fatalf("field %d has wire type %d", field, key&7)
		}
	}
	return m
}

func (m decoded) text(field int) string {
	if len(m[field]) == 0 {
		return ""
	}
	return string(m[field][0].([]byte))
}

func (m decoded) number(field int) int64 {
	if len(m[field]) == 0 {
		return 0
	}
	return int64(m[field][0].(uint64))
}

func (m decoded) texts(field int) (all []string) {
	for _, v := range m[field] {
		all = append(all, string(v.([]byte)))
	}
	return all
}

func (m decoded) numbers(field int) (all []int64) {
	for _, v := range m[field] {
		all = append(all, int64(v.(uint64)))
	}
	return all
}

func (m decoded) messages(t *testing.T, field int) (all []decoded) {
	for _, v := range m[field] {
		all = append(all, decode(t, v.([]byte)))
	}
	return all
}

// A readNode is a node of a file.
type readNode struct {
	domain, op      string
	inputs, outputs []string
	attributes      map[string]any // int64, float32, string or []int64
}

// A readTensor is an initializer of a file.
type readTensor struct {
	typ  dataType
	dims []int64
	data []byte
	// offset is that of data in the data file, or -1.
	offset int64
}

// A readModel is a model.onnx with its data file.
type readModel struct {
	nodes           []readNode
	initializers    map[string]readTensor
	inputs, outputs []string
}

var typeBytes = map[dataType]int64{typeFloat: 4, typeUint8: 1, typeInt64: 8, typeFloat16: 2, typeBFloat16: 2}

// readGraph reads the files of an export and checks that they are well formed: names of
// values are unique and known where they are used, and the values of initializers have the
// length of their shape.
func readGraph(t *testing.T, file, data []byte) *readModel {
	t.Helper()
	m := decode(t, file)
	versions := map[string]int64{}
	for _, o := range m.messages(t, 8) {
		versions[o.text(1)] = o.number(2)
	}
	if m.number(1) != irVersion || versions[""] != opsetVersion || versions[microsoft] != 1 || len(versions) != 2 {
		t.Errorf("version %d with operators %v", m.number(1), versions)
	}
	g := m.messages(t, 7)[0]
	r := &readModel{initializers: map[string]readTensor{}}
	known := map[string]bool{}
	add := func(name string) {
		if name == "" || known[name] {
			t.Errorf("%q is the name of two values", name)
		}
		known[name] = true
	}
	for _, x := range g.messages(t, 5) {
		name := x.text(8)
		add(name)
		r.initializers[name] = initializer(t, name, x, data)
	}
	for _, v := range g.messages(t, 11) {
		r.inputs = append(r.inputs, v.text(1))
		add(v.text(1))
	}
	for _, n := range g.messages(t, 1) {
		node := readNode{domain: n.text(7), op: n.text(4), inputs: n.texts(1), outputs: n.texts(2), attributes: map[string]any{}}
		for _, name := range node.inputs {
			if name != "" && !known[name] {
				t.Errorf("%s uses %q before it is computed", n.text(3), name)
			}
		}
		for _, name := range node.outputs {
			if name != "" {
				add(name)
			}
		}
		for _, a := range n.messages(t, 5) {
			node.attributes[a.text(1)] = attributeValue(a)
		}
		r.nodes = append(r.nodes, node)
	}
	for _, v := range g.messages(t, 12) {
		r.outputs = append(r.outputs, v.text(1))
		if !known[v.text(1)] {
			t.Errorf("the output %q is not computed", v.text(1))
		}
	}
	return r
}

func initializer(t *testing.T, name string, x decoded, data []byte) readTensor {
	t.Helper()
	v := readTensor{typ: dataType(x.number(2)), dims: x.numbers(1), offset: -1}
	if raw := x[9]; len(raw) > 0 {
		v.data = raw[0].([]byte)
	} else {
		entries := map[string]string{}
		for _, e := range x.messages(t, 13) {
			entries[e.text(1)] = e.text(2)
		}
		offset, err1 := strconv.ParseInt(entries["offset"], 10, 64)
		length, err2 := strconv.ParseInt(entries["length"], 10, 64)
		if err1 != nil || err2 != nil || entries["location"] != DataFile || x.number(14) != 1 || offset+length > int64(len(data)) {
			t.Fatalf("%s: %v in a file of %d bytes", name, entries, len(data))
		}
		if length >= page && offset%page != 0 || offset%line != 0 {
			t.Errorf("%s: %d bytes are at %d", name, length, offset)
		}
		v.offset, v.data = offset, data[offset:offset+length]
	}
	size := typeBytes[v.typ]
	for _, d := range v.dims {
		size *= d
	}
	if size != int64(len(v.data)) {
		t.Errorf("%s: shape %v of type %d has %d bytes", name, v.dims, v.typ, len(v.data))
	}
	return v
}

func attributeValue(a decoded) any {
	switch a.number(20) {
	case 1:
		return math.Float32frombits(binary.LittleEndian.Uint32(a[2][0].([]byte)))
	case 2:
		return a.number(3)
	case 3:
		return a.text(4)
	}
	return a.numbers(8)
}

// find returns the only node with this output.
func (m *readModel) find(t *testing.T, output string) *readNode {
	t.Helper()
	for i := range m.nodes {
		for _, name := range m.nodes[i].outputs {
			if name == output {
				return &m.nodes[i]
			}
		}
	}
	t.Fatalf("no node computes %q", output)
	return nil
}
