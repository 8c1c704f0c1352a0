//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// The constants of Exp in scalar.go, in the order of the registers that hold
// them, starting at V16.
DATA exp<>+0(SB)/4, $89.0
DATA exp<>+4(SB)/4, $-104.0
DATA exp<>+8(SB)/4, $1.4426950408889634
DATA exp<>+12(SB)/4, $12582912.0
DATA exp<>+16(SB)/4, $0.693359375
DATA exp<>+20(SB)/4, $-0.00021219444005469057
DATA exp<>+24(SB)/4, $0x3ab688cd // exp4
DATA exp<>+28(SB)/4, $0x3c090600 // exp3
DATA exp<>+32(SB)/4, $0x3d2aaa8c // exp2
DATA exp<>+36(SB)/4, $0x3e2aaa6e // exp1
DATA exp<>+40(SB)/4, $0x3f000000 // exp0
DATA exp<>+44(SB)/4, $1.0
DATA exp<>+48(SB)/4, $127
GLOBL exp<>(SB), RODATA|NOPTR, $52

#define LOADEXP(r) \
	MOVD    $exp<>(SB), r; \
	VLD1R.P 4(r), [V16.S4]; \
	VLD1R.P 4(r), [V17.S4]; \
	VLD1R.P 4(r), [V18.S4]; \
	VLD1R.P 4(r), [V19.S4]; \
	VLD1R.P 4(r), [V20.S4]; \
	VLD1R.P 4(r), [V21.S4]; \
	VLD1R.P 4(r), [V22.S4]; \
	VLD1R.P 4(r), [V23.S4]; \
	VLD1R.P 4(r), [V24.S4]; \
	VLD1R.P 4(r), [V25.S4]; \
	VLD1R.P 4(r), [V26.S4]; \
	VLD1R.P 4(r), [V27.S4]; \
	VLD1R   (r), [V28.S4]

// EXP2 replaces x and y by their exponentials, with the same steps as Exp. t, n
// and p are scratch for x, and u, o and q for y. Each step depends on the one
// before, so the macro interleaves x and y. At the end t holds k and n holds h.
#define EXP2(x, t, n, p, y, u, o, q) \
	FMIN(16, x, x); \
	FMIN(16, y, y); \
	FMAX(17, x, x); \
	FMAX(17, y, y); \
	MOVV(19, t); \
	MOVV(19, u); \
	FMLA(18, x, t); \
	FMLA(18, y, u); \
	FSUB(19, t, n); \
	FSUB(19, u, o); \
	FMLS(20, n, x); \
	FMLS(20, o, y); \
	FMLS(21, n, x); \
	FMLS(21, o, y); \
	MOVV(23, p); \
	MOVV(23, q); \
	FMLA(22, x, p); \
	FMLA(22, y, q); \
	MOVV(24, n); \
	MOVV(24, o); \
	FMLA(p, x, n); \
	FMLA(q, y, o); \
	MOVV(25, p); \
	MOVV(25, q); \
	FMLA(n, x, p); \
	FMLA(o, y, q); \
	MOVV(26, n); \
	MOVV(26, o); \
	FMLA(p, x, n); \
	FMLA(q, y, o); \
	FMUL(x, x, p); \
	FMUL(y, y, q); \
	FMLA(p, n, x); \
	FMLA(q, o, y); \
	FADD(27, x, x); \
	FADD(27, y, y); \
	ISUB(19, t, t); \
	ISUB(19, u, u); \
	SSHR1(t, n); \
	SSHR1(u, o); \
	ISUB(n, t, t); \
	ISUB(o, u, u); \
	IADD(28, n, n); \
	IADD(28, o, o); \
	IADD(28, t, t); \
	IADD(28, u, u); \
	SHL23(n, n); \
	SHL23(o, o); \
	SHL23(t, t); \
	SHL23(u, u); \
	FMUL(n, x, x); \
	FMUL(o, y, y); \
	FMUL(t, x, x); \
	FMUL(u, y, y)

// func expSumNEON(x []float32, bias float32) [16]float32
TEXT ·expSumNEON(SB), NOSPLIT, $0-96
	MOVD  x_base+0(FP), R0
	MOVD  x_len+8(FP), R2
	MOVWU bias+24(FP), R3
	VDUP  R3, V31.S4
	LOADEXP(R4)
	VEOR  V10.B16, V10.B16, V10.B16
	VEOR  V11.B16, V11.B16, V11.B16
	VEOR  V12.B16, V12.B16, V12.B16
	VEOR  V13.B16, V13.B16, V13.B16
	LSR   $4, R2
	CBZ   R2, done

block:
	VLD1   (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	FSUB(31, 0, 0)
	FSUB(31, 1, 1)
	FSUB(31, 2, 2)
	FSUB(31, 3, 3)
	EXP2(0, 4, 5, 6, 1, 7, 8, 9)
	EXP2(2, 4, 5, 6, 3, 7, 8, 9)
	FADD(0, 10, 10)
	FADD(1, 11, 11)
	FADD(2, 12, 12)
	FADD(3, 13, 13)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	MOVD $ret_0+32(FP), R3
	VST1 [V10.S4, V11.S4, V12.S4, V13.S4], (R3)
	RET

// func siluMulNEON(dst, gate, up []float32)
TEXT ·siluMulNEON(SB), NOSPLIT, $0-72
	MOVD dst_base+0(FP), R0
	MOVD gate_base+24(FP), R1
	MOVD gate_len+32(FP), R2
	MOVD up_base+48(FP), R3
	LOADEXP(R4)
	VEOR V31.B16, V31.B16, V31.B16
	LSR  $4, R2
	CBZ  R2, done

block:
	VLD1.P 64(R1), [V10.S4, V11.S4, V12.S4, V13.S4]
	FSUB(10, 31, 0)
	FSUB(11, 31, 1)
	FSUB(12, 31, 2)
	FSUB(13, 31, 3)
	EXP2(0, 4, 5, 6, 1, 7, 8, 9)
	EXP2(2, 4, 5, 6, 3, 7, 8, 9)
	FADD(27, 0, 0)
	FADD(27, 1, 1)
	FADD(27, 2, 2)
	FADD(27, 3, 3)
	FDIV(0, 10, 0)
	FDIV(1, 11, 1)
	FDIV(2, 12, 2)
	FDIV(3, 13, 3)
	VLD1.P 64(R3), [V4.S4, V5.S4, V6.S4, V7.S4]
	FMUL(4, 0, 0)
	FMUL(5, 1, 1)
	FMUL(6, 2, 2)
	FMUL(7, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET
