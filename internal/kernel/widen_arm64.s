//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// SPLIT splits each of the 16 fields of x into a low and a high half of shift
// bits each, and interleaves the halves into y and z. mask selects the low half.
// It overwrites x and t.
#define SPLIT(x, shift, mask, t, y, z) \
	VUSHR $shift, x.B16, t.B16; \
	VAND  mask.B16, x.B16, x.B16; \
	VZIP1 t.B16, x.B16, y.B16; \
	VZIP2 t.B16, x.B16, z.B16

// PUT shifts the codes x by V30, ORs in the bits of dst that V31 keeps, and
// stores them.
#define PUT(x, v) \
	USHL(30, x, x); \
	VLD1   (R0), [V29.B16]; \
	VAND   V31.B16, V29.B16, V29.B16; \
	VORR   V29.B16, v.B16, v.B16; \
	VST1.P [v.B16], 16(R0)

#define PARAMS \
	MOVD  dst_base+0(FP), R0; \
	MOVD  src_base+24(FP), R1; \
	MOVD  src_len+32(FP), R2; \
	MOVD  shift+48(FP), R3; \
	MOVBU or+56(FP), R4; \
	NEG   R4, R4; \
	VDUP  R3, V30.B16; \
	VDUP  R4, V31.B16; \
	VMOVI $15, V26.B16; \
	VMOVI $3, V27.B16; \
	VMOVI $1, V28.B16; \
	LSR   $4, R2

// func fromF16NEON(dst []float32, src []byte)
TEXT ·fromF16NEON(SB), NOSPLIT, $0-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R2
	MOVD src_base+24(FP), R1
	LSR  $4, R2
	CBZ  R2, done

block:
	VLD1.P 32(R1), [V16.H8, V17.H8]
	FCVTL(16, 0)
	FCVTL2(16, 1)
	FCVTL(17, 2)
	FCVTL2(17, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET

// func fromBF16NEON(dst []float32, src []byte)
TEXT ·fromBF16NEON(SB), NOSPLIT, $0-48
	MOVD dst_base+0(FP), R0
	MOVD dst_len+8(FP), R2
	MOVD src_base+24(FP), R1
	LSR  $4, R2
	CBZ  R2, done

block:
	VLD1.P 32(R1), [V16.H8, V17.H8]
	VUXTL  V16.H4, V0.S4
	VUXTL2 V16.H8, V1.S4
	VUXTL  V17.H4, V2.S4
	VUXTL2 V17.H8, V3.S4
	VSHL   $16, V0.S4, V0.S4
	VSHL   $16, V1.S4, V1.S4
	VSHL   $16, V2.S4, V2.S4
	VSHL   $16, V3.S4, V3.S4
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET

#define AFFINE(x) \
	UCVTF(x, x); \
	FMUL(30, x, x); \
	FADD(31, x, x)

// func affineNEON(dst []float32, codes []uint8, scale, offset []float32, group int)
TEXT ·affineNEON(SB), NOSPLIT, $0-104
	MOVD dst_base+0(FP), R0
	MOVD codes_base+24(FP), R1
	MOVD scale_base+48(FP), R3
	MOVD scale_len+56(FP), R2
	MOVD offset_base+72(FP), R4
	MOVD group+96(FP), R5
	LSR  $4, R5
	CBZ  R2, done

group:
	VLD1R.P 4(R3), [V30.S4]
	VLD1R.P 4(R4), [V31.S4]
	MOVD    R5, R6

block:
	VLD1.P 16(R1), [V16.B16]
	VUXTL  V16.B8, V17.H8
	VUXTL2 V16.B16, V18.H8
	VUXTL  V17.H4, V0.S4
	VUXTL2 V17.H8, V1.S4
	VUXTL  V18.H4, V2.S4
	VUXTL2 V18.H8, V3.S4
	AFFINE(0)
	AFFINE(1)
	AFFINE(2)
	AFFINE(3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUB    $1, R6
	CBNZ   R6, block
	SUB    $1, R2
	CBNZ   R2, group

done:
	RET

// func split1NEON(dst, src []uint8, shift uint, or bool)
TEXT ·split1NEON(SB), NOSPLIT, $0-57
	PARAMS
	CBZ R2, done

block:
	VLD1.P 16(R1), [V0.B16]
	SPLIT(V0, 4, V26, V8, V1, V2)
	SPLIT(V1, 2, V27, V8, V3, V4)
	SPLIT(V2, 2, V27, V8, V5, V6)
	SPLIT(V3, 1, V28, V8, V16, V17)
	SPLIT(V4, 1, V28, V8, V18, V19)
	SPLIT(V5, 1, V28, V8, V20, V21)
	SPLIT(V6, 1, V28, V8, V22, V23)
	PUT(16, V16)
	PUT(17, V17)
	PUT(18, V18)
	PUT(19, V19)
	PUT(20, V20)
	PUT(21, V21)
	PUT(22, V22)
	PUT(23, V23)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET

// func split2NEON(dst, src []uint8, shift uint, or bool)
TEXT ·split2NEON(SB), NOSPLIT, $0-57
	PARAMS
	CBZ R2, done

block:
	VLD1.P 16(R1), [V0.B16]
	SPLIT(V0, 4, V26, V8, V1, V2)
	SPLIT(V1, 2, V27, V8, V16, V17)
	SPLIT(V2, 2, V27, V8, V18, V19)
	PUT(16, V16)
	PUT(17, V17)
	PUT(18, V18)
	PUT(19, V19)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET

// func split4NEON(dst, src []uint8, shift uint, or bool)
TEXT ·split4NEON(SB), NOSPLIT, $0-57
	PARAMS
	CBZ R2, done

block:
	VLD1.P 16(R1), [V0.B16]
	SPLIT(V0, 4, V26, V8, V16, V17)
	PUT(16, V16)
	PUT(17, V17)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET
