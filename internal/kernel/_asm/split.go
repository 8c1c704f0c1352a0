package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// split generates Unpack for codes of the given width. It splits a register of
// 16 8-bit fields into low and high 4-bit halves, interleaves these into two
// registers of 16 fields, and repeats this until a field is a code.
func split(bits int) {
	TEXT(fmt.Sprintf("split%dAVX2", bits), NOSPLIT, "func(dst, src []uint8, shift uint, or bool)")
	Pragma("noescape")
	dst, src, n := base("dst"), base("src"), Load(Param("src").Len(), GP64())
	shift, or, keep := XMM(), GP32(), XMM()
	VMOVQ(param("shift"), shift)
	Load(Param("or"), or)
	NEGL(or) // all ones if or is true
	VMOVD(or, keep)
	VPBROADCASTD(keep, keep)
	masks := map[int]Mem{
		4: constant("low4", 0x0f0f0f0f),
		2: constant("low2", 0x03030303),
		1: constant("low1", 0x01010101),
	}
	JMP(LabelRef("check"))
	Label("block")
	x := XMM()
	VMOVDQU(Mem{Base: src}, x)
	at := 0
	spread(x, 8, bits, masks, func(codes VecVirtual) {
		old := XMM()
		VPSLLW(shift, codes, codes) // no bits cross into the next byte: the shifted codes fit
		VPAND(Mem{Base: dst, Disp: at}, keep, old)
		VPOR(old, codes, codes)
		VMOVDQU(codes, Mem{Base: dst, Disp: at})
		at += 16
	})
	ADDQ(Imm(16), src)
	ADDQ(Imm(uint64(at)), dst)
	SUBQ(Imm(16), n)
	Label("check")
	TESTQ(n, n)
	JNZ(LabelRef("block"))
	RET()
}

// spread halves the fields of x until they have the given bits, and calls put
// with the resulting registers in order.
func spread(x VecVirtual, field, bits int, masks map[int]Mem, put func(VecVirtual)) {
	if field == bits {
		put(x)
		return
	}
	field /= 2
	low, high, y := XMM(), XMM(), XMM()
	VPAND(masks[field], x, low)
	VPSRLW(Imm(uint64(field)), x, high)
	VPAND(masks[field], high, high)
	VPUNPCKLBW(high, low, y)
	spread(y, field, bits, masks, put)
	z := XMM()
	VPUNPCKHBW(high, low, z)
	spread(z, field, bits, masks, put)
}
