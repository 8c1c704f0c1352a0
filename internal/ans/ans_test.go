package ans

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// A matrix is a test case.
type matrix struct {
	name       string
	rows, cols int
	codes      []uint8
}

func (m *matrix) row(dst []uint8, r int) { copy(dst, m.codes[r*m.cols:][:m.cols]) }

// weights returns normal variables whose deviation differs between rows and columns, rounded,
// and their entropy in bits, given the deviations.
func weights(rows, cols int, deviation, spread float64) (m *matrix, entropy float64) {
	rng := rand.New(rand.NewPCG(1, 2))
	m = &matrix{fmt.Sprintf("%dx%d %g %g", rows, cols, deviation, spread), rows, cols, make([]uint8, rows*cols)}
	column := make([]float64, cols)
	for c := range column {
		column[c] = math.Exp(spread * rng.NormFloat64())
	}
	for r := range rows {
		scale := deviation * math.Exp(spread*rng.NormFloat64())
		for c := range cols {
			s := scale * column[c]
			v := math.Round(s * rng.NormFloat64())
			v = max(-127, min(127, v))
			m.codes[r*cols+c] = uint8(128 + v)
			p := (math.Erf((v+0.5)/s/math.Sqrt2) - math.Erf((v-0.5)/s/math.Sqrt2)) / 2
			entropy -= math.Log2(max(p, 1e-9))
		}
	}
	return m, entropy
}

func encode(t testing.TB, m *matrix) [][]byte {
	t.Helper()
	pieces, err := (&Rows{m.rows, m.cols, 128, m.row}).Encode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return pieces
}

func decode(pieces [][]byte, rows, cols int) ([]uint8, error) {
	d, err := NewDecoder(pieces[0], rows, cols, symbols)
	if err != nil {
		return nil, err
	}
	out := make([]uint8, rows*cols)
	for i := range Pieces(rows, cols) {
		if err := d.Piece(out[i*PieceRows(cols)*cols:], i, pieces[1+i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func size(pieces [][]byte) (n int) {
	for _, p := range pieces {
		n += len(p)
	}
	return n
}

// The code of real weights must be within 0.03 bit of the entropy, everything included.
func TestNearEntropy(t *testing.T) {
	for _, deviation := range []float64{0.4, 1, 3, 10} {
		m, entropy := weights(576, 576, deviation, 0.2)
		pieces := encode(t, m)
		n := float64(len(m.codes))
		got := 8 * float64(size(pieces)) / n
		t.Logf("deviation %g: %.4f bits, entropy %.4f, head %d bytes", deviation, got, entropy/n, len(pieces[0]))
		if got > entropy/n+0.03 {
			t.Errorf("deviation %g: %.4f bits for an entropy of %.4f", deviation, got, entropy/n)
		}
		out, err := decode(pieces, m.rows, m.cols)
		if err != nil || !bytes.Equal(out, m.codes) {
			t.Fatalf("deviation %g: decodes to something else: %v", deviation, err)
		}
	}
}

func TestShapes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, shape := range [][2]int{{1, 1}, {1, 3}, {2, 4}, {7, 5}, {3, 576}, {600, 1}, {1, pieceCodes + 3}, {PieceRows(9) + 2, 9}} {
		for _, kind := range []string{"few", "zero", "constant", "uniform"} {
			if shape[0]*shape[1] > pieceCodes && kind != "few" {
				break // one is enough: they are large
			}
			m := &matrix{kind, shape[0], shape[1], make([]uint8, shape[0]*shape[1])}
			for i := range m.codes {
				switch kind {
				case "constant":
					m.codes[i] = 200
				case "uniform":
					m.codes[i] = uint8(rng.Uint32())
				case "few":
					m.codes[i] = uint8(rng.IntN(3) * 127)
				}
			}
			out, err := decode(encode(t, m), m.rows, m.cols)
			if err != nil || !bytes.Equal(out, m.codes) {
				t.Errorf("%s %v: decodes to something else: %v", kind, shape, err)
			}
		}
	}
}

// A changed head or piece must give an error or other elements, and nothing worse. (Digests
// find changes; this is about bytes that somebody made.)
func TestDamage(t *testing.T) {
	m, _ := weights(20, 13, 3, 0.3)
	pieces := encode(t, m)
	for k := range pieces {
		whole := pieces[k]
		for i := range 8 * len(whole) {
			pieces[k] = bytes.Clone(whole)
			pieces[k][i/8] ^= 1 << (i % 8)
			_, _ = decode(pieces, m.rows, m.cols)
		}
		for n := range len(whole) {
			pieces[k] = whole[:n]
			if _, err := decode(pieces, m.rows, m.cols); err == nil {
				t.Fatalf("part %d cut to %d of %d bytes decodes", k, n, len(whole))
			}
		}
		pieces[k] = append(bytes.Clone(whole), 0)
		if _, err := decode(pieces, m.rows, m.cols); err == nil {
			t.Errorf("part %d with a byte more decodes", k)
		}
		pieces[k] = whole
	}
}

func FuzzDecode(f *testing.F) {
	m, _ := weights(5, 9, 3, 0.3)
	pieces := encode(f, m)
	f.Add(pieces[0], pieces[1], uint8(5), uint8(9))
	f.Add([]byte{}, []byte{}, uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, head, piece []byte, rows, cols uint8) {
		if rows > 0 && cols > 0 {
			_, _ = decode([][]byte{head, piece}, int(rows), int(cols))
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, deviation := range []float64{3, 10} {
		m, _ := weights(455, 576, deviation, 0.3)
		pieces := encode(b, m)
		d, err := NewDecoder(pieces[0], m.rows, m.cols, symbols)
		if err != nil {
			b.Fatal(err)
		}
		out := make([]uint8, len(m.codes))
		b.Run(fmt.Sprint(deviation), func(b *testing.B) {
			for b.Loop() {
				if err := d.Piece(out, 0, pieces[1]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*len(m.codes))/float64(b.Elapsed().Nanoseconds()), "Gcodes/s")
		})
	}
	m, _ := weights(455, 576, 10, 0.3)
	pieces := encode(b, m)
	b.Run("head", func(b *testing.B) {
		for b.Loop() {
			if _, err := NewDecoder(pieces[0], m.rows, m.cols, symbols); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			encode(b, m)
		}
		b.ReportMetric(float64(b.N*len(m.codes))/float64(b.Elapsed().Nanoseconds()), "Gcodes/s")
	})
}
