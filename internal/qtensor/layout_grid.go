package qtensor

import (
	_ "embed"
	"encoding/binary"
)

// gridValues holds the grids of ggml-common.h, one signed byte a value.
// fixtures/gen/gguf_grids.py takes them from gguf-py.
//
//go:embed grids.bin
var gridValues []byte

// The grids in gridValues. A point has 8 values, or 4 in those of 3 bits.
var (
	gridIQ2XXS = gridValues[:256*8]
	gridIQ2XS  = gridValues[256*8:][:512*8]
	gridIQ2S   = gridValues[(256+512)*8:][:1024*8]
	gridIQ3XXS = gridValues[(256+512+1024)*8:][:256*4]
	gridIQ3S   = gridValues[(256+512+1024+128)*8:][:512*4]
	gridIQ1    = gridValues[(256+512+1024+128+256)*8:][:2048*8]
)

// The layouts of ggml whose codes are points of a grid, blocks of 256 values.
//
//	IQ2_XXS  d f16, for each 32 values 4 indices of 8 bits, 4 times 7 signs, a scale of 4 bits
//	IQ2_XS   d f16, 32 times an index of 9 bits and 7 signs, 8 bytes of scales
//	IQ2_S    d f16, 32 bytes of indices, 32 of signs, 8 with their high bits, 8 of scales
//	IQ3_XXS  d f16, 64 bytes of indices, for each 32 values 4 times 7 signs and a scale of 4 bits
//	IQ3_S    d f16, 64 bytes of indices, 8 with their high bits, 32 of signs, 4 of scales
//	IQ1_S    d f16, 32 bytes of indices, for each 32 values 4 times 3 high bits, a scale of 3 bits, the sign of a shift
//	IQ1_M    32 bytes of indices, 16 with their high bits and signs of a shift, 16 scales of 3 bits, 4 times 4 bits of d
//
// With signs, a value x has the code 128 + x. The values of IQ1 are -1, 0 and 1, moved by
// an eighth up or down.
var (
	IQ2_XXS = &Layout{Name: "IQ2_XXS", Cols: 256, Bytes: 66, Scheme: intScheme(8, 32, false), width: 2, steps: gridSteps(51, 8, 8), Nested: true,
		float16Offsets: scaleOnly, unpack: unpackIQ2XXS, scales: scalesIQ2XXS}
	IQ2_XS = &Layout{Name: "IQ2_XS", Cols: 256, Bytes: 74, Scheme: intScheme(8, 16, false), width: 2, steps: gridSteps(51, 8, 9), Nested: true,
		float16Offsets: scaleOnly, unpack: unpackIQ2XS, scales: scalesIQ2(66)}
	IQ2_S = &Layout{Name: "IQ2_S", Cols: 256, Bytes: 82, Scheme: intScheme(8, 16, false), width: 2, steps: gridSteps(51, 8, 10), Nested: true,
		float16Offsets: scaleOnly, unpack: unpackIQ2S, scales: scalesIQ2(74)}
	IQ3_XXS = &Layout{Name: "IQ3_XXS", Cols: 256, Bytes: 98, Scheme: intScheme(8, 32, false), width: 3, steps: gridSteps(66, 4, 8), Nested: true,
		float16Offsets: scaleOnly, unpack: unpackIQ3XXS, scales: scalesIQ3XXS}
	IQ3_S = &Layout{Name: "IQ3_S", Cols: 256, Bytes: 110, Scheme: intScheme(8, 32, false), width: 3, steps: gridSteps(16, 4, 9), Nested: true,
		float16Offsets: scaleOnly, unpack: unpackIQ3S, scales: scalesIQ3S}
	IQ1_S = &Layout{Name: "IQ1_S", Cols: 256, Bytes: 50, Scheme: intScheme(2, 32, true), steps: gridSteps(3, 8, 11), Nested: true,
		float16Offsets: scaleOnly, unpack: unpackIQ1S, scales: scalesIQ1S}
	IQ1_M = &Layout{Name: "IQ1_M", Cols: 256, Bytes: 56, Scheme: intScheme(2, 8, true), steps: gridSteps(3, 8, 11), Nested: true,
		unpack: unpackIQ1M, scales: scalesIQ1M, infinite: func(block []byte) bool { return scaleIQ1M(block)&0x7c00 == 0x7c00 }}
)

// signed writes the codes of a point of a grid. A set bit of signs negates a value.
func signed(codes []uint8, point []byte, signs uint8) {
	for j, x := range point {
		minus := -(signs >> j & 1) // all bits or none
		codes[j] = 128 + (x ^ minus - minus)
	}
}

func unpackIQ2XXS(codes []uint8, block []byte) {
	for i := range 32 {
		part := block[2+i/4*8:]
		signed(codes[8*i:], gridIQ2XXS[int(part[i%4])*8:][:8], parity(binary.LittleEndian.Uint32(part[4:])>>(i%4*7)))
	}
}

func scalesIQ2XXS(scale, offset []float32, block []byte) {
	d := FromFloat16(binary.LittleEndian.Uint16(block))
	for g := range 8 {
		scale[g] = d * (0.125 + 0.25*float32(block[2+8*g+7]>>4))
		offset[g] = -128 * scale[g]
	}
}

func unpackIQ2XS(codes []uint8, block []byte) {
	for i := range 32 {
		q := binary.LittleEndian.Uint16(block[2+2*i:])
		signed(codes[8*i:], gridIQ2XS[int(q&511)*8:][:8], parity(uint32(q>>9)))
	}
}

// scalesIQ2 returns the function that reads 16 scales of 4 bits from 8 bytes.
func scalesIQ2(at int) func(scale, offset []float32, block []byte) {
	return func(scale, offset []float32, block []byte) {
		d := FromFloat16(binary.LittleEndian.Uint16(block))
		for g := range 16 {
			scale[g] = d * (0.125 + 0.25*float32(block[at+g/2]>>(g%2*4)&15))
			offset[g] = -128 * scale[g]
		}
	}
}

func unpackIQ2S(codes []uint8, block []byte) {
	for i := range 32 {
		index := int(block[2+i]) | int(block[66+i/4]>>(i%4*2)&3)<<8
		signed(codes[8*i:], gridIQ2S[index*8:][:8], block[34+i])
	}
}

func unpackIQ3XXS(codes []uint8, block []byte) {
	for i := range 64 {
		signs := parity(binary.LittleEndian.Uint32(block[66+i/8*4:]) >> (i % 8 / 2 * 7))
		signed(codes[4*i:], gridIQ3XXS[int(block[2+i])*4:][:4], signs>>(i%2*4))
	}
}

func scalesIQ3XXS(scale, offset []float32, block []byte) {
	d := FromFloat16(binary.LittleEndian.Uint16(block))
	for g := range 8 {
		scale[g] = d * (0.25 + 0.5*float32(block[66+4*g+3]>>4))
		offset[g] = -128 * scale[g]
	}
}

func unpackIQ3S(codes []uint8, block []byte) {
	for i := range 64 {
		index := int(block[2+i]) | int(block[66+i/8]>>(i%8)&1)<<8
		signed(codes[4*i:], gridIQ3S[index*4:][:4], block[74+i/2]>>(i%2*4))
	}
}

func scalesIQ3S(scale, offset []float32, block []byte) {
	d := FromFloat16(binary.LittleEndian.Uint16(block))
	for g := range 8 {
		scale[g] = d * float32(1+2*int(block[106+g/2]>>(g%2*4)&15))
		offset[g] = -128 * scale[g]
	}
}

// ternary writes the codes of a point of IQ1's grid: 1 + its values.
func ternary(codes []uint8, index int) {
	for j, x := range gridIQ1[index*8:][:8] {
		codes[j] = 1 + x
	}
}

func unpackIQ1S(codes []uint8, block []byte) {
	for i := range 32 {
		high := binary.LittleEndian.Uint16(block[34+i/4*2:]) >> (i % 4 * 3) & 7
		ternary(codes[8*i:], int(block[2+i])|int(high)<<8)
	}
}

// shift returns the offset of IQ1's codes of a group: their middle, 1, and an eighth.
func shift(scale float32, down bool) float32 {
	if down {
		return -1.125 * scale
	}
	return -0.875 * scale
}

func scalesIQ1S(scale, offset []float32, block []byte) {
	d := FromFloat16(binary.LittleEndian.Uint16(block))
	for g := range 8 {
		h := binary.LittleEndian.Uint16(block[34+2*g:])
		scale[g] = d * float32(1+2*int(h>>12&7))
		offset[g] = shift(scale[g], h>>15 == 1)
	}
}

func unpackIQ1M(codes []uint8, block []byte) {
	for i := range 32 {
		ternary(codes[8*i:], int(block[i])|int(block[32+i/2]>>(i%2*4)&7)<<8)
	}
}

// scaleIQ1M returns the bits of d, from the top of 4 numbers of 16 bits.
func scaleIQ1M(block []byte) (d uint16) {
	for i := range 4 {
		d |= uint16(block[48+2*i+1]>>4) << (4 * i)
	}
	return d
}

func scalesIQ1M(scale, offset []float32, block []byte) {
	d := FromFloat16(scaleIQ1M(block))
	for g := range 32 { // two share a scale
		s := binary.LittleEndian.Uint16(block[48+g/8*2:]) >> (g % 8 / 2 * 3) & 7
		scale[g] = d * float32(1+2*int(s))
		offset[g] = shift(scale[g], block[32+g/2]>>(g%2*4)&8 != 0)
	}
}
