//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// ROWS loads eight columns of eight rows into V0 to V7.
#define ROWS \
	MOVD R1, R5; \
	VLD1.P (R5)(R2), [V0.B8]; \
	VLD1.P (R5)(R2), [V1.B8]; \
	VLD1.P (R5)(R2), [V2.B8]; \
	VLD1.P (R5)(R2), [V3.B8]; \
	VLD1.P (R5)(R2), [V4.B8]; \
	VLD1.P (R5)(R2), [V5.B8]; \
	VLD1.P (R5)(R2), [V6.B8]; \
	VLD1   (R5), [V7.B8]; \
	ADD    $8, R1

// SIGN subtracts 128 from the codes in V16 to V19.
#define SIGN \
	VEOR V31.B16, V16.B16, V16.B16; \
	VEOR V31.B16, V17.B16, V17.B16; \
	VEOR V31.B16, V18.B16, V18.B16; \
	VEOR V31.B16, V19.B16, V19.B16

#define INTERLEAVING \
	MOVD  panel+0(FP), R0; \
	MOVD  codes+8(FP), R1; \
	MOVD  stride+16(FP), R2; \
	MOVD  n+24(FP), R3; \
	LSR   $3, R3; \
	VMOVI $128, V31.B16

// func interleave4NEON(panel *int16, codes *byte, stride, n int)
TEXT ·interleave4NEON(SB), NOSPLIT, $0-32
	INTERLEAVING

columns:
	ROWS
	VZIP1  V1.S4, V0.S4, V20.S4
	VZIP1  V3.S4, V2.S4, V21.S4
	VZIP1  V5.S4, V4.S4, V22.S4
	VZIP1  V7.S4, V6.S4, V23.S4
	VZIP1  V21.D2, V20.D2, V16.D2
	VZIP1  V23.D2, V22.D2, V17.D2
	VZIP2  V21.D2, V20.D2, V18.D2
	VZIP2  V23.D2, V22.D2, V19.D2
	SIGN
	ADD    $64, R0, R4
	VST1   [V16.B16, V17.B16], (R0)
	VST1   [V18.B16, V19.B16], (R4)
	ADD    $128, R0
	SUB    $1, R3
	CBNZ   R3, columns
	RET

// func interleave8NEON(panel *int16, codes *byte, stride, n int)
TEXT ·interleave8NEON(SB), NOSPLIT, $0-32
	INTERLEAVING

columns:
	ROWS
	VZIP1  V1.D2, V0.D2, V16.D2
	VZIP1  V3.D2, V2.D2, V17.D2
	VZIP1  V5.D2, V4.D2, V18.D2
	VZIP1  V7.D2, V6.D2, V19.D2
	SIGN
	VST1   [V16.B16, V17.B16, V18.B16, V19.B16], (R0)
	ADD    $128, R0
	SUB    $1, R3
	CBNZ   R3, columns
	RET
