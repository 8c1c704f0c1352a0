// The stripes of a product occupy four registers. Loops over six products keep
// them in V0 to V23 and process half a block at a time, in V24 and up.

#define ZERO(v) VEOR v.B16, v.B16, v.B16

#define ZERO6 \
	ZERO(V0); ZERO(V1); ZERO(V2); ZERO(V3); ZERO(V4); ZERO(V5); \
	ZERO(V6); ZERO(V7); ZERO(V8); ZERO(V9); ZERO(V10); ZERO(V11); \
	ZERO(V12); ZERO(V13); ZERO(V14); ZERO(V15); ZERO(V16); ZERO(V17); \
	ZERO(V18); ZERO(V19); ZERO(V20); ZERO(V21); ZERO(V22); ZERO(V23)

// HALF adds the products of half a block to two registers.
#define HALF(a0, a1, b0, b1, d0, d1) \
	VFMLA a0.S4, b0.S4, d0.S4; \
	VFMLA a1.S4, b1.S4, d1.S4

// FOLD adds s[i+8] to s[i], then s[i+4] to s[i].
#define FOLD(q0, q1, q2, q3) \
	FADD(q2, q0, q0); \
	FADD(q3, q1, q1); \
	FADD(q1, q0, q0)

// HALVE adds s[i+2] to s[i] for the products x and y. d becomes x0 x1 y0 y1.
#define HALVE(x, y, nd, nt, d, t) \
	VZIP1 y.D2, x.D2, d.D2; \
	VZIP2 y.D2, x.D2, t.D2; \
	FADD(nt, nd, nd)

// JOIN6 reduces six products and leaves their sums in V30 and the lower half of
// V31.
#define JOIN6 \
	FOLD(0, 1, 2, 3); \
	FOLD(4, 5, 6, 7); \
	FOLD(8, 9, 10, 11); \
	FOLD(12, 13, 14, 15); \
	FOLD(16, 17, 18, 19); \
	FOLD(20, 21, 22, 23); \
	HALVE(V0, V4, 24, 27, V24, V27); \
	HALVE(V8, V12, 25, 28, V25, V28); \
	HALVE(V16, V20, 26, 29, V26, V29); \
	FADDP(25, 24, 30); \
	FADDP(26, 26, 31)
