package qtensor

import "testing"

func TestSameValues(t *testing.T) {
	float := &Matrix{Rows: 2, Cols: 32, Codes: make([]byte, 4*64)}
	integer, err := New(Scheme{Kind: Int, Bits: 4, Group: 32}, 2, 32)
	if err != nil {
		t.Fatal(err)
	}
	var rounder Rounder
	row := make([]float32, 32)
	for i := range row {
		row[i] = float32(i%15 - 7)
	}
	for r := range 2 {
		if err := rounder.Row(integer, r, row); err != nil {
			t.Fatal(err)
		}
		values := make([]float32, 32)
		new(Reader).Row(values, integer, r)
		if err := float.SetFloats(r, values); err != nil {
			t.Fatal(err)
		}
	}
	if !float.SameValues(integer) || !integer.SameValues(float) {
		t.Error("float32 and integers of the same values differ")
	}
	row[3]++
	if err := float.SetFloats(1, row); err != nil {
		t.Fatal(err)
	}
	if float.SameValues(integer) {
		t.Error("another value is not seen")
	}
	if float.SameValues(&Matrix{Rows: 1, Cols: 32, Codes: make([]byte, 4*32)}) {
		t.Error("another shape is not seen")
	}
}
