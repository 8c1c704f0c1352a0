//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// RANGECODE loads an element to V20 and its power to V21, and sets V22 to its codes. V16 holds
// low, V17 the inverse, V18 zero, V19 top and V24 3<<22.
#define RANGECODE \
	VLD1R.P 4(R0), [V20.S4]; \
	VLD1R.P 4(R1), [V21.S4]; \
	FSUB(16, 20, 22); \
	FMUL(17, 22, 22); \
	FMAX(18, 22, 22); \
	FMIN(19, 22, 22); \
	FADD(24, 22, 22); \
	FSUB(24, 22, 22)

// func rangeErrorsNEON(errors *[4]float32, x, power []float32, step, low, inverse *[4]float32, top float32)
TEXT ·rangeErrorsNEON(SB), NOSPLIT, $0-84
	MOVD  x_base+8(FP), R0
	MOVD  x_len+16(FP), R2
	MOVD  power_base+32(FP), R1
	MOVD  step+56(FP), R3
	VLD1  (R3), [V23.S4]
	MOVD  low+64(FP), R3
	VLD1  (R3), [V16.S4]
	MOVD  inverse+72(FP), R3
	VLD1  (R3), [V17.S4]
	MOVD  $top+80(FP), R3
	VLD1R (R3), [V19.S4]
	VEOR  V18.B16, V18.B16, V18.B16
	MOVD  $0x4b400000, R3 // 3<<22
	VDUP  R3, V24.S4
	VEOR  V0.B16, V0.B16, V0.B16
	CBZ   R2, done

element:
	RANGECODE
	FMUL(23, 22, 22)
	FADD(16, 22, 22)
	FSUB(22, 20, 22)
	FMUL(22, 22, 22)
	FMUL(21, 22, 22)
	FADD(22, 0, 0)
	SUB  $1, R2
	CBNZ R2, element

done:
	MOVD errors+0(FP), R3
	VST1 [V0.S4], (R3)
	RET

// func rangeSumsNEON(sums *[5][4]float32, x, power []float32, low, inverse *[4]float32, top float32)
TEXT ·rangeSumsNEON(SB), NOSPLIT, $0-76
	MOVD  x_base+8(FP), R0
	MOVD  x_len+16(FP), R2
	MOVD  power_base+32(FP), R1
	MOVD  low+56(FP), R3
	VLD1  (R3), [V16.S4]
	MOVD  inverse+64(FP), R3
	VLD1  (R3), [V17.S4]
	MOVD  $top+72(FP), R3
	VLD1R (R3), [V19.S4]
	VEOR  V18.B16, V18.B16, V18.B16
	MOVD  $0x4b400000, R3 // 3<<22
	VDUP  R3, V24.S4
	VEOR  V0.B16, V0.B16, V0.B16
	VEOR  V1.B16, V1.B16, V1.B16
	VEOR  V2.B16, V2.B16, V2.B16
	VEOR  V3.B16, V3.B16, V3.B16
	VEOR  V4.B16, V4.B16, V4.B16
	CBZ   R2, done

element:
	RANGECODE
	FMUL(21, 22, 23) // power times code
	FADD(21, 0, 0)
	FADD(23, 1, 1)
	FMUL(22, 23, 22)
	FADD(22, 2, 2)
	FMUL(20, 21, 21)
	FADD(21, 3, 3)
	FMUL(20, 23, 23)
	FADD(23, 4, 4)
	SUB  $1, R2
	CBNZ R2, element

done:
	MOVD   sums+0(FP), R3
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R3)
	VST1   [V4.S4], (R3)
	RET
