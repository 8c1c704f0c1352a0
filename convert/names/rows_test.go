package names

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"

	"thimble/internal/checkpoint"
)

// Every 8-bit float has the value that torch gives it.
func TestEightBitValues(t *testing.T) {
	c, err := checkpoint.Open(filepath.Join("..", "..", "fixtures", "layouts", "eight-bit-values.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, got := range map[string]*[256]float32{"torch.float8_e4m3fn": e4m3, "torch.float8_e5m2": e5m2} {
		want := c.Tensors[name+" as float32"].Data
		for i, code := range c.Tensors[name].Data {
			x := math.Float32frombits(binary.LittleEndian.Uint32(want[4*i:]))
			if y := got[code]; x != y && (x == x || y == y) || math.Signbit(float64(x)) != math.Signbit(float64(y)) && x == x {
				t.Errorf("%s: %#02x is %v, want %v", name, code, y, x)
			}
		}
	}
}
