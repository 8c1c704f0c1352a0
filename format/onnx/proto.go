package onnx

import (
	"encoding/binary"
	"math"
	"strconv"
)

// Types of tensors (onnx.proto, TensorProto.DataType).
type dataType int64

const (
	typeFloat    dataType = 1
	typeUint8    dataType = 2
	typeInt32    dataType = 6
	typeInt64    dataType = 7
	typeFloat16  dataType = 10
	typeBFloat16 dataType = 16
)

// Versions that the file states, those of ONNX 1.16. onnxruntime has GatherBlockQuantized for
// bytes from version 1.23 on, and all else from 1.20 on.
const (
	irVersion    = 10
	opsetVersion = 21
)

// microsoft is the domain of onnxruntime's own operators.
const microsoft = "com.microsoft"

// An attribute is a parameter of a node: an int64, a float32, a string or []int64.
type attribute struct {
	name  string
	value any
}

// encode encodes an AttributeProto.
func (a attribute) encode() (m message) {
	m.text(1, a.name)
	kind := int64(0) // AttributeProto.AttributeType
	switch v := a.value.(type) {
	case float32:
		m.float(2, v)
		kind = 1
	case int64:
		m.integer(3, v)
		kind = 2
	case string:
		m.text(4, v)
		kind = 3
	case []int64:
		m.integers(8, v)
		kind = 7
	}
	m.integer(20, kind)
	return m
}

// A graph is a GraphProto under construction. Its nodes are in an order in which they can
// run.
type graph struct {
	nodes, initializers, inputs, outputs message
	constants                            map[string]bool // names of initializers and constants so far
}

// node appends a node that computes outputs from inputs. An empty name is an optional input
// that is missing, or an output that is not needed. The domain of op is ONNX's own or
// microsoft.
func (g *graph) node(domain, op string, inputs, outputs []string, attributes ...attribute) {
	var m message
	m.texts(1, inputs)
	m.texts(2, outputs)
	m.text(3, outputs[0]+"/"+op)
	m.text(4, op)
	for _, a := range attributes {
		m.nest(5, a.encode())
	}
	if domain != "" {
		m.text(7, domain)
	}
	g.nodes.nest(1, m)
}

// op appends a node of ONNX's own domain with one output, called name, and returns name.
func (g *graph) op(name, op string, inputs []string, attributes ...attribute) string {
	g.node("", op, inputs, []string{name}, attributes...)
	return name
}

// once calls make if it is the first call with this name, for a value that several nodes
// use, and returns name.
func (g *graph) once(name string, make func()) string {
	if !g.constants[name] {
		g.constants[name] = true
		make()
	}
	return name
}

// external appends an initializer whose values are length bytes of the data file from offset
// on.
func (g *graph) external(name string, typ dataType, dims []int64, offset, length int64) {
	m := tensorProto(name, typ, dims)
	for _, entry := range [][2]string{{"location", DataFile}, {"offset", strconv.FormatInt(offset, 10)}, {"length", strconv.FormatInt(length, 10)}} {
		var e message // StringStringEntryProto
		e.text(1, entry[0])
		e.text(2, entry[1])
		m.nest(13, e)
	}
	m.integer(14, 1) // TensorProto.EXTERNAL
	g.initializers.nest(5, m)
}

func tensorProto(name string, typ dataType, dims []int64) (m message) {
	m.integers(1, dims)
	m.integer(2, int64(typ))
	m.text(8, name)
	return m
}

// vector returns the name of a constant vector of integers.
func (g *graph) vector(name string, values ...int64) string {
	return g.once(name, func() { g.inline(name, []int64{int64(len(values))}, values) })
}

// index returns the name of a constant integer without dimensions.
func (g *graph) index(name string, value int64) string {
	return g.once(name, func() { g.inline(name, nil, []int64{value}) })
}

func (g *graph) inline(name string, dims, values []int64) {
	m := tensorProto(name, typeInt64, dims)
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	m.nest(9, raw)
	g.initializers.nest(5, m)
}

// scalar returns the name of a constant number without dimensions.
func (g *graph) scalar(name string, value float64) string {
	return g.once(name, func() {
		m := tensorProto(name, typeFloat, nil)
		m.nest(9, binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(value))))
		g.initializers.nest(5, m)
	})
}

// input appends an input of the graph. Each of its dimensions is an int64 or a name.
func (g *graph) input(name string, typ dataType, dims ...any) {
	g.inputs.nest(11, valueInfo(name, typ, dims))
}

// output appends an output of the graph.
func (g *graph) output(name string, typ dataType, dims ...any) {
	g.outputs.nest(12, valueInfo(name, typ, dims))
}

// valueInfo encodes a ValueInfoProto.
func valueInfo(name string, typ dataType, dims []any) (m message) {
	var shape, tensor, of message // TensorShapeProto, TypeProto.Tensor, TypeProto
	for _, d := range dims {
		var dim message // TensorShapeProto.Dimension
		switch v := d.(type) {
		case int64:
			dim.integer(1, v)
		case string:
			dim.text(2, v)
		}
		shape.nest(1, dim)
	}
	tensor.integer(1, int64(typ))
	tensor.nest(2, shape)
	of.nest(1, tensor)
	m.text(1, name)
	m.nest(2, of)
	return m
}

// encode encodes a ModelProto that consists of g. producer is the program that wrote it, with
// its version.
func (g *graph) encode(producer, version string) []byte {
	var graph, m message
	graph = append(graph, g.nodes...)
	graph.text(2, "decoder")
	graph = append(graph, g.initializers...)
	graph = append(graph, g.inputs...)
	graph = append(graph, g.outputs...)
	m.integer(1, irVersion)
	m.text(2, producer)
	m.text(3, version)
	m.nest(7, graph)
	for _, set := range []struct {
		domain  string
		version int64
	}{{"", opsetVersion}, {microsoft, 1}} {
		var o message // OperatorSetIdProto
		o.text(1, set.domain)
		o.integer(2, set.version)
		m.nest(8, o)
	}
	return m
}
