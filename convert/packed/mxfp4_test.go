package packed

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"thimble/internal/checkpoint"
)

// experts returns a matrix of one expert, (2, 64): in the first row, group g has the codes 0 to 15
// twice, and scales are 2 and 1/4.
func experts() map[string]*checkpoint.Tensor {
	blocks := tensor("a_blocks", checkpoint.U8, []int{1, 2, 2, 16}, make([]byte, 64))
	for i := range 32 {
		blocks.Data[i] = byte(2*i%16) | byte((2*i+1)%16)<<4
	}
	return map[string]*checkpoint.Tensor{"a_blocks": blocks, "a_scales": tensor("a_scales", checkpoint.U8, []int{1, 2, 2}, []byte{128, 125, 127, 127})}
}

func TestMXFP4(t *testing.T) {
	u, err := MXFP4().Unpack(experts())
	if err != nil {
		t.Fatal(err)
	}
	x := u.Tensors["a_rows"]
	if x == nil || len(u.Tensors) != 1 || x.Rows() != 2 || x.RowBytes() != 128 {
		t.Fatalf("%v, %q", u.Tensors, u.Notes)
	}
	row := x.Row(make([]byte, 128), 0)
	levels := []float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1)), -0.5, -1, -1.5, -2, -3, -4, -6}
	for i := range 64 {
		want := math.Float32bits(levels[i%16] * []float32{2, 0.25}[i/32])
		if got := uint32(binary.LittleEndian.Uint16(row[2*i:])) << 16; got != want {
			t.Errorf("column %d is %g, want %g", i, math.Float32frombits(got), math.Float32frombits(want))
		}
	}
	for want, damage := range map[string]func(m map[string]*checkpoint.Tensor){
		"a_scales: tensor is missing, which a matrix of mxfp4 requires": func(m map[string]*checkpoint.Tensor) { delete(m, "a_scales") },
		"a_blocks: is I8 [1 2 2 16], mxfp4 requires U8":                 func(m map[string]*checkpoint.Tensor) { m["a_blocks"].DType = checkpoint.I8 },
		"a_blocks: is U8 [2 2 16], mxfp4 requires U8":                   func(m map[string]*checkpoint.Tensor) { m["a_blocks"].Shape = []int{2, 2, 16} },
		"a_scales: is U8 [1 4], a_blocks requires U8 [1 2 2]":           func(m map[string]*checkpoint.Tensor) { m["a_scales"].Shape = []int{1, 4} },
	} {
		m := experts()
		damage(m)
		if _, err := MXFP4().Unpack(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
