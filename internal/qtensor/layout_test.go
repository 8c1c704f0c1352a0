package qtensor

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// layouts lists all layouts in the order of fixtures/gguf/blocks.bin.
var layouts = []*Layout{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, Q2_K, Q3_K, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0, MXFP4, NVFP4,
	IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ1_S, IQ1_M}

// ggmlBlocks returns a matrix of several rows for each layout, and the values to
// which gguf-py dequantizes them.
func ggmlBlocks(t testing.TB) (ms []*Matrix, values [][]float32) {
	t.Helper()
	data, err := os.ReadFile("../../fixtures/gguf/blocks.bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layouts {
		count := 8
		if l.Cols == 256 {
			count = 4
		}
		m := &Matrix{Scheme: l.Foreign(), Rows: 2, Cols: count / 2 * l.Cols, Codes: data[:count*l.Bytes]}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		data = data[count*l.Bytes:]
		want := make([]float32, count*l.Cols)
		n, err := binary.Decode(data, binary.LittleEndian, want)
		if err != nil {
			t.Fatal(err)
		}
		data = data[n:]
		ms, values = append(ms, m), append(values, want)
	}
	if len(data) != 0 {
		t.Fatalf("%d bytes are left over", len(data))
	}
	return ms, values
}

// Dequantizing matches ggml bit for bit, except for the sign of zeros.
func TestLayoutsMatchGGML(t *testing.T) {
	ms, values := ggmlBlocks(t)
	for i, m := range ms {
		var d Reader
		got := make([]float32, m.Cols)
		for r := range m.Rows {
			d.Row(got, m, r)
			for c, want := range values[i][r*m.Cols:][:m.Cols] {
				if math.Float32bits(got[c]) != math.Float32bits(want) && (got[c] != 0 || want != 0) {
					t.Fatalf("%v: row %d, column %d is %v, want %v", m.Scheme, r, c, got[c], want)
				}
			}
		}
	}
}

// slowBlock computes value i of a block by the expressions of ggml-quants.c.
func slowBlock(l *Layout, b []byte, i int) float32 {
	half := func(at int) float32 { return FromFloat16(binary.LittleEndian.Uint16(b[at:])) }
	k4 := func(q []byte, j int) (s, m uint8) { // get_scale_min_k4
		if j < 4 {
			return q[j] & 63, q[j+4] & 63
		}
		return q[j+4]&0xf | q[j-4]>>6<<4, q[j+4]>>4 | q[j]>>6<<4
	}
	switch l {
	case Q4_K, Q5_K:
		run, at := i/64, i%32
		qs := b[16:]
		if l == Q5_K {
			qs = b[48:]
		}
		q := qs[run*32+at] >> (i / 32 % 2 * 4) & 15
		if l == Q5_K {
			q += b[16+at] >> (i / 32) & 1 * 16
		}
		s, m := k4(b[4:16], i/32)
		return float32(half(0)*float32(s)*float32(q)) - half(2)*float32(m)
	case Q6_K:
		n, at := i/128, i%32
		quarter := i % 128 / 32
		q := b[64*n+at+quarter%2*32] >> (quarter / 2 * 4) & 15
		q |= b[128+32*n+at] >> (2 * quarter) & 3 << 4
		return half(208) * float32(int8(b[192+8*n+at/16+2*quarter])) * float32(int(q)-32)
	}
	panic("no such layout")
}

func TestNestedLayoutsOneValueAtATime(t *testing.T) {
	ms, _ := ggmlBlocks(t)
	for _, m := range ms {
		l := m.Scheme.Layout
		if l != Q4_K && l != Q5_K && l != Q6_K {
			continue
		}
		got := make([]float32, m.Cols)
		new(Reader).Row(got, m, 1)
		for c := range got {
			if want := slowBlock(l, m.planeRow(m.Codes, 1)[c/l.Cols*l.Bytes:], c%l.Cols); got[c] != want {
				t.Fatalf("%v: column %d is %v, want %v", m.Scheme, c, got[c], want)
			}
		}
	}
}

// Transcode keeps every value, and Append restores the original block.
func TestTranscodeAndAppend(t *testing.T) {
	ms, _ := ggmlBlocks(t)
	for _, m := range ms {
		scheme, ok := m.Scheme.Native()
		if !ok {
			continue
		}
		native, err := New(scheme, m.Rows, m.Cols)
		if err != nil {
			t.Fatal(err)
		}
		var d Reader
		a, b := make([]float32, m.Cols), make([]float32, m.Cols)
		for r := range m.Rows {
			d.Transcode(native, m, r)
			d.Row(a, m, r)
			d.Row(b, native, r)
			for c := range a {
				if math.Float32bits(a[c]) != math.Float32bits(b[c]) {
					t.Fatalf("%v: row %d, column %d is %v, transcoded %v", m.Scheme, r, c, a[c], b[c])
				}
			}
			if !m.Scheme.Layout.Packs {
				continue
			}
			codes, scales, mins := d.Codes(native, r)
			var again []byte
			for g := range scales {
				again = m.Scheme.Layout.Append(again, codes[32*g:], scales[g], mins[g])
			}
			if !bytes.Equal(again, m.planeRow(m.Codes, r)) {
				t.Errorf("%v: row %d differs after a round trip", m.Scheme, r)
			}
		}
	}
}

// The types that gguf-py does not know, by the expressions of ggml-quants.c. d is -1.5.
func TestOneAndTwoBits(t *testing.T) {
	q1, q2 := append([]byte{0, 0xbe}, make([]byte, 16)...), append([]byte{0, 0xbe}, make([]byte, 16)...)
	for i := range 16 {
		q1[2+i], q2[2+i] = uint8(37*i+11), uint8(91*i+228)
	}
	check := func(l *Layout, b []byte, value func(j int) float32) {
		got := make([]float32, l.Cols)
		new(Reader).Row(got, &Matrix{Scheme: l.Foreign(), Rows: 1, Cols: l.Cols, Codes: b}, 0)
		for j := range got {
			if want := value(j); got[j] != want {
				t.Errorf("%s: column %d is %v, want %v", l.Name, j, got[j], want)
			}
		}
	}
	check(Q1_0, q1, func(j int) float32 { return []float32{1.5, -1.5}[q1[2+j/8]>>(j%8)&1] })
	check(Q2_0, q2, func(j int) float32 { return (float32(q2[2+j/4]>>(j%4*2)&3) - 1) * -1.5 })
}

func TestForeignShapes(t *testing.T) {
	if _, _, _, err := Q4_K.Foreign().Sizes(3, 288); err == nil || err.Error() != "Q4_K: 288 columns are not a multiple of its block of 256" {
		t.Errorf("288 columns: %v", err)
	}
	if n, _, _, err := Q6_K.Foreign().Sizes(3, 512); err != nil || n != 3*2*210 {
		t.Errorf("a 3 x 512 matrix takes %d bytes, %v", n, err)
	}
	for _, s := range []Scheme{{Kind: Foreign}, {Kind: Foreign, Layout: Q4_0, Bits: 4}, {Kind: F32, Layout: Q4_0}, {Kind: Int, Bits: 4, Layout: Q4_0}} {
		if s.Check() == nil {
			t.Errorf("Check accepts %#v", s)
		}
	}
	if b := Q6_K.Foreign().BitsPerWeight(256); b != 6.5625 {
		t.Errorf("Q6_K has %v bits per weight", b)
	}
}

func TestForeignNonFinite(t *testing.T) {
	ms, _ := ggmlBlocks(t)
	for _, m := range ms {
		l := m.Scheme.Layout
		m.Codes = bytes.Clone(m.Codes)
		if c := new(Reader).NonFinite(m, 1); c != -1 {
			t.Errorf("%v: column %d is not finite", m.Scheme, c)
		}
		last := m.planeRow(m.Codes, 1)[m.Cols/l.Cols*l.Bytes-l.Bytes:]
		switch n := len(l.float16Offsets); {
		case n > 0:
			binary.LittleEndian.PutUint16(last[l.float16Offsets[n-1]:], 0xfc00)
		case l == MXFP4:
			last[0] = 255
		case l == IQ1_M:
			last[53], last[55] = 0xc0, 0xf0
		default: // NVFP4 has no value that is not finite
			continue
		}
		if c := new(Reader).NonFinite(m, 1); c != m.Cols-l.Cols {
			t.Errorf("%v: column %d is not finite, want %d", m.Scheme, c, m.Cols-l.Cols)
		}
		if c := new(Reader).NonFinite(m, 0); c != -1 {
			t.Errorf("%v: column %d of row 0 is not finite, want none", m.Scheme, c)
		}
	}
}

// reversed is a Source that returns the rows of a matrix in reverse order.
type reversed struct{ *Matrix }

func (m reversed) Row(dst []byte, r int) { copy(dst, m.planeRow(m.Codes, m.Rows-1-r)) }
func (m reversed) Release()              {}

// A matrix with a Source reads and transcodes like one with Codes.
func TestSource(t *testing.T) {
	ms, _ := ggmlBlocks(t)
	floats, err := New(Scheme{Kind: F16}, 3, 40)
	if err != nil {
		t.Fatal(err)
	}
	for i := range floats.Codes {
		floats.Codes[i] = byte(i % 61)
	}
	for _, m := range append(ms, floats) {
		sourced := &Matrix{Scheme: m.Scheme, Rows: m.Rows, Cols: m.Cols, Source: reversed{m}}
		if err := sourced.Check(); err != nil || sourced.Bytes() != m.Bytes() {
			t.Errorf("%v: %d bytes, want %d; %v", m.Scheme, sourced.Bytes(), m.Bytes(), err)
		}
		var d, e Reader
		a, b := make([]float32, m.Cols), make([]float32, m.Cols)
		scheme, ok := m.Scheme.Native()
		native, err := New(scheme, m.Rows, m.Cols)
		if err != nil {
			t.Fatal(err)
		}
		for r := range m.Rows {
			opposite := m.Rows - 1 - r
			d.Row(a, sourced, r)
			e.Row(b, m, opposite)
			if !slices.Equal(a, b) || !bytes.Equal(d.Stored(sourced, r), e.Stored(m, opposite)) || d.NonFinite(sourced, r) != e.NonFinite(m, opposite) {
				t.Errorf("%v: row %d is %v, want %v", m.Scheme, r, a, b)
			}
			if !ok || m.Scheme.Float() {
				continue
			}
			d.Transcode(native, sourced, r)
			if d.Row(a, native, r); !slices.Equal(a, b) {
				t.Errorf("%v: row %d is %v after Transcode, want %v", m.Scheme, r, a, b)
			}
		}
	}
	both := &Matrix{Rows: 2, Cols: 8, Codes: make([]byte, 64), Source: reversed{floats}}
	if both.Check() == nil {
		t.Error("Check accepts a matrix with both Codes and a Source")
	}
}

// A row of int6/g16/s4 becomes blocks of Q6_K with the same values, whatever its factor; scales of
// two factors are an error.
func TestShortScalesBecomeQ6K(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const rows, cols = 40, 512
	m, err := New(short6, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	var reader Reader
	levels := short6.ShortLevels()
	factor := float32(math.Ldexp(1, -17))
	got := &Matrix{Scheme: Q6_K.Foreign(), Rows: rows, Cols: cols}
	for i := range rows {
		codes, scales := make([]uint8, cols), make([]uint16, cols/16)
		for j := range codes {
			codes[j] = uint8(r.IntN(64))
		}
		for g := range scales {
			if scales[g], _ = ToFloat16(factor * levels[r.IntN(16)]); i == 3 {
				scales[g] = 0
			}
		}
		m.SetRow(i, codes, scales, nil)
		c, s, mins := reader.Codes(m, i)
		if got.Codes, err = Q6_K.AppendRow(got.Codes, c, s, mins); err != nil {
			t.Fatalf("row %d, factor %g: %v", i, factor, err)
		}
		factor = NextShortFactor(factor * 1.7)
		factor = ShortFactor(factor)
	}
	if err := got.Check(); err != nil || !m.SameValues(got) {
		t.Errorf("the values differ, %v", err)
	}
	odd := make([]uint16, cols/16)
	for g := range odd {
		odd[g], _ = ToFloat16(1 + float32(g)/1000)
	}
	if _, err := Q6_K.AppendRow(nil, make([]uint8, cols), odd, nil); err == nil {
		t.Error("scales that are no levels were written")
	}
}
