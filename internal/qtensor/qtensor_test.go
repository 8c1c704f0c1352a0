package qtensor

import (
	"fmt"
	"math"
	"testing"

	"thimble/internal/kernel"

	"pgregory.net/rapid"
)

func TestParseScheme(t *testing.T) {
	for text, want := range map[string]Scheme{
		"f32": {Kind: F32}, "f16": {Kind: F16}, "bf16": {Kind: BF16},
		"int4/g32":        {Kind: Int, Bits: 4, Group: 32},
		"int4/g32/sym":    {Kind: Int, Bits: 4, Group: 32},
		"int8/row":        {Kind: Int, Bits: 8},
		"int5/g64/asym":   {Kind: Int, Bits: 5, Group: 64, Asym: true},
		"int2/g65536/sym": {Kind: Int, Bits: 2, Group: 65536},
		"int5/g16/s4":     {Kind: Int, Bits: 5, Group: 16, Short: true},
		"int4/g32/nl":     {Kind: Int, Bits: 4, Group: 32, Uneven: true},
		"int4/row/nl":     {Kind: Int, Bits: 4, Uneven: true},
	} {
		got, err := ParseScheme(text)
		if err != nil || got != want {
			t.Errorf("ParseScheme(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		if again, err := ParseScheme(got.String()); err != nil || again != got {
			t.Errorf("%q: ParseScheme(%q) = %+v, %v", text, got.String(), again, err)
		}
	}
	for _, text := range []string{
		"", "int4", "int4/", "int4/32", "int4/g0", "int4/g-32", "int4/g33", "int1/g32", "int9/g32", "int4/g32/x",
		"int4/g32/sym/asym", "INT4/g32", "f64", "int/g32", "int4/g999999999", "int4/g65544", "int4 /g32",
		"int4/row/s4", "int4/g32/asym/s4", "int4/g32/s8", "int3/g32/nl", "int8/g32/nl", "int4/row/nl@3",
	} {
		if got, err := ParseScheme(text); err == nil {
			t.Errorf("ParseScheme(%q) = %v, want an error", text, got)
		}
	}
}

func TestBitsPerWeight(t *testing.T) {
	for _, c := range []struct {
		scheme string
		cols   int
		want   float64
	}{
		{"int4/g32", 576, 4.5}, {"int4/g32/asym", 576, 5}, {"int8/g32", 576, 8.5}, {"int5/g32", 960, 5.5},
		{"int8/row", 576, 8 + 16.0/576}, {"bf16", 7, 16}, {"f32", 7, 32},
		{"int5/g16/s4", 576, 5 + 8*20.0/576}, {"int5/g16/s4", 40, 8 * (25 + 4.0) / 40}, // 36 and 3 groups
		{"int4/g64", 72, 8 * (36 + 4.0) / 72}, // a group of 64 and a ragged one of 8
	} {
		s, err := ParseScheme(c.scheme)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.BitsPerWeight(c.cols); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s, %d columns: %v bits per weight, want %v", c.scheme, c.cols, got, c.want)
		}
	}
}

// slowRow dequantizes a row by the documented definition, one bit at a time.
func slowRow(m *Matrix, r int) []float32 {
	s := m.Scheme
	rowBits, plane := m.Codes[r*s.rowBytes(m.Cols):], 0
	codes := make([]int, m.Cols)
	low := 0
	for _, width := range kernel.Planes(s.Bits) {
		for c := range codes {
			for b := range width {
				at := c*width + b
				codes[c] |= int(rowBits[plane+at/8]>>(at%8)&1) << (low + b)
			}
		}
		plane += (m.Cols*width + 7) / 8
		low += width
	}
	x := make([]float32, m.Cols)
	for c := range x {
		g := 0
		if s.Group > 0 {
			g = c / s.Group
		}
		half := func(plane []byte) float64 {
			at := 2 * (r*s.Groups(m.Cols) + g)
			return float64(FromFloat16(uint16(plane[at]) | uint16(plane[at+1])<<8))
		}
		if s.Short {
			row := m.Scales[r*len(m.Scales)/m.Rows:][:len(m.Scales)/m.Rows]
			factor := float64(FromFloat16(uint16(row[len(row)-2]) | uint16(row[len(row)-1])<<8))
			x[c] = float32(factor * float64(s.ShortLevels()[row[g/2]>>(g%2*4)&15]) * float64(codes[c]-1<<(s.Bits-1)))
			continue
		}
		if s.Asym {
			x[c] = float32(half(m.Scales)*float64(codes[c]) + half(m.Mins))
		} else {
			x[c] = float32(half(m.Scales) * float64(codes[c]-1<<(s.Bits-1)))
		}
	}
	return x
}

func TestSetRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Scheme{
			Kind: Int, Bits: rapid.IntRange(2, 8).Draw(t, "bits"),
			Group: rapid.SampledFrom([]int{0, 8, 32, 64, 128}).Draw(t, "group"), Asym: rapid.Bool().Draw(t, "asym"),
		}
		s.Short = !s.Asym && s.Group > 0 && rapid.Bool().Draw(t, "short")
		rows, cols := rapid.IntRange(1, 4).Draw(t, "rows"), rapid.IntRange(1, 200).Draw(t, "cols")
		m, err := New(s, rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		code := rapid.SliceOfN(rapid.Uint8Max(uint8(1<<s.Bits-1)), cols, cols)
		// Normal float16 numbers of moderate size, so that float64 sums are exact.
		half := rapid.Custom(func(t *rapid.T) uint16 {
			return uint16(rapid.IntRange(0x2000, 0x5000).Draw(t, "magnitude") | rapid.IntRange(0, 1).Draw(t, "sign")<<15)
		})
		halves := rapid.SliceOfN(half, s.Groups(cols), s.Groups(cols))
		short := rapid.SliceOfN(rapid.IntRange(0, 15), s.Groups(cols), s.Groups(cols))
		var d Reader
		for r := range rows {
			codes, scales := code.Draw(t, "codes"), halves.Draw(t, "scales")
			if s.Short {
				factor := ShortFactor(float32(math.Exp2(rapid.Float64Range(-18, 10).Draw(t, "factor"))))
				for g, i := range short.Draw(t, "levels") {
					scales[g], _ = ToFloat16(factor * s.ShortLevels()[i])
					if FromFloat16(scales[g]) != factor*s.ShortLevels()[i] {
						t.Fatalf("level %d of %g is not a float16 number", i, factor)
					}
				}
			}
			m.SetRow(r, codes, scales, halves.Draw(t, "mins"))
			got, stored, _ := d.Codes(m, r)
			if fmt.Sprint(got) != fmt.Sprint(codes) || fmt.Sprint(stored) != fmt.Sprint(scales) {
				t.Fatalf("%v row %d: codes are %v and scales %v, want %v and %v", s, r, got, stored, codes, scales)
			}
		}
		got := make([]float32, cols)
		for r := range rows {
			d.Row(got, m, r)
			for c, want := range slowRow(m, r) {
				if got[c] != want {
					t.Fatalf("%v row %d, column %d: %v, want %v", s, r, c, got[c], want)
				}
			}
		}
	})
}

func TestFloats(t *testing.T) {
	x := []float32{0, 1, -1, 1.0009765625, 65504, -65504, 1e-7, 0.1}
	for _, kind := range []Kind{F32, F16, BF16} {
		m, err := New(Scheme{Kind: kind}, 2, len(x))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.SetFloats(1, x); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(x))
		new(Reader).Row(got, m, 1)
		for i := range x {
			// float16 has 11 significant bits and a smallest subnormal of 2^-24; bfloat16
			// has 8 bits.
			ulp := map[Kind]float64{F32: 0, F16: math.Abs(float64(x[i]))/2048 + 1.0/(1<<25), BF16: math.Abs(float64(x[i])) / 256}[kind]
			if math.Abs(float64(got[i]-x[i])) > ulp {
				t.Errorf("%v: %g is stored as %g", m.Scheme, x[i], got[i])
			}
		}
	}
}

func TestToBFloat16RoundsToEven(t *testing.T) {
	for in, want := range map[uint32]uint16{
		0x3f800000: 0x3f80, 0x3f808000: 0x3f80, 0x3f818000: 0x3f82, 0x3f808001: 0x3f81, 0xbf807fff: 0xbf80, 0x7f7f0000: 0x7f7f,
	} {
		if got, ok := ToBFloat16(math.Float32frombits(in)); got != want || !ok {
			t.Errorf("ToBFloat16(%08x) = %04x, %v, want %04x", in, got, ok, want)
		}
	}
	for _, in := range []float32{math.MaxFloat32, float32(math.Inf(-1)), float32(math.NaN())} {
		if bits, ok := ToBFloat16(in); ok {
			t.Errorf("ToBFloat16(%v) = %04x, true, want false", in, bits)
		}
	}
}

func TestSetFloatsRefusesOverflow(t *testing.T) {
	m, err := New(Scheme{Kind: F16}, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	err = m.SetFloats(0, []float32{1, 65520, 2})
	if want := "row 0, column 1: 65520 does not fit f16"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %q", err, want)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		m    Matrix
		want string
	}{
		{Matrix{Scheme: Scheme{Kind: F32}, Rows: 2, Cols: 3, Codes: make([]byte, 23)}, "f32: codes take 23 bytes, shape (2, 3) needs 24"},
		{Matrix{Scheme: Scheme{Kind: F32}, Rows: math.MaxInt, Cols: 3}, fmt.Sprintf("shape (%d, 3) is out of range", math.MaxInt)},
		{Matrix{Scheme: Scheme{Kind: Int, Bits: 9}, Rows: 1, Cols: 1}, "9 bits, want 2 to 8"},
		{Matrix{Scheme: Scheme{Kind: F32, Bits: 4}}, "kind 0 with these fields is not a scheme"},
		{Matrix{Scheme: Scheme{Kind: Int + 1}}, "kind 4 with these fields is not a scheme"},
		{Matrix{Scheme: Scheme{Kind: Int, Bits: 4, Asym: true}, Rows: 1, Cols: 4, Codes: make([]byte, 2), Scales: make([]byte, 2)},
			"int4/row/asym: mins take 0 bytes, shape (1, 4) needs 2"},
	} {
		if err := c.m.Check(); err == nil || err.Error() != c.want {
			t.Errorf("Check: %v, want %q", err, c.want)
		}
	}
}

func TestNonFinite(t *testing.T) {
	bad := map[Kind][]uint32{
		F32: {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff}, F16: {0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff},
		BF16: {0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffff},
	}
	lowest := map[Kind]uint32{F32: 0xff7fffff, F16: 0xfbff, BF16: 0xff7f} // the most negative finite number
	for _, kind := range []Kind{F32, F16, BF16} {
		for cols := 1; cols < 12; cols++ {
			checkNonFinite(t, kind, cols, lowest[kind], bad[kind])
		}
	}
}

// checkNonFinite fills a row with a finite value, then replaces its columns by
// each of the bad values, from the last column to the first.
func checkNonFinite(t *testing.T, kind Kind, cols int, finite uint32, bad []uint32) {
	t.Helper()
	m, err := New(Scheme{Kind: kind}, 2, cols)
	if err != nil {
		t.Fatal(err)
	}
	size := m.Scheme.valueBytes()
	set := func(c int, v uint32) {
		for b := range size {
			m.Codes[(cols+c)*size+b] = byte(v >> (8 * b))
		}
	}
	for c := range cols {
		set(c, finite)
	}
	if got := new(Reader).NonFinite(m, 1); got != -1 {
		t.Errorf("%v, %d columns: NonFinite of finite values is %d, want -1", m.Scheme, cols, got)
	}
	for c := cols - 1; c >= 0; c-- {
		for _, v := range bad {
			set(c, v)
			if got := new(Reader).NonFinite(m, 1); got != c {
				t.Errorf("%v, %d columns: NonFinite with %#x at column %d is %d", m.Scheme, cols, v, c, got)
			}
		}
	}
}
