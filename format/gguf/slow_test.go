package gguf

import (
	"encoding/binary"
	"math"
	"testing"

	"thimble/internal/qtensor"
)

// A slow is a GGUF file that is read literally by its specification, one field at
// a time.
type slow struct {
	t       *testing.T
	b       []byte
	at      int
	keys    map[string]any
	tensors map[string]slowTensor
}

type slowTensor struct {
	dims []uint64
	kind uint32
	data []byte
}

func (s *slow) u32() uint32 { s.at += 4; return binary.LittleEndian.Uint32(s.b[s.at-4:]) }
func (s *slow) u64() uint64 { s.at += 8; return binary.LittleEndian.Uint64(s.b[s.at-8:]) }
func (s *slow) str() string { n := int(s.u64()); s.at += n; return string(s.b[s.at-n : s.at]) }

func (s *slow) value(kind uint32) any {
	switch kind {
	case 4:
		return s.u32()
	case 5:
		return int32(s.u32())
	case 6:
		return math.Float32frombits(s.u32())
	case 7:
		s.at++
		return s.b[s.at-1] == 1
	case 8:
		return s.str()
	case 9:
		kind, n := s.u32(), s.u64()
		list := []any{}
		for range n {
			list = append(list, s.value(kind))
		}
		return list
	case 10:
		return s.u64()
	}
	s.t.Fatalf("value of type %d", kind)
	return nil
}

func parse(t *testing.T, b []byte) *slow {
	t.Helper()
	s := &slow{t: t, b: b, keys: map[string]any{}, tensors: map[string]slowTensor{}}
	if string(b[:4]) != "GGUF" {
		t.Fatal("no magic")
	}
	s.at = 4
	if v := s.u32(); v != 3 {
		t.Fatalf("version %d", v)
	}
	tensors, keys := s.u64(), s.u64()
	for range keys {
		name := s.str()
		s.keys[name] = s.value(s.u32())
	}
	offsets := map[string]uint64{}
	next := uint64(0)
	for range tensors {
		name := s.str()
		var x slowTensor
		values := uint64(1)
		for range s.u32() {
			x.dims = append(x.dims, s.u64())
			values *= x.dims[len(x.dims)-1]
		}
		x.kind = s.u32()
		size := values * map[uint32]uint64{0: 128, 1: 64, 30: 64, 2: 18, 3: 20, 6: 22, 7: 24, 8: 34}[x.kind] / 32
		offsets[name] = s.u64()
		if offsets[name] != next {
			t.Fatalf("%s is at %d, want %d", name, offsets[name], next)
		}
		next = (next + size + 31) / 32 * 32
		x.data = make([]byte, size)
		s.tensors[name] = x
	}
	begin := uint64(s.at+31) / 32 * 32
	if begin+next != uint64(len(b)) {
		t.Fatalf("the file has %d bytes, its tensors end at %d", len(b), begin+next)
	}
	for name, x := range s.tensors {
		copy(x.data, b[begin+offsets[name]:])
	}
	return s
}

// values dequantizes as ggml-quants.c does, one weight at a time.
func (x slowTensor) values() []float32 {
	n := uint64(1)
	for _, d := range x.dims {
		n *= d
	}
	out := make([]float32, n)
	half := func(b []byte) float32 { return qtensor.FromFloat16(binary.LittleEndian.Uint16(b)) }
	for i := range out {
		b := x.data
		j := i % 32
		nibble := func(qs []byte) float32 { return float32(qs[j%16] >> (j / 16 * 4) & 15) }
		fifth := func(qh []byte) float32 { return float32(binary.LittleEndian.Uint32(qh)>>j&1) * 16 }
		switch x.kind {
		case 0:
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		case 1:
			out[i] = half(b[2*i:])
		case 30:
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
		case 2:
			b = b[i/32*18:]
			out[i] = half(b) * (nibble(b[2:]) - 8)
		case 3:
			b = b[i/32*20:]
			out[i] = float32(half(b)*nibble(b[4:])) + half(b[2:])
		case 6:
			b = b[i/32*22:]
			out[i] = half(b) * (nibble(b[6:]) + fifth(b[2:]) - 16)
		case 7:
			b = b[i/32*24:]
			out[i] = float32(half(b)*(nibble(b[8:])+fifth(b[4:]))) + half(b[2:])
		case 8:
			b = b[i/32*34:]
			out[i] = half(b) * float32(int8(b[2+j]))
		}
	}
	return out
}
