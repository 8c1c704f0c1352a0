package kernel

import (
	"encoding/binary"
	"math"
)

// portable is the reference implementation: every other form must match its bits.
var portable = &form{
	name:     "portable",
	gemm:     gemmPortable,
	mix:      mixPortable,
	dot:      dotPortable,
	dot64:    dot64Portable,
	compare:  comparePortable,
	exps64:   exps64Portable,
	sum:      sumPortable,
	max:      maxPortable,
	expSum:   expSumPortable,
	exp:      func(x stripes, bias float32) stripes { expSumPortable(x[:], bias); return x },
	div:      divPortable,
	add:      addPortable,
	scaleMul: scaleMulPortable,
	siluMul:  siluMulPortable,
	rotate:   rotatePortable,
	fromF16:  fromF16Portable,
	fromBF16: fromBF16Portable,
	fromF32:  fromF32Portable,
	split: [3]func(dst, src []uint8, shift uint, or bool){
		func(dst, src []uint8, shift uint, or bool) { unpackPortable(dst, src, 1, shift, or) },
		func(dst, src []uint8, shift uint, or bool) { unpackPortable(dst, src, 2, shift, or) },
		func(dst, src []uint8, shift uint, or bool) { unpackPortable(dst, src, 4, shift, or) },
	},
	affine:       affinePortable,
	gridScales:   gridScalesPortable,
	gridErrors16: gridErrors16Portable,
	gridErrors24: gridErrors24Portable,
	gridDescents: gridDescentsPortable,
	gridCodes:    gridCodesPortable,
	bounds:       boundsPortable,
	rangeErrors:  rangeErrorsPortable,
	rangeSums:    rangeSumsPortable,
	dotRows:      dotRowsPortable,
	stored:       storedPortable,
	storedLanes:  Lanes,
	storedTile:   tileMost,
	storedMost:   8,
	storedMost8:  8,
	panel:        panelPortable,
	interleave:   interleavePortable,
	transposeF16: transposeF16Portable,
	maxAbs:       maxAbsPortable,
	round8:       round8Portable,
	round16:      round16Portable,
	states:       statesPortable,
}

func dotPortable(a, b []float32) (s stripes) {
	for len(a) >= width && len(b) >= width {
		x, y := a[:width:width], b[:width:width]
		for i := range s {
			sum, ok := fma(x[i], y[i], s[i])
			if !ok {
				sum = fmaOdd(x[i], y[i], s[i])
			}
			s[i] = sum
		}
		a, b = a[width:], b[width:]
	}
	return s
}

func gemmPortable(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int) {
	for i := range m {
		x := a[i*lda : i*lda+k]
		for j := range n {
			s := dotPortable(x, b[j*ldb:j*ldb+k])
			c[i*ldc+j] = reduce(&s)
		}
	}
}

func mixPortable(dst, p, v []float32, ldv int) {
	clear(dst)
	for t, w := range p {
		row := v[t*ldv : t*ldv+len(dst)]
		for d, x := range row {
			sum, ok := fma(w, x, dst[d])
			if !ok {
				sum = fmaOdd(w, x, dst[d])
			}
			dst[d] = sum
		}
	}
}

func sumPortable(x []float32) (s stripes) {
	for ; len(x) >= width; x = x[width:] {
		for i := range s {
			s[i] += x[i]
		}
	}
	return s
}

func maxPortable(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		m = max(m, v)
	}
	return m
}

func expSumPortable(x []float32, bias float32) stripes {
	for i, v := range x {
		x[i] = Exp(v - bias)
	}
	return sumPortable(x)
}

func divPortable(x []float32, d float32) {
	for i := range x {
		x[i] /= d
	}
}

func addPortable(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

func scaleMulPortable(dst, x, weight []float32, r float32) {
	for i, v := range x {
		dst[i] = float32(v*r) * weight[i]
	}
}

func siluMulPortable(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = g / (1 + Exp(-g)) * up[i]
	}
}

func rotatePortable(x, y, cos, sin []float32) {
	for i, c := range cos {
		s, u, v := sin[i], x[i], y[i]
		x[i] = float32(u*c) - float32(v*s)
		y[i] = float32(v*c) + float32(u*s)
	}
}

func fromF16Portable(dst []float32, src []byte) {
	for i := range dst {
		h := uint32(binary.LittleEndian.Uint16(src[2*i:]))
		sign, exponent, fraction := h&0x8000<<16, h>>10&31, h&0x3ff
		var u uint32
		switch {
		case exponent == 0: // zero or subnormal
			u = math.Float32bits(float32(fraction) * 0x1p-24)
		case exponent == 31 && fraction == 0:
			u = 0xff << 23
		case exponent == 31:
			u = 0x1ff<<22 | fraction<<13 // the top fraction bit makes the NaN quiet
		default:
			u = (exponent-15+127)<<23 | fraction<<13
		}
		dst[i] = math.Float32frombits(sign | u)
	}
}

func fromBF16Portable(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}

func fromF32Portable(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func unpackPortable(dst, src []uint8, bits int, shift uint, or bool) {
	mask := uint8(1<<bits - 1)
	for i := range dst {
		code := src[i*bits/8] >> (i * bits % 8) & mask << shift
		if or {
			code |= dst[i]
		}
		dst[i] = code
	}
}

func affinePortable(dst []float32, codes []uint8, scale, offset []float32, group int) {
	for g, s := range scale {
		end := min(group, len(dst))
		for i, q := range codes[:end] {
			dst[i] = float32(s*float32(q)) + offset[g]
		}
		dst, codes = dst[end:], codes[end:]
	}
}
