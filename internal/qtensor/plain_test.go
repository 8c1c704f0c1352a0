package qtensor

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// A matrixRows is a Source of another matrix's rows, in the opposite order.
type matrixRows struct{ *Matrix }

func (s matrixRows) Row(dst []byte, r int) { copy(dst, s.planeRow(s.Codes, s.Rows-1-r)) }
func (s matrixRows) Release()              {}

// A plain copy has the codes, factors and values of what it was made from, to the bit: of every
// layout, and of rows that a Source makes.
func TestPlainCopy(t *testing.T) {
	ms, _ := ggmlBlocks(t)
	for _, m := range slices.Clone(ms) {
		reversed := *m
		reversed.Source, reversed.Codes = matrixRows{m}, nil
		ms = append(ms, &reversed)
	}
	for _, scheme := range []string{"int4/g32", "int4/g32/nl", "int5/g16/asym", "int5/g16/s4", "bf16", "f32"} {
		s, err := ParseScheme(scheme)
		if err != nil {
			t.Fatal(err)
		}
		m, err := New(s, 3, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, plane := range m.Planes() {
			for i := range plane {
				plane[i] = byte(i*37) & 0x3b // no NaN
			}
		}
		turned := *m
		turned.Source, turned.Codes = matrixRows{m}, nil
		if ms = append(ms, &turned); s.Uneven {
			ms = append(ms, m)
		}
	}
	for _, m := range ms {
		c := m.PlainCopy()
		if m.Plain() || !c.Plain() {
			t.Errorf("%v: plain is %v, of the copy %v", m.Scheme, m.Plain(), c.Plain())
		}
		if got := int64(len(c.Codes) + 4*len(c.Scales32) + 4*len(c.Mins32)); m.Scheme.Kind == Foreign && c.Scales32 != nil && got != m.PlainBytes() {
			t.Errorf("%v: the copy takes %d bytes, PlainBytes says %d", m.Scheme, got, m.PlainBytes())
		}
		var a, b Reader
		for r := range m.Rows {
			b.CopyPlain(c, m, r)
		}
		want, got := make([]float32, m.Cols), make([]float32, m.Cols)
		for r := range m.Rows {
			a.Row(want, m, r)
			b.Row(got, c, r)
			if !sameBits(got, want) {
				t.Fatalf("%v: values of row %d differ", m.Scheme, r)
			}
			if m.Scheme.Float() {
				continue
			}
			codes, scale, offset := a.Integers(m, r)
			codes2, scale2, offset2 := b.Integers(c, r)
			if !bytes.Equal(codes, codes2) || !sameBits(scale, scale2) || !sameBits(offset, offset2) {
				t.Fatalf("%v: codes or factors of row %d differ", m.Scheme, r)
			}
		}
	}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}
