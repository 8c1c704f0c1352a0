package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// decodeStates generates the decoding of groups of 32 elements from as many states, eight to a
// register. It ends before a group if data is beyond last. Slots are loaded one by one: that is as fast as VPGATHERDD where this is fast, and
// several times as fast on processors that pay for its safety with microcode.
func decodeStates() {
	TEXT("decodeStatesAVX2", NOSPLIT, "func(dst *uint8, groups int, slots, first *uint32, state *[32]uint32, data, last *byte) (left, read int)")
	Pragma("noescape")
	pointer := func(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
	dst, groups, base, first := pointer("dst"), pointer("groups"), pointer("slots"), pointer("first")
	state, data, last := pointer("state"), pointer("data"), pointer("last")
	x := make([]VecVirtual, 4)
	for k := range x {
		x[k] = YMM()
		VMOVDQU(Mem{Base: state, Disp: 32 * k}, x[k])
	}
	splat := func(name string, v uint32) VecVirtual {
		y := YMM()
		VMOVDQU(constant(name, v), y)
		return y
	}
	slotMask, low, order := splat("slotMask", 1<<12-1), splat("low", 1<<15), gather()
	element, word := constant("element", 0xff), constant("word", 16)
	control := GP64()
	LEAQ(words(), control)
	// Registers that are stored across two lines of the cache are slow to load from.
	const line = 64
	index := GP64()
	LEAQ(AllocLocal(32*len(x)+line).Offset(line-1), index)
	ANDQ(I8(-line), index)

	Label("group")
	CMPQ(data, last)
	JHI(LabelRef("done"))
	for k, x := range x {
		at := YMM()
		VPAND(slotMask, x, at)
		VPADDD(Mem{Base: first, Disp: 32 * k}, at, at)
		VMOVDQU(at, Mem{Base: index, Disp: 32 * k})
	}
	slot := func(i int) Mem {
		at := GP64()
		MOVL(Mem{Base: index, Disp: 4 * i}, at.As32())
		return Mem{Base: base, Index: at, Scale: 4}
	}
	s := make([]VecVirtual, len(x)) // slots, then elements
	for k := range x {
		var half [2]VecVirtual
		for h := range half {
			var pair [2]VecVirtual
			for p := range pair {
				even, odd := XMM(), XMM()
				VMOVD(slot(8*k+4*h+2*p), even)
				VMOVD(slot(8*k+4*h+2*p+1), odd)
				VPUNPCKLDQ(odd, even, even)
				pair[p] = even
			}
			VPUNPCKLQDQ(pair[1], pair[0], pair[0])
			half[h] = pair[0]
		}
		s[k] = half[0].AsY().(VecVirtual)
		VINSERTI128(Imm(1), half[1], s[k], s[k])
	}
	for k, x := range x {
		// x = (x >> 12) * (s >> 20) + (s >> 8 & 4095)
		count, before := YMM(), YMM()
		VPSRLD(Imm(12), x, x)
		VPSRLD(Imm(20), s[k], count)
		VPMULLD(count, x, x)
		VPSRLD(Imm(8), s[k], before)
		VPAND(slotMask, before, before)
		VPADDD(before, x, x)
		VPAND(element, s[k], s[k])
		// The states below low get the next words of the stream, in order.
		less, next, mask, n := YMM(), YMM(), GP64(), GP64()
		VPCMPGTD(x, low, less)
		VMOVMSKPS(less, mask.As32())
		VBROADCASTI128(Mem{Base: data}, next)
		POPCNTL(mask.As32(), n.As32())
		SHLL(Imm(5), mask.As32())
		VPSHUFB(Mem{Base: control, Index: mask, Scale: 1}, next, next)
		LEAQ(Mem{Base: data, Index: n, Scale: 2}, data)
		VPAND(word, less, less)
		VPSLLVD(less, x, x)
		VPOR(next, x, x)
		if k%2 == 1 {
			VPACKUSDW(s[k], s[k-1], s[k-1])
		}
	}
	VPACKUSWB(s[2], s[0], s[0])
	VPERMD(s[0], order, s[0])
	VMOVDQU(s[0], Mem{Base: dst})
	ADDQ(Imm(32), dst)
	ADDQ(Imm(4*32), first)
	DECQ(groups)
	JNZ(LabelRef("group"))

	Label("done")
	for k := range x {
		VMOVDQU(x[k], Mem{Base: state, Disp: 32 * k})
	}
	Store(groups, ReturnIndex(0))
	SUBQ(param("data"), data)
	Store(data, ReturnIndex(1))
	end()
}

// words returns the address of the bytes that VPSHUFB needs, for each set of eight states, to
// give the states of the set the next 16-bit words, and the others 0.
func words() Mem {
	m := GLOBL("words", RODATA|NOPTR)
	for set := range 256 {
		next := uint64(0)
		for i := 0; i < 8; i += 2 {
			v := uint64(0)
			for k := range 2 {
				lane := uint64(0x80808080)
				if set>>(i+k)&1 != 0 {
					lane = 0x80800000 | (2*next+1)<<8 | 2*next
					next++
				}
				v |= lane << (32 * k)
			}
			DATA(32*set+4*i, U64(v))
		}
	}
	return m
}
