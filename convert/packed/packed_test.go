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

// Whatever types and shapes the tensors of a packed matrix have, it is refused in one line, or its
// rows can be read.
func FuzzUnpack(f *testing.F) {
	f.Add(uint8(0), []byte{4, 32, 1, 4, 1, 32, 0, 0}, []byte("qweight qzeros scales g_idx"), []byte{0x55, 0x38})
	f.Add(uint8(2), []byte{32, 4, 1, 4, 1, 32, 0, 0}, []byte("qweight qzeros scales"), []byte{0x77})
	f.Add(uint8(4), []byte{8, 8, 8, 1, 0, 0}, []byte("weight SCB weight_format"), []byte{1})
	f.Add(uint8(5), []byte{8, 8, 8, 1, 2, 1, 1, 1}, []byte("weight_packed weight_scale weight_shape weight_zero_point"), []byte{1, 0, 9})
	f.Add(uint8(6), []byte{8, 8, 8, 4, 8, 4}, []byte("weight scales biases"), []byte{0x12, 0x3c})
	f.Add(uint8(7), []byte{32, 1, 16, 1, 1, 1}, []byte("weight weight.absmax weight.quant_map weight.quant_state.bitsandbytes__nf4"), []byte(`{"blocksize":64,"shape":[8,8]}`))
	types := []checkpoint.DType{checkpoint.I32, checkpoint.F16, checkpoint.F32, checkpoint.U8, checkpoint.I8, checkpoint.BF16, checkpoint.I64}
	f.Fuzz(func(t *testing.T, which uint8, shapes, names, data []byte) {
		formats := []*Format{
			GPTQ(true, 32), GPTQ(false, 0), AWQ(), Int8(), LLMInt8(),
			Compressed(func(string) (int, error) { return 4, nil }), MLX(func(string) (int, int) { return 4, 32 }), Levels("nf4"), Levels("fp4"),
		}
		tensors := map[string]*checkpoint.Tensor{}
		for i, name := range strings.Fields(string(names)) {
			if 2*i+1 >= len(shapes) || i >= 8 || len(data) == 0 {
				break
			}
			x := tensor("a."+name, types[(int(which)/len(formats)+i)%len(types)], []int{int(shapes[2*i]), int(shapes[2*i+1])}, nil)
			if x.Shape[1] == 0 {
				x.Shape = x.Shape[:1]
			}
			for len(x.Data) < sizes[x.DType]*product(x.Shape) {
				x.Data = append(x.Data, data...)
			}
			x.Data = x.Data[:sizes[x.DType]*product(x.Shape)]
			tensors[x.Name] = x
		}
		u, err := formats[int(which)%len(formats)].Unpack(tensors)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("not one clean line: %q", err)
			}
			return
		}
		for _, x := range u.Tensors {
			if x.Source != nil && x.Rows() > 0 {
				x.Row(make([]byte, x.RowBytes()), x.Rows()-1)
			}
		}
	})
}

var sizes = map[checkpoint.DType]int{checkpoint.I32: 4, checkpoint.F16: 2, checkpoint.F32: 4, checkpoint.U8: 1, checkpoint.I8: 1, checkpoint.BF16: 2, checkpoint.I64: 8}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
