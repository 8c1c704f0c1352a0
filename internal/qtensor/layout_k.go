package qtensor

import (
	"encoding/binary"
	"fmt"
)

// The K layouts of ggml, blocks of 256 codes in groups with their own scales.
//
//	Q2_K  16 bytes of 4-bit scales and minimums, 64 bytes of codes, d f16, m f16
//	Q3_K  32 bytes of high bits, 64 of low bits, 16 scales of 6 bits in 12 bytes, d f16
//	Q4_K  d f16, m f16, 8 scales and 8 minimums of 6 bits in 12 bytes, 128 bytes
//	Q5_K  the same 16 bytes, 32 bytes of fifth bits, 128 bytes
//	Q6_K  128 bytes of low bits, 64 of high bits, 16 signed scales, d f16
var (
	Q2_K = &Layout{Name: "Q2_K", Cols: 256, Bytes: 84, Scheme: intScheme(2, 16, true), Nested: true,
		float16Offsets: []int{80, 82}, unpack: func(codes []uint8, block []byte) { unpackPairs(codes, block[16:80]) }, scales: scalesQ2K}
	Q3_K = &Layout{Name: "Q3_K", Cols: 256, Bytes: 110, Scheme: intScheme(3, 16, false), Nested: true,
		float16Offsets: []int{108}, unpack: unpackQ3K, scales: scalesQ3K}
	Q4_K = &Layout{Name: "Q4_K", Cols: 256, Bytes: 144, Scheme: intScheme(4, 32, true), Nested: true,
		float16Offsets: scaleMin, unpack: unpackQ4K, scales: scalesQ4K}
	Q5_K = &Layout{Name: "Q5_K", Cols: 256, Bytes: 176, Scheme: intScheme(5, 32, true), Nested: true,
		float16Offsets: scaleMin, unpack: unpackQ5K, scales: scalesQ4K}
	Q6_K = &Layout{Name: "Q6_K", Cols: 256, Bytes: 210, Scheme: intScheme(6, 16, false), Nested: true,
		float16Offsets: []int{208}, unpack: unpackQ6K, scales: scalesQ6K, short: true}
)

// short6 is the scheme that Q6_K can hold where its block divides the columns: 128 times a level
// of short scales is a whole number up to 128, and a factor divided by -128 a float16 number.
var short6 = Scheme{Kind: Int, Bits: 6, Group: 16, Short: true}

// appendShort appends a row of blocks of Q6_K for codes and float16 scales of short6.
func (l *Layout) appendShort(dst []byte, codes []uint8, scales []uint16) ([]byte, error) {
	factor, ok := short6.commonFactor(scales)
	d, exact := ToFloat16(-factor / 128)
	if !ok || !exact || FromFloat16(d) != -factor/128 {
		return nil, fmt.Errorf("its scales are not levels of one factor, as %v has them", short6)
	}
	for ; len(codes) > 0; codes, scales = codes[l.Cols:], scales[l.Cols/short6.Group:] {
		dst = appendQ6K(dst, codes[:l.Cols])
		for _, s := range scales[:l.Cols/short6.Group] {
			level := float32(0)
			if factor != 0 {
				level = FromFloat16(s) / factor
			}
			dst = append(dst, uint8(int8(-128*level)))
		}
		dst = binary.LittleEndian.AppendUint16(dst, d)
	}
	return dst, nil
}

// appendQ6K appends the codes of a block; see unpackQ6K.
func appendQ6K(dst []byte, codes []uint8) []byte {
	var low [128]byte
	var high [64]byte
	for half := range 2 {
		in := codes[128*half:][:128]
		for j := range 32 {
			a, b, c, d := in[j], in[j+32], in[j+64], in[j+96]
			low[64*half+j], low[64*half+j+32] = a&15|c&15<<4, b&15|d&15<<4
			high[32*half+j] = a>>4 | b>>4<<2 | c>>4<<4 | d>>4<<6
		}
	}
	return append(append(dst, low[:]...), high[:]...)
}

// unpackPairs unpacks runs of 32 bytes. Pair k of the bits of a run's bytes is the 32
// codes of part k of its 128.
func unpackPairs(codes []uint8, b []byte) {
	for i, c := range b {
		at := i/32*128 + i%32
		codes[at], codes[at+32], codes[at+64], codes[at+96] = c&3, c>>2&3, c>>4&3, c>>6
	}
}

// scalesQ2K reads a scale in the low and a minimum in the high half of a byte.
func scalesQ2K(scale, offset []float32, block []byte) {
	d, m := FromFloat16(binary.LittleEndian.Uint16(block[80:])), FromFloat16(binary.LittleEndian.Uint16(block[82:]))
	for g, s := range block[:16] {
		scale[g], offset[g] = d*float32(s&15), -(m * float32(s>>4))
	}
}

// unpackQ3K unpacks the low 2 bits as unpackPairs does. The third bit of code j of part
// k of 32 is bit k of byte j.
func unpackQ3K(codes []uint8, block []byte) {
	unpackPairs(codes, block[32:96])
	for j, h := range block[:32] {
		for k := range 8 {
			codes[32*k+j] |= h >> k & 1 << 2
		}
	}
}

// scalesQ3K reads 16 scales, which represent -32 to 31. Their low 4 bits are in the
// halves of 8 bytes, their high 2 bits in the pairs of bits of 4 more.
func scalesQ3K(scale, offset []float32, block []byte) {
	d := FromFloat16(binary.LittleEndian.Uint16(block[108:]))
	low, high := block[96:104], block[104:108]
	for g := range 16 {
		s := low[g%8]>>(g/8*4)&15 | high[g%4]>>(g/4*2)&3<<4
		scale[g] = d * float32(int(s)-32)
		offset[g] = -4 * scale[g]
	}
}

// unpackQ4K unpacks 4 runs of 32 bytes. A run holds 32 codes in the low halves
// of its bytes and the next 32 in the high halves.
func unpackQ4K(codes []uint8, block []byte) {
	for run := range 4 {
		low, high := codes[64*run:][:32], codes[64*run+32:][:32]
		for j, c := range block[16+32*run:][:32] {
			low[j], high[j] = c&15, c>>4
		}
	}
}

// unpackQ5K unpacks the low 4 bits as unpackQ4K does. The fifth bit of code j of
// group g is bit g of byte j of fifth.
func unpackQ5K(codes []uint8, block []byte) {
	fifth := block[16:48]
	unpackQ4K(codes, block[32:])
	for g := range 8 {
		group := codes[32*g:][:32]
		for j, h := range fifth {
			group[j] |= h >> g & 1 << 4
		}
	}
}

// scalesQ4K reads 6-bit scales and minimums. Those of groups 0 to 3 are the low 6
// bits of a byte. Those of group g from 4 to 7 are split: their upper two bits are
// the top bits of the bytes of group g-4.
func scalesQ4K(scale, offset []float32, block []byte) {
	d, m := FromFloat16(binary.LittleEndian.Uint16(block)), FromFloat16(binary.LittleEndian.Uint16(block[2:]))
	b := block[4:16]
	for g := range 8 {
		var s, minimum uint8
		if g < 4 {
			s, minimum = b[g]&63, b[g+4]&63
		} else {
			s, minimum = b[g+4]&15|b[g-4]>>6<<4, b[g+4]>>4|b[g]>>6<<4
		}
		scale[g], offset[g] = d*float32(s), -(m * float32(minimum))
	}
}

// unpackQ6K unpacks 2 runs of 128 codes. A run has 64 bytes for the low 4 bits
// and 32 bytes for the high 2 bits.
func unpackQ6K(codes []uint8, block []byte) {
	for half := range 2 {
		low, high, out := block[64*half:][:64], block[128+32*half:][:32], codes[128*half:][:128]
		for j, h := range high {
			a, b := low[j], low[j+32]
			out[j] = a&15 | h&3<<4
			out[j+32] = b&15 | h>>2&3<<4
			out[j+64] = a>>4 | h>>4&3<<4
			out[j+96] = b>>4 | h>>6<<4
		}
	}
}

// scalesQ6K reads a signed byte for every 16 codes. The codes represent -32 to
// 31.
func scalesQ6K(scale, offset []float32, block []byte) {
	d := FromFloat16(binary.LittleEndian.Uint16(block[208:]))
	for g, s := range block[192:208] {
		scale[g] = d * float32(int8(s))
		offset[g] = -32 * scale[g]
	}
}
