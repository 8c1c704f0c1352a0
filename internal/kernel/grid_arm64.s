//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// GRID4 adds the error of one element for four candidates, which are given by
// their scales, inverses and sums. V20 holds the element, V21 its power, V22
// bottom, V23 top and V24 3<<22. V25 is scratch.
#define GRID4(scale, inverse, sum) \
	FMUL(inverse, 20, 25); \
	FMAX(22, 25, 25); \
	FMIN(23, 25, 25); \
	FADD(24, 25, 25); \
	FSUB(24, 25, 25); \
	FMUL(scale, 25, 25); \
	FSUB(25, 20, 25); \
	FMUL(25, 25, 25); \
	FMUL(21, 25, 25); \
	FADD(25, sum, sum)

// GRID loads what the two functions below share: the addresses of x and power, how many elements
// they have, and V22 to V24. The scales are at R3, their inverses at R4.
#define GRID \
	MOVD   x_base+8(FP), R0; \
	MOVD   x_len+16(FP), R2; \
	MOVD   power_base+32(FP), R1; \
	MOVD   scale+56(FP), R3; \
	MOVD   inverse+64(FP), R4; \
	MOVD   $bottom+72(FP), R5; \
	VLD1R  (R5), [V22.S4]; \
	MOVD   $top+76(FP), R5; \
	VLD1R  (R5), [V23.S4]; \
	MOVD   $0x4b400000, R5; /* 3<<22 */ \
	VDUP   R5, V24.S4; \
	VEOR   V0.B16, V0.B16, V0.B16; \
	VEOR   V1.B16, V1.B16, V1.B16; \
	VEOR   V2.B16, V2.B16, V2.B16; \
	VEOR   V3.B16, V3.B16, V3.B16

// func gridErrors16NEON(errors *float32, x, power []float32, scale, inverse *float32, bottom, top float32)
TEXT ·gridErrors16NEON(SB), NOSPLIT, $0-80
	GRID
	VLD1 (R3), [V6.S4, V7.S4, V8.S4, V9.S4]
	VLD1 (R4), [V12.S4, V13.S4, V14.S4, V15.S4]
	CBZ  R2, done

element:
	VLD1R.P 4(R0), [V20.S4]
	VLD1R.P 4(R1), [V21.S4]
	GRID4(6, 12, 0)
	GRID4(7, 13, 1)
	GRID4(8, 14, 2)
	GRID4(9, 15, 3)
	SUB     $1, R2
	CBNZ    R2, element

done:
	MOVD errors+0(FP), R3
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R3)
	RET

// func gridErrors24NEON(errors *float32, x, power []float32, scale, inverse *float32, bottom, top float32)
TEXT ·gridErrors24NEON(SB), NOSPLIT, $0-80
	GRID
	VLD1.P 64(R3), [V6.S4, V7.S4, V8.S4, V9.S4]
	VLD1   (R3), [V10.S4, V11.S4]
	VLD1.P 64(R4), [V12.S4, V13.S4, V14.S4, V15.S4]
	VLD1   (R4), [V16.S4, V17.S4]
	VEOR   V4.B16, V4.B16, V4.B16
	VEOR   V5.B16, V5.B16, V5.B16
	CBZ    R2, done

element:
	VLD1R.P 4(R0), [V20.S4]
	VLD1R.P 4(R1), [V21.S4]
	GRID4(6, 12, 0)
	GRID4(7, 13, 1)
	GRID4(8, 14, 2)
	GRID4(9, 15, 3)
	GRID4(10, 16, 4)
	GRID4(11, 17, 5)
	SUB     $1, R2
	CBNZ    R2, element

done:
	MOVD   errors+0(FP), R3
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R3)
	VST1   [V4.S4, V5.S4], (R3)
	RET

// DESCENT gives the current column its codes with four scales, at offset of the codes, of g and
// of R3 and R4, and leaves the step in V(step) and the change in V(sum). V20 holds the value, V21
// H of the column, V22 bottom, V23 top and V24 3<<22. V25 to V27 are scratch.
#define DESCENT(step, sum) \
	VLD1.P 16(R6), [V25.S4]; \
	FDIV(21, 25, 26); \
	FADD(20, 26, 26); \
	VLD1.P 16(R4), [V27.S4]; \
	FMUL(27, 26, 26); \
	FMAX(22, 26, 26); \
	FMIN(23, 26, 26); \
	FADD(24, 26, 26); \
	FSUB(24, 26, 26); \
	VST1.P [V26.S4], 16(R5); \
	VLD1.P 16(R3), [V27.S4]; \
	FMUL(27, 26, step); \
	FSUB(20, step, step); \
	FMUL(21, step, 26); \
	FADD(25, 25, 25); \
	FSUB(25, 26, 26); \
	FMUL(step, 26, 26); \
	FADD(26, sum, sum)

// func gridDescentsNEON(change, codes, left *float32, value []float32, h *float32, stride int, scale, inverse *float32, bottom, top float32)
TEXT ·gridDescentsNEON(SB), NOSPLIT, $0-88
	MOVD  codes+8(FP), R5
	MOVD  left+16(FP), R6
	MOVD  value_base+24(FP), R0
	MOVD  value_len+32(FP), R2
	MOVD  h+48(FP), R1
	MOVD  stride+56(FP), R7
	ADD   $1, R7 // from one element of the diagonal to the next
	LSL   $2, R7
	MOVD  $bottom+80(FP), R8
	VLD1R (R8), [V22.S4]
	MOVD  $top+84(FP), R8
	VLD1R (R8), [V23.S4]
	MOVD  $0x4b400000, R8 // 3<<22
	VDUP  R8, V24.S4
	VEOR  V0.B16, V0.B16, V0.B16
	VEOR  V1.B16, V1.B16, V1.B16
	VEOR  V2.B16, V2.B16, V2.B16
	VEOR  V3.B16, V3.B16, V3.B16

column:
	VLD1R.P 4(R0), [V20.S4]
	VLD1R   (R1), [V21.S4]
	MOVD    scale+64(FP), R3
	MOVD    inverse+72(FP), R4
	DESCENT(4, 0)
	DESCENT(5, 1)
	DESCENT(6, 2)
	DESCENT(7, 3)
	MOVD    R6, R8
	ADD     $4, R1, R9
	SUB     $1, R2
	MOVD    R2, R10
	CBZ     R10, next

other:
	VLD1R.P 4(R9), [V20.S4]
	VLD1    (R8), [V16.S4, V17.S4, V18.S4, V19.S4]
	FMUL(20, 4, 25)
	FSUB(25, 16, 16)
	FMUL(20, 5, 26)
	FSUB(26, 17, 17)
	FMUL(20, 6, 27)
	FSUB(27, 18, 18)
	FMUL(20, 7, 28)
	FSUB(28, 19, 19)
	VST1.P  [V16.S4, V17.S4, V18.S4, V19.S4], 64(R8)
	SUB     $1, R10
	CBNZ    R10, other

next:
	ADD  R7, R1
	CBNZ R2, column
	MOVD change+0(FP), R3
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R3)
	RET

// func gridScalesNEON(scale, inverse, divisor *[24]float32, most float32)
TEXT ·gridScalesNEON(SB), NOSPLIT, $0-28
	MOVD  scale+0(FP), R0
	MOVD  inverse+8(FP), R1
	MOVD  divisor+16(FP), R2
	MOVD  $most+24(FP), R3
	VLD1R (R3), [V16.S4]
	MOVD  $0x3f800000, R3 // 1
	VDUP  R3, V17.S4
	MOVD  $0x7fffffff, R3 // magnitude
	VDUP  R3, V18.S4
	MOVD  $0x7f800000, R3 // infinity
	VDUP  R3, V19.S4
	VEOR  V20.B16, V20.B16, V20.B16
	MOVD  $6, R4

part:
	VLD1.P 16(R2), [V0.S4]
	FDIV(0, 16, 0)
	FCVTN(0, 0)
	FCVTL(0, 0)
	FDIV(0, 17, 1)
	VAND   V18.B16, V0.B16, V2.B16
	VCMEQ  V20.S4, V2.S4, V3.S4
	VCMEQ  V19.S4, V2.S4, V4.S4
	VORR   V3.B16, V4.B16, V3.B16
	VBIT   V3.B16, V20.B16, V0.B16
	VBIT   V3.B16, V20.B16, V1.B16
	VST1.P [V0.S4], 16(R0)
	VST1.P [V1.S4], 16(R1)
	SUB    $1, R4
	CBNZ   R4, part
	RET

// func boundsNEON(x []float32) (lo, hi float32)
TEXT ·boundsNEON(SB), NOSPLIT, $0-32
	MOVD  x_base+0(FP), R0
	MOVD  x_len+8(FP), R2
	VLD1R (R0), [V0.S4]
	MOVV(0, 1)
	LSR   $4, R2

block:
	VLD1.P 64(R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	FMIN(16, 0, 0)
	FMAX(16, 1, 1)
	FMIN(17, 0, 0)
	FMAX(17, 1, 1)
	FMIN(18, 0, 0)
	FMAX(18, 1, 1)
	FMIN(19, 0, 0)
	FMAX(19, 1, 1)
	SUB    $1, R2
	CBNZ   R2, block
	FMINV(0, 0)
	FMAXV(1, 1)
	FMOVS  F0, lo+24(FP)
	FMOVS  F1, hi+28(FP)
	RET

// CODES rounds four elements to 32-bit integers. V16 holds low, V17 the inverse, V18
// bottom, V19 top and V20 the zero point.
#define CODES(x) \
	FSUB(16, x, x); \
	FMUL(17, x, x); \
	FMAX(18, x, x); \
	FMIN(19, x, x); \
	FCVTNS(x, x); \
	IADD(20, x, x)

// func gridCodesNEON(dst []uint8, x []float32, low, inverse, bottom, top float32, zero int32)
TEXT ·gridCodesNEON(SB), NOSPLIT, $0-68
	MOVD  dst_base+0(FP), R0
	MOVD  x_base+24(FP), R1
	MOVD  x_len+32(FP), R2
	MOVD  $low+48(FP), R3
	VLD1R (R3), [V16.S4]
	MOVD  $inverse+52(FP), R3
	VLD1R (R3), [V17.S4]
	MOVD  $bottom+56(FP), R3
	VLD1R (R3), [V18.S4]
	MOVD  $top+60(FP), R3
	VLD1R (R3), [V19.S4]
	MOVWU zero+64(FP), R3
	VDUP  R3, V20.S4
	LSR   $4, R2
	CBZ   R2, done

block:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	CODES(0)
	CODES(1)
	CODES(2)
	CODES(3)
	VUZP1  V1.H8, V0.H8, V0.H8
	VUZP1  V3.H8, V2.H8, V2.H8
	VUZP1  V2.B16, V0.B16, V0.B16
	VST1.P [V0.B16], 16(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET
