package quantize

import (
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A note counts tensors that are rounded twice: not codes that are moved, nor values
// that are stored as floats.
func TestPlanNotes(t *testing.T) {
	int4, int8 := qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32}, qtensor.Scheme{Kind: qtensor.Int, Bits: 8, Group: 32}
	half := qtensor.Scheme{Kind: qtensor.F16}
	entry := func(from, to qtensor.Scheme) Entry { return Entry{model.Slot{}, from, to, 0} }
	kept := []Entry{entry(half, int4), entry(qtensor.Q4_0.Foreign(), int4), entry(qtensor.Q4_K.Foreign(), half), entry(int8, int8)}
	if notes := (&Plan{Tensors: kept}).Notes(); len(notes) > 0 {
		t.Errorf("notes are %q", notes)
	}
	twice := append(kept, entry(qtensor.Q4_K.Foreign(), int8), entry(qtensor.Q5_0.Foreign(), int4), entry(qtensor.Q4_K.Foreign(), int8))
	if notes := (&Plan{Tensors: twice}).Notes(); len(notes) != 1 || !strings.HasPrefix(notes[0], "3 tensors are already quantized (Q4_K, Q5_0), so ") {
		t.Errorf("notes are %q", notes)
	}
}
