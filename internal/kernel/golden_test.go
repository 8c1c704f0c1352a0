package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"
	"math/rand/v2"
	"testing"
)

// goldenHashes are the first 8 bytes of the SHA-256 of each loop's results.
var goldenHashes = map[string]string{
	"Dot":        "3c1917f4b773b5f0",
	"Gemm":       "5c5064341b06a32e",
	"Mix":        "bf216775ec03c887",
	"Sum":        "52e57c7c07d7666b",
	"RMSNorm":    "37d31c5d3a6276d0",
	"Softmax":    "fdf87ff28055b8dc",
	"SiLUMul":    "ca0c271d53c9400c",
	"GELUMul":    "c7122ac39576c6bd",
	"GELUErfMul": "cbda9eddfdfb3784",
	"ReLUMul":    "866b05a169cd9ba8",
	"ReLU2Mul":   "1b75a5a7bcd3122c",
	"XIELU":      "fecea577c9f9b4ed",
	"LayerNorm":  "83a7999ce3cb7c5e",
	"Rotate":     "0ce17eb09187071d",
	"Exp":        "2be13fa7afd3a951",
	"From":       "c7b047818258047e",
	"Unpack":     "3db8f0a051d5dfe4",
	"Affine":     "67d58fa792ca6a93",
	"GridErrors": "4d519633fd9c656a",
	"Descents":   "fdd1f7b82e818e4c",
	"Grid":       "a2749bd562fbeb85",
	"float64":    "4cefc191f4e8851e",
}

// TestGolden checks that every form gives the same bytes on every architecture.
func TestGolden(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		r, h := seeded(1), golden{t, sha256.New()}
		a, b, c := row(r, 37*592), row(r, 29*592), make([]float32, 37*29)
		h.sums(a, b, c)
		for i := range c {
			c[i] = float32(r.NormFloat64() * 9)
		}
		h.activations(a, b, c)
		h.dequantization(a, b, r)
		scale, inverse := [Candidates]float32(a[:Candidates]), [Candidates]float32(b[:Candidates])
		var errors [Candidates]float32
		GridErrors(errors[:], a[:99], b[:99], scale[:], inverse[:], -8, 7)
		h.put(errors[:]...)
		h.check("GridErrors")
		h.descents(a, b)
		divisor := [Candidates]float32(a[Candidates:])
		for i := range divisor {
			divisor[i] += 1 // not 0
		}
		GridScales(&scale, &inverse, &divisor, a[5])
		h.put(append(scale[:], inverse[:]...)...)
		codes := make([]uint8, 99)
		GridCodes(codes, c[:99], a[7], 0.75, -8, 7, 8)
		h.Write(codes)
		h.put(Bounds(c[:99]))
		h.check("Grid")
		h.float64s(r)
	})
}

// descents checks GridDescents on a group of 40 columns.
func (h *golden) descents(a, b []float32) {
	const n = 40
	var change, scale, inverse [Descents]float32
	for l := range scale {
		scale[l], inverse[l] = a[l], 1/a[l]
	}
	moments := append([]float32(nil), b[:n*n]...)
	for i := range n {
		moments[i*n+i] = 30
	}
	codes := make([][Descents]float32, n)
	GridDescents(&change, codes, make([][Descents]float32, n), a[16:16+n], b[:n], moments, n, &scale, &inverse, -8, 7)
	h.put(change[:]...)
	for _, c := range codes {
		h.put(c[:]...)
	}
	h.check("Descents")
}

// golden hashes the results of one loop after another.
type golden struct {
	t *testing.T
	hash.Hash
}

// put hashes x. All NaNs count as the same.
func (h golden) put(x ...float32) {
	for i, v := range x {
		if v != v {
			x[i] = 1e9
		}
	}
	binary.Write(h, binary.LittleEndian, x)
}

// check compares the hash of what was put since the last check with the golden
// one of that name.
func (h golden) check(name string) {
	h.t.Helper()
	if got := hex.EncodeToString(h.Sum(nil)[:8]); got != goldenHashes[name] {
		h.t.Errorf("%s hashes to %s, want %s", name, got, goldenHashes[name])
	}
	h.Reset()
}

func (h golden) sums(a, b, c []float32) {
	for _, n := range lengths {
		h.put(Dot(a[:n], b[:n]))
	}
	h.check("Dot")
	Gemm(c, 29, a, 592, b, 592, 37, 29, 592)
	h.put(c...)
	h.check("Gemm")
	Mix(c[:67], a[:50], b, 68)
	h.put(c[:67]...)
	h.check("Mix")
	for _, n := range lengths {
		h.put(Sum(a[:n]))
	}
	h.check("Sum")
	RMSNorm(c[:1027], a[:1027], b[:1027], 1e-6)
	h.put(c[:1027]...)
	h.check("RMSNorm")
}

func (h golden) activations(a, b, c []float32) {
	s := append([]float32(nil), c...)
	Softmax(s)
	h.put(s...)
	h.check("Softmax")
	SiLUMul(s, c, a[:len(c)])
	h.put(s...)
	h.check("SiLUMul")
	Rotate(s[:134], a[:67], b[:67])
	h.put(s[:134]...)
	h.check("Rotate")
	GELUMul(s, c, a[:len(c)])
	h.put(s...)
	h.check("GELUMul")
	LayerNorm(s[:1027], c[:1027], a[:1027], b[:1027], 1e-5)
	h.put(s[:1027]...)
	h.check("LayerNorm")
	for u := uint64(0); u < 1<<32; u += 40503 {
		h.put(Exp(math.Float32frombits(uint32(u))))
	}
	h.check("Exp")
	for name, activate := range map[string]func(dst, gate, up []float32){"GELUErfMul": GELUErfMul, "ReLUMul": ReLUMul, "ReLU2Mul": ReLU2Mul, "XIELU": NewXIELU(0.3, -0.7, 0.5, -1e-6).Mul} {
		activate(s, c, a[:len(c)])
		h.put(s...)
		h.check(name)
	}
}

func (h golden) dequantization(a, b []float32, r *rand.Rand) {
	raw := make([]byte, 4*1027)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	f := make([]float32, 1027)
	FromF16(f, raw[:2*1027])
	h.put(f...)
	FromBF16(f, raw[:2*1027])
	h.put(f...)
	FromF32(f, raw)
	h.put(f...)
	h.check("From")
	q := make([]uint8, 1027)
	for _, bits := range []int{8, 4, 2, 1} {
		Unpack(q, raw[:(1027*bits+7)/8], bits, 0, bits < 8)
		h.Write(q)
	}
	h.check("Unpack")
	Affine(f, q, a[:33], b[:33], 32)
	h.put(f...)
	h.check("Affine")
}

func (h golden) float64s(r *rand.Rand) {
	for range 1000 {
		x := r.NormFloat64() * 100
		binary.Write(h, binary.LittleEndian, []float64{Exp64(x), Log64(x * x), Pow64(math.Abs(x), x/10), Sin64(x * x), Cos64(x * x)})
	}
	h.check("float64")
}
