package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// slowF16 evaluates the definition (IEEE 754-2019, 3.4).
func slowF16(h uint16) float32 {
	e, f := int(h>>10&31), float64(h&0x3ff)
	v := math.Ldexp(1+f/1024, e-15)
	switch {
	case e == 0:
		v = math.Ldexp(f, -24)
	case e == 31 && f == 0:
		v = math.Inf(1)
	case e == 31:
		return math.Float32frombits(uint32(h&0x8000)<<16 | 0x7fc00000 | uint32(h&0x1ff)<<13)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return float32(v)
}

// sameBits fails unless got and want have the same bits, even for NaN.
func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %#08x, want %#08x", what, i, math.Float32bits(got[i]), math.Float32bits(want[i]))
		}
	}
}

func TestWiden(t *testing.T) {
	half := make([]byte, 1<<17)
	for h := range 1 << 16 {
		binary.LittleEndian.PutUint16(half[2*h:], uint16(h))
	}
	eachForm(t, func(t *testing.T) {
		got, f16, bf16 := make([]float32, 1<<16), make([]float32, 1<<16), make([]float32, 1<<16)
		for h := range got {
			f16[h] = slowF16(uint16(h))
			bf16[h] = math.Float32frombits(uint32(h) << 16)
		}
		FromF16(got, half)
		sameBits(t, "FromF16", got, f16)
		FromBF16(got, half)
		sameBits(t, "FromBF16", got, bf16)
		for _, n := range lengths {
			got := make([]float32, n+1)
			FromF16(got[:n], half[30000:][:2*n])
			sameBits(t, fmt.Sprint("FromF16 ", n), got, append(slices.Clone(f16[15000:][:n]), 0))
			FromBF16(got[:n], half[30000:][:2*n])
			sameBits(t, fmt.Sprint("FromBF16 ", n), got, append(slices.Clone(bf16[15000:][:n]), 0))
			src := half[1:][:4*n] // unaligned
			want := make([]float32, n+1)
			for i := range n {
				want[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
			}
			FromF32(got[:n], src)
			sameBits(t, fmt.Sprint("FromF32 ", n), got, want)
		}
	})
}

func TestUnpack(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			for _, bits := range []int{1, 2, 4, 8} {
				for shift := range 9 - bits {
					unpackAt(t, n, bits, uint(shift), false)
					unpackAt(t, n, bits, uint(shift), true)
				}
			}
		}
	})
}

func unpackAt(t *testing.T, n, bits int, shift uint, or bool) {
	t.Helper()
	r := seeded(n)
	src := make([]byte, (n*bits+7)/8)
	for i := range src {
		src[i] = byte(r.Uint32())
	}
	got := make([]uint8, n+1)
	for i := range got {
		got[i] = byte(r.Uint32())
	}
	want := slices.Clone(got)
	for i := range n {
		var code uint8
		for bit := range bits {
			at := i*bits + bit
			code |= src[at/8] >> (at % 8) & 1 << bit
		}
		code <<= shift
		if or {
			code |= want[i]
		}
		want[i] = code
	}
	Unpack(got[:n], src, bits, shift, or)
	if !slices.Equal(got, want) {
		t.Fatalf("Unpack of %d codes of %d bits, shift %d, or=%t: got %v, want %v", n, bits, shift, or, got, want)
	}
}

func TestAffine(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			for _, group := range []int{1, 5, 8, 16, 24, 32, 48, 64, 576, 2000} {
				r := seeded(n)
				groups := (n + group - 1) / group
				scale, offset := row(r, groups), row(r, groups)
				codes, got, want := make([]uint8, n), make([]float32, n), make([]float32, n)
				for i := range codes {
					codes[i] = uint8(rand.N(256))
					product := float32(codes[i]) * scale[i/group]
					want[i] = float32(product) + offset[i/group]
				}
				Affine(got, codes, scale, offset, group)
				same(t, fmt.Sprintf("Affine %d in groups of %d", n, group), got, want)
			}
		}
	})
}
