package gguf

import (
	"strings"
	"testing"
)

// A list of numbers of the blocks must have one for each block.
func TestNumbersOfBlocks(t *testing.T) {
	f, m, s := &file{path: "a.gguf"}, &metadata{architecture: "apertus", xieluBelow: []float32{1, 2, 3}}, kinSpecs()["apertus"]
	if _, err := f.number(m, &m.xieluBelow, 0, &s); err == nil || !strings.Contains(err.Error(), "a.gguf: xielu.alpha_n: 3 numbers for 4 blocks") {
		t.Errorf("%v", err)
	}
	m.xieluBelow = append(m.xieluBelow, 4)
	if x, err := f.number(m, &m.xieluBelow, 3, &s); err != nil || values(x)[0] != 4 {
		t.Errorf("%v, %v", x, err)
	}
}
