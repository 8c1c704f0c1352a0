package qtensor

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// slowRound rounds x by the documentation of Rounder. It uses float64 where the
// result is exact in either type.
func slowRound(s Scheme, x []float32) []float32 {
	out := make([]float32, len(x))
	for g := range s.Groups(len(x)) {
		lo, hi := s.Span(g, len(x))
		first, last := s.Codes()
		minimum, step := float32(0), float32(0)
		if s.Asym {
			low, high := x[lo], x[lo]
			for _, v := range x[lo:hi] {
				low, high = min(low, v), max(high, v)
			}
			minimum = half(low)
			step = half((high - minimum) / float32(last))
		} else {
			first, last = first-s.Zero(), last-s.Zero()
			most := float32(0)
			for _, v := range x[lo:hi] {
				if math.Abs(float64(v)) > math.Abs(float64(most)) {
					most = v
				}
			}
			step = half(most / float32(first))
		}
		for i, v := range x[lo:hi] {
			code := 0.0
			if step != 0 {
				code = math.RoundToEven(float64((v - minimum) * (1 / step)))
			}
			code = min(max(code, float64(first)), float64(last))
			out[lo+i] = float32(float64(step)*code) + minimum
		}
	}
	return out
}

func half(x float32) float32 {
	bits, _ := ToFloat16(x)
	return FromFloat16(bits)
}

func TestRounder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var rounder Rounder
	var reader Reader
	for range 2000 {
		s := Scheme{Kind: Int, Bits: 2 + r.IntN(7), Group: []int{0, 8, 32, 64}[r.IntN(4)], Asym: r.IntN(2) == 1}
		x := make([]float32, 1+r.IntN(100))
		for i := range x {
			x[i] = float32(r.NormFloat64() * math.Ldexp(1, r.IntN(30)-24))
			if r.IntN(9) == 0 {
				x[i] = 0
			}
		}
		m, err := New(s, 2, len(x))
		if err != nil {
			t.Fatal(err)
		}
		if err := rounder.Row(m, 1, x); err != nil {
			t.Fatal(err)
		}
		got, want := make([]float32, len(x)), slowRound(s, x)
		reader.Row(got, m, 1)
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%v: column %d of %v is %g, want %g", s, i, x, got[i], want[i])
			}
		}
		if low, _ := s.Codes(); low > 0 {
			codes, _, _ := reader.Codes(m, 1)
			for i, c := range codes {
				if c == 0 {
					t.Fatalf("%v: column %d has code 0, which this scheme does not use", s, i)
				}
			}
		}
	}
}

// An error names the value that cannot be stored, and zeros stay zeros.
func TestRounderRange(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	var rounder Rounder
	for _, c := range []struct {
		scheme string
		x      []float32
		err    string
	}{
		{"int8/row", []float32{1, 1e7}, "column 1: 1e+07 does not fit int8/row"},
		{"int8/g8", []float32{1, 2, nan}, "column 2: NaN"},
		{"int4/row/asym", []float32{1, inf, nan}, "column 1: +Inf"},
		{"int4/row/asym", []float32{1, -1e6}, "column 1: -1e+06"},
		{"int4/row/asym", []float32{1, 1e7}, "column 1: 1e+07"},
		{"f16", []float32{1, 1e6}, "column 1: 1e+06"},
		{"int8/row", []float32{1, 8e6}, ""},
		{"int8/row", make([]float32, 5), ""},
		{"int4/row/asym", make([]float32, 5), ""},
		{"int3/row", []float32{1e-9, -1e-9}, ""},
	} {
		s, err := ParseScheme(c.scheme)
		if err != nil {
			t.Fatal(err)
		}
		m, err := New(s, 1, len(c.x))
		if err != nil {
			t.Fatal(err)
		}
		switch err := rounder.Row(m, 0, c.x); {
		case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s of %v: %v, want %q", c.scheme, c.x, err, c.err)
		case err == nil && c.x[0] < 1e-3:
			got := make([]float32, len(c.x))
			new(Reader).Row(got, m, 0)
			for i, v := range got {
				if v != 0 {
					t.Errorf("%s of %v: column %d is %g", c.scheme, c.x, i, v)
				}
			}
		}
	}
}
