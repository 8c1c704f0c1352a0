package packed

import (
	"encoding/binary"
	"strings"
	"testing"

	"thimble/internal/checkpoint"
	"thimble/internal/qtensor"
)

func tensor(name string, dtype checkpoint.DType, shape []int, data []byte) *checkpoint.Tensor {
	return &checkpoint.Tensor{Name: name, File: "f", DType: dtype, Shape: shape, Data: data}
}

// small returns a matrix (32, 32) of GPTQ in 4 bits: every code is 5, every scale 0.5.
func small(stored byte) map[string]*checkpoint.Tensor {
	fill := func(n int, b byte) []byte { return []byte(strings.Repeat(string([]byte{b}), n)) }
	scales := make([]byte, 0, 64)
	for range 32 {
		scales = binary.LittleEndian.AppendUint16(scales, 0x3800)
	}
	out := map[string]*checkpoint.Tensor{}
	for _, t := range []*checkpoint.Tensor{
		tensor("a.qweight", checkpoint.I32, []int{4, 32}, fill(4*4*32, 0x55)),
		tensor("a.qzeros", checkpoint.I32, []int{1, 4}, fill(16, stored)),
		tensor("a.scales", checkpoint.F16, []int{1, 32}, scales),
		tensor("a.bias", checkpoint.F16, []int{32}, scales),
	} {
		out[t.Name] = t
	}
	return out
}

// The two conventions of zero points, and the schemes that hold them.
func TestZeroPoints(t *testing.T) {
	for _, c := range []struct {
		stored byte
		less   bool
		scheme string
		value  float32
	}{
		{0x77, true, "int4/row/sym", -1.5}, {0x88, false, "int4/row/sym", -1.5}, {0x88, true, "int4/row/asym", -2}, {0x33, false, "int4/row/asym", 1},
	} {
		u, err := GPTQ(c.less, 32).Unpack(small(c.stored))
		if err != nil {
			t.Fatal(err)
		}
		x := u.Tensors["a.weight"]
		m := u.Kept[x]
		if x == nil || m == nil || m.Scheme.String() != c.scheme || len(u.Tensors) != 2 {
			t.Fatalf("%x: %v, kept %v; %q", c.stored, x, m, u.Notes)
		}
		row := make([]float32, 32)
		new(qtensor.Reader).Row(row, m, 3)
		if row[31] != c.value {
			t.Errorf("%x, less %v: value %v, want %v", c.stored, c.less, row[31], c.value)
		}
	}
}

// A damaged file is an error in one line that names the tensor.
func TestDamaged(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(m map[string]*checkpoint.Tensor)
		want   string
	}{
		{"no scales", func(m map[string]*checkpoint.Tensor) { delete(m, "a.scales") }, "a.scales: tensor is missing, which a matrix of gptq requires"},
		{"floats for words", func(m map[string]*checkpoint.Tensor) { m["a.qweight"].DType = checkpoint.F32 }, "a.qweight: is F32 [4 32], a matrix of gptq requires"},
		{"a row too few", func(m map[string]*checkpoint.Tensor) {
			m["a.scales"] = tensor("a.scales", checkpoint.F16, []int{1, 31}, make([]byte, 62))
		}, "a.qzeros: shape is [1 4], the other tensors"},
		{"other zero points", func(m map[string]*checkpoint.Tensor) { m["a.qzeros"].Shape = []int{4, 1} }, "a.qzeros: shape is [4 1]"},
		{"a group of none", func(m map[string]*checkpoint.Tensor) {
			m["a.g_idx"] = tensor("a.g_idx", checkpoint.I32, []int{32}, append([]byte{9}, make([]byte, 127)...))
		}, "a.g_idx: column 0 is in group 9 of 1"},
		{"groups of other columns", func(m map[string]*checkpoint.Tensor) {
			m["a.g_idx"] = tensor("a.g_idx", checkpoint.I32, []int{8}, make([]byte, 32))
		}, "a.g_idx: shape is [8]"},
		{"three dimensions", func(m map[string]*checkpoint.Tensor) { m["a.qweight"].Shape = []int{2, 2, 32} }, "a.qweight: is I32 [2 2 32]"},
	} {
		m := small(0x77)
		c.damage(m)
		if _, err := GPTQ(true, 32).Unpack(m); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

// Columns in groups out of order are decoded.
func TestActOrder(t *testing.T) {
	m := small(0x77)
	m["a.qzeros"] = tensor("a.qzeros", checkpoint.I32, []int{2, 4}, []byte(strings.Repeat("\x77", 32)))
	m["a.scales"] = tensor("a.scales", checkpoint.F16, []int{2, 32}, append(append([]byte{}, m["a.scales"].Data...), []byte(strings.Repeat("\x00\x3c", 32))...))
	index := make([]byte, 128)
	for c := range 32 {
		index[4*c] = byte(c % 2)
	}
	m["a.g_idx"] = tensor("a.g_idx", checkpoint.I32, []int{32}, index)
	u, err := GPTQ(true, 16).Unpack(m)
	if err != nil {
		t.Fatal(err)
	}
	x := u.Tensors["a.weight"]
	row := x.Row(make([]byte, 128), 0)
	if len(u.Kept) > 0 || binary.LittleEndian.Uint32(row) != 0xbfc00000 || binary.LittleEndian.Uint32(row[4:]) != 0xc0400000 {
		t.Errorf("kept %v, row % x; %q", u.Kept, row[:8], u.Notes)
	}
	if len(u.Notes) != 1 || !strings.Contains(u.Notes[0], "1 matrix of gptq: decoded to float32, because its columns are in groups out of order") {
		t.Errorf("notes %q", u.Notes)
	}
}
