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

// func gridErrorsNEON(x, power, scale, inverse []float32, bottom, top float32) [16]float32
TEXT ·gridErrorsNEON(SB), NOSPLIT, $0-168
	MOVD  x_base+0(FP), R0
	MOVD  x_len+8(FP), R2
	MOVD  power_base+24(FP), R1
	MOVD  scale_base+48(FP), R3
	MOVD  inverse_base+72(FP), R4
	VLD1  (R3), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1  (R4), [V16.S4, V17.S4, V18.S4, V19.S4]
	MOVD  $bottom+96(FP), R5
	VLD1R (R5), [V22.S4]
	MOVD  $top+100(FP), R5
	VLD1R (R5), [V23.S4]
	MOVD  $0x4b400000, R5 // 3<<22
	VDUP  R5, V24.S4
	VEOR  V0.B16, V0.B16, V0.B16
	VEOR  V1.B16, V1.B16, V1.B16
	VEOR  V2.B16, V2.B16, V2.B16
	VEOR  V3.B16, V3.B16, V3.B16
	CBZ   R2, done

element:
	VLD1R.P 4(R0), [V20.S4]
	VLD1R.P 4(R1), [V21.S4]
	GRID4(4, 16, 0)
	GRID4(5, 17, 1)
	GRID4(6, 18, 2)
	GRID4(7, 19, 3)
	SUB     $1, R2
	CBNZ    R2, element

done:
	MOVD $ret_0+104(FP), R3
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R3)
	RET
