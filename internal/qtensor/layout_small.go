package qtensor

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// The layouts of ggml with codes of at most 4 bits and without minimums that are not K
// layouts. Their values are not the whole numbers of the code, or the block is not of 32.
//
//	IQ4_NL  d f16, 16 bytes of 4-bit indices of levels, as Q4_0 orders them
//	IQ4_XS  d f16, 8 high pairs of bits of scales in u16, 8 low halves in 4 bytes, 128 bytes of indices
//	MXFP4   d e8m0, 16 bytes of 4-bit floats, as Q4_0 orders them
//	NVFP4   4 scales e4m3, for each 8 bytes of 4-bit floats: byte j holds j and j+8
//	TQ1_0   48 bytes of 5 digits of base 3, 4 bytes of 4, d f16
//	TQ2_0   64 bytes of 2-bit codes of -1 to 2, d f16
//	Q1_0    d f16, 16 bytes of signs
//	Q2_0    d f16, 16 bytes of 2-bit codes of -1 to 2
//
// A float x has the code Zero + x of a wider scheme, which holds it exactly.
var (
	IQ4_NL = &Layout{Name: "IQ4_NL", Cols: 32, Bytes: 18, Scheme: unevenScheme, Packs: true,
		float16Offsets: scaleOnly, unpack: func(codes []uint8, block []byte) { unpackHalves(codes, block[2:], &levelsIQ4) }}
	IQ4_XS = &Layout{Name: "IQ4_XS", Cols: 256, Bytes: 136, Scheme: unevenScheme, Nested: true,
		float16Offsets: scaleOnly, unpack: unpackIQ4XS, scales: scalesIQ4XS}
	MXFP4 = &Layout{Name: "MXFP4", Cols: 32, Bytes: 17, Scheme: intScheme(5, 32, false), width: 4, steps: &stepsFP4, Nested: true,
		unpack: func(codes []uint8, block []byte) { unpackHalves(codes, block[1:], &levelsFP4) }, scales: scalesMXFP4,
		infinite: func(block []byte) bool { return block[0] > maxE8M0 }}
	NVFP4 = &Layout{Name: "NVFP4", Cols: 64, Bytes: 36, Scheme: intScheme(5, 16, false), width: 4, steps: &stepsFP4, unpack: unpackNVFP4, scales: scalesNVFP4}
	TQ1_0 = &Layout{Name: "TQ1_0", Cols: 256, Bytes: 54, Scheme: intScheme(2, 256, false),
		float16Offsets: []int{52}, unpack: unpackTQ1}
	TQ2_0 = &Layout{Name: "TQ2_0", Cols: 256, Bytes: 66, Scheme: intScheme(2, 256, true),
		float16Offsets: []int{64}, unpack: func(codes []uint8, block []byte) { unpackPairs(codes, block[:64]) }, scales: scalesFromMinus1(64)}
	Q1_0 = &Layout{Name: "Q1_0", Cols: 128, Bytes: 18, Scheme: intScheme(2, 128, false),
		float16Offsets: scaleOnly, unpack: unpackSigns}
	Q2_0 = &Layout{Name: "Q2_0", Cols: 64, Bytes: 18, Scheme: intScheme(2, 64, true),
		float16Offsets: scaleOnly, unpack: unpackQ2, scales: scalesFromMinus1(0)}
)

var unevenScheme = Scheme{Kind: Int, Bits: 4, Group: 32, Uneven: true}

// levelsFP4 are 16 + the doubled values of 4-bit floats (kvalues_mxfp4).
var levelsFP4 = [16]uint8{16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4}

// unpackHalves unpacks the levels whose indices are the low halves of the bytes, and then
// those of the high halves.
func unpackHalves(codes []uint8, b []byte, levels *[16]uint8) {
	n := len(codes) / 2
	for j, c := range b[:n] {
		codes[j], codes[j+n] = levels[c&15], levels[c>>4]
	}
}

func unpackIQ4XS(codes []uint8, block []byte) {
	for g := range 8 {
		unpackHalves(codes[32*g:][:32], block[8+16*g:], &levelsIQ4)
	}
}

// scalesIQ4XS reads scales of 6 bits, which represent -32 to 31.
func scalesIQ4XS(scale, offset []float32, block []byte) {
	d, high := FromFloat16(binary.LittleEndian.Uint16(block)), binary.LittleEndian.Uint16(block[2:])
	for g := range 8 {
		s := int(block[4+g/2]>>(g%2*4)&15) | int(high>>(2*g)&3)<<4
		scale[g] = d * float32(s-32)
		offset[g] = -128 * scale[g]
	}
}

// maxE8M0 is the largest exponent with which every 4-bit float fits a float32, as a code
// and as a difference of two products.
const maxE8M0 = 251

// scalesMXFP4 reads a power of two, halved because levelsFP4 are doubled. It is below the
// least normal float32 for the exponents 0 and 1.
func scalesMXFP4(scale, offset []float32, block []byte) {
	scale[0] = float32(math.Ldexp(1, int(block[0])-128))
	offset[0] = -16 * scale[0]
}

func unpackNVFP4(codes []uint8, block []byte) {
	for g := range 4 {
		unpackHalves(codes[16*g:][:16], block[4+8*g:], &levelsFP4)
	}
}

// scalesNVFP4 reads 8-bit floats without regard to their sign, halved. The largest is not
// a number there and 0 here, as in ggml_ue4m3_to_fp32.
func scalesNVFP4(scale, offset []float32, block []byte) {
	for g, x := range block[:4] {
		exponent, fraction := int(x>>3&15), int(x&7)
		if exponent > 0 {
			fraction, exponent = fraction|8, exponent-1
		}
		scale[g] = float32(math.Ldexp(float64(fraction), exponent-10))
		if x == 0x7f {
			scale[g] = 0
		}
		offset[g] = -16 * scale[g]
	}
}

// unpackTQ1 unpacks the digits of bytes that hold a fraction of 256 in base 3. Digit n of
// 32 bytes makes 32 codes, then that of 16 bytes 16 codes and that of 4 bytes 4. A digit
// represents -1 to 1.
func unpackTQ1(codes []uint8, block []byte) {
	for _, part := range [...]struct{ bytes, digits int }{{32, 5}, {16, 5}, {4, 4}} {
		power := uint8(1)
		for range part.digits {
			for j, c := range block[:part.bytes] {
				codes[j] = uint8(uint16(c*power)*3>>8) + 1
			}
			codes, power = codes[part.bytes:], power*3
		}
		block = block[part.bytes:]
	}
}

// scalesFromMinus1 returns the scales of a layout whose code 0 is -1.
func scalesFromMinus1(at int) func(scale, offset []float32, block []byte) {
	return func(scale, offset []float32, block []byte) {
		scale[0] = FromFloat16(binary.LittleEndian.Uint16(block[at:]))
		offset[0] = -scale[0]
	}
}

// unpackSigns unpacks bits that represent -1 and 1.
func unpackSigns(codes []uint8, block []byte) {
	for j := range codes {
		codes[j] = 1 + block[2+j/8]>>(j%8)&1<<1
	}
}

func unpackQ2(codes []uint8, block []byte) {
	for j := range codes {
		codes[j] = block[2+j/4] >> (j % 4 * 2) & 3
	}
}

// parity returns 7 signs and an eighth that makes the number of minus signs even.
func parity(signs uint32) uint8 {
	s := uint8(signs & 127)
	return s | uint8(bits.OnesCount8(s)&1)<<7
}
