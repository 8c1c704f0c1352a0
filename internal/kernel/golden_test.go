package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
)

// TestGolden holds every form on every architecture to the same bytes.
func TestGolden(t *testing.T) {
	golden := map[string]string{
		"Dot":        "3c1917f4b773b5f0",
		"Gemm":       "5c5064341b06a32e",
		"Mix":        "bf216775ec03c887",
		"Sum":        "52e57c7c07d7666b",
		"RMSNorm":    "37d31c5d3a6276d0",
		"Softmax":    "fdf87ff28055b8dc",
		"SiLUMul":    "ca0c271d53c9400c",
		"GELUMul":    "c7122ac39576c6bd",
		"LayerNorm":  "83a7999ce3cb7c5e",
		"Rotate":     "0ce17eb09187071d",
		"Exp":        "2be13fa7afd3a951",
		"From":       "c7b047818258047e",
		"Unpack":     "3db8f0a051d5dfe4",
		"Affine":     "67d58fa792ca6a93",
		"GridErrors": "de1076a521b5fa71",
		"float64":    "4cefc191f4e8851e",
	}
	eachForm(t, func(t *testing.T) {
		r := seeded(1)
		h := sha256.New()
		put := func(x ...float32) {
			for i, v := range x {
				if v != v {
					x[i] = 1e9
				}
			}
			binary.Write(h, binary.LittleEndian, x)
		}
		done := func(name string) {
			if got := hex.EncodeToString(h.Sum(nil)[:8]); got != golden[name] {
				t.Errorf("%s hashes to %s, want %s", name, got, golden[name])
			}
			h.Reset()
		}
		a, b, c := row(r, 37*592), row(r, 29*592), make([]float32, 37*29)
		for _, n := range lengths {
			put(Dot(a[:n], b[:n]))
		}
		done("Dot")
		Gemm(c, 29, a, 592, b, 592, 37, 29, 592)
		put(c...)
		done("Gemm")
		Mix(c[:67], a[:50], b, 68)
		put(c[:67]...)
		done("Mix")
		for _, n := range lengths {
			put(Sum(a[:n]))
		}
		done("Sum")
		RMSNorm(c[:1027], a[:1027], b[:1027], 1e-6)
		put(c[:1027]...)
		done("RMSNorm")
		for i := range c {
			c[i] = float32(r.NormFloat64() * 9)
		}
		s := append([]float32(nil), c...)
		Softmax(s)
		put(s...)
		done("Softmax")
		SiLUMul(s, c, a[:len(c)])
		put(s...)
		done("SiLUMul")
		Rotate(s[:134], a[:67], b[:67])
		put(s[:134]...)
		done("Rotate")
		GELUMul(s, c, a[:len(c)])
		put(s...)
		done("GELUMul")
		LayerNorm(s[:1027], c[:1027], a[:1027], b[:1027], 1e-5)
		put(s[:1027]...)
		done("LayerNorm")
		for u := uint64(0); u < 1<<32; u += 40503 {
			put(Exp(math.Float32frombits(uint32(u))))
		}
		done("Exp")
		raw := make([]byte, 4*1027)
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		f := make([]float32, 1027)
		FromF16(f, raw[:2*1027])
		put(f...)
		FromBF16(f, raw[:2*1027])
		put(f...)
		FromF32(f, raw)
		put(f...)
		done("From")
		q := make([]uint8, 1027)
		for _, bits := range []int{8, 4, 2, 1} {
			Unpack(q, raw[:(1027*bits+7)/8], bits, 0, bits < 8)
			h.Write(q)
		}
		done("Unpack")
		Affine(f, q, a[:33], b[:33], 32)
		put(f...)
		done("Affine")
		scale, inverse := [Candidates]float32(a[:Candidates]), [Candidates]float32(b[:Candidates])
		errors := GridErrors(a[:99], b[:99], &scale, &inverse, -8, 7)
		put(errors[:]...)
		done("GridErrors")
		for range 1000 {
			x := r.NormFloat64() * 100
			binary.Write(h, binary.LittleEndian, []float64{Exp64(x), Log64(x * x), Pow64(math.Abs(x), x/10), Sin64(x * x), Cos64(x * x)})
		}
		done("float64")
	})
}
