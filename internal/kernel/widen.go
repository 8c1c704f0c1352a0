package kernel

// FromF16 widens little-endian IEEE 754 half precision exactly. A signalling NaN
// becomes quiet, as it does in hardware. FromF16 panics unless src holds 2 bytes
// for each element of dst.
func FromF16(dst []float32, src []byte) {
	check(len(src) == 2*len(dst), "FromF16")
	n := blocks(len(dst))
	best.fromF16(dst[:n], src[:2*n])
	fromF16Portable(dst[n:], src[2*n:])
}

// FromBF16 widens little-endian bfloat16, the upper half of a float32. It panics
// unless src holds 2 bytes for each element of dst.
func FromBF16(dst []float32, src []byte) {
	check(len(src) == 2*len(dst), "FromBF16")
	n := blocks(len(dst))
	best.fromBF16(dst[:n], src[:2*n])
	fromBF16Portable(dst[n:], src[2*n:])
}

// FromF32 reads little-endian float32. It panics unless src holds 4 bytes for
// each element of dst.
func FromF32(dst []float32, src []byte) {
	check(len(src) == 4*len(dst), "FromF32")
	best.fromF32(dst, src)
}

// Unpack expands packed codes to one code per byte. Code i starts at bit
// (i*bits)%8 of src[i*bits/8], where bit 0 is the lowest. Unpack sets dst[i] to the
// code shifted left by shift or, if or is true, ORs the shifted code into dst[i],
// which assembles codes that are stored as several planes. It panics unless bits
// is 1, 2, 4 or 8, the shifted code fits in a byte, and src holds exactly len(dst)
// codes.
func Unpack(dst []uint8, src []byte, bits int, shift uint, or bool) {
	check(bits == 1 || bits == 2 || bits == 4 || bits == 8, "Unpack: bits")
	check(uint(bits)+shift <= 8, "Unpack: shift")
	check(len(src) == (len(dst)*bits+7)/8, "Unpack")
	if bits < 8 {
		whole, codes := len(dst)*bits/8, 8/bits // bytes, and codes in one
		n := blocks(whole)
		best.split[bits/2](dst[:n*codes], src[:n], shift, or)
		if n < whole && n > 0 { // the last block again, up to the last whole byte: that changes nothing twice
			best.split[bits/2](dst[(whole-width)*codes:whole*codes], src[whole-width:whole], shift, or)
			n = whole
		}
		dst, src = dst[n*codes:], src[n:]
	} else if !or {
		copy(dst, src)
		return
	}
	unpackPortable(dst, src, bits, shift, or)
}

// planes has the bits of each plane for codes of 2 to 8 bits: their binary expansion,
// from the lowest bits up, so that every plane packs whole codes into bytes.
var planes = [...][]int{2: {2}, 3: {2, 1}, 4: {4}, 5: {4, 1}, 6: {4, 2}, 7: {4, 2, 1}, 8: {8}}

// Planes returns the bits of each plane of a row of codes of the given bits, 2 to 8
// (docs/FORMAT.md). The low bits of all codes come first.
func Planes(bits int) []int { return planes[bits] }

// UnpackPlanes expands a row of codes of the given bits, which is stored as Planes, to
// one code per byte. It panics unless src holds at least len(dst) codes.
func UnpackPlanes(dst []uint8, src []byte, bits int) { unpackPlanes(dst, src, bits, Unpack) }

func unpackPlanes(dst []uint8, src []byte, bits int, unpack func(dst []uint8, src []byte, bits int, shift uint, or bool)) {
	shift := uint(0)
	for _, b := range planes[bits] {
		n := (len(dst)*b + 7) / 8
		unpack(dst, src[:n], b, shift, shift > 0)
		src, shift = src[n:], shift+uint(b)
	}
}

// Affine dequantizes codes: it sets dst[i] to float32(codes[i]*scale[g]) +
// offset[g], where g is i/group. The last group may be short. Affine panics
// unless dst and codes have the same length and each group has a scale and an
// offset.
func Affine(dst []float32, codes []uint8, scale, offset []float32, group int) {
	check(group > 0 && len(codes) == len(dst), "Affine")
	groups := (len(dst) + group - 1) / group
	check(len(scale) == groups && len(offset) == groups, "Affine: groups")
	whole := 0
	if group%width == 0 {
		whole = len(dst) / group
	}
	n := whole * group
	best.affine(dst[:n], codes[:n], scale[:whole], offset[:whole], group)
	affinePortable(dst[n:], codes[n:], scale[whole:], offset[whole:], group)
}
