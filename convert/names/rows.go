package names

import (
	"encoding/binary"
	"math"

	"thimble/internal/checkpoint"
	"thimble/internal/model"
)

// deinterleave returns t, whose heads of dim rows are interleaved, with its rows in
// half-split order.
func deinterleave(t *checkpoint.Tensor, dim int) *checkpoint.Tensor {
	d := *t
	d.Data, d.Source = nil, &deinterleaved{t, dim}
	return &d
}

type deinterleaved struct {
	*checkpoint.Tensor
	dim int
}

func (d *deinterleaved) Row(dst []byte, r int) {
	copy(dst, d.Tensor.Row(dst, model.Interleave(r, d.dim)))
}

// float64Rows converts the rows of a float64 tensor to float32.
type float64Rows struct{ *checkpoint.Tensor }

func (f float64Rows) Row(dst []byte, r int) {
	row := f.Tensor.Row(make([]byte, f.RowBytes()), r)
	for i := 0; i < len(row); i += 8 {
		x := math.Float64frombits(binary.LittleEndian.Uint64(row[i:]))
		binary.LittleEndian.PutUint32(dst[i/2:], math.Float32bits(float32(x)))
	}
}

// fp8Rows converts the rows of a tensor of 8-bit floats: to bfloat16 without a scale, to
// float32 with one.
type fp8Rows struct {
	*checkpoint.Tensor
	values *[256]float32
	scale  *scale // may be nil
}

func (f fp8Rows) Row(dst []byte, r int) {
	row := f.Tensor.Row(make([]byte, f.RowBytes()), r)
	if f.scale == nil {
		for i, c := range row {
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(math.Float32bits(f.values[c])>>16))
		}
		return
	}
	scales := f.scale.row(r)
	for i, c := range row {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(f.values[c]*scales[i/f.scale.cols]))
	}
}

// A scale holds the factor of each block of rows x cols of a matrix.
type scale struct {
	rows, cols int
	across     int // blocks in a row of the matrix
	values     []float32
}

// row returns the factors of the blocks that contain row r, (across).
func (s *scale) row(r int) []float32 {
	at := r / s.rows * s.across
	return s.values[at : at+s.across]
}

// The values of 8-bit floats, by code, as defined in "FP8 Formats for Deep Learning"
// (arXiv 2209.05433, table 1). e4m3 has no infinities.
var (
	e4m3 = eightBit(3, 7, func(c uint8) bool { return c&0x7f == 0x7f }, func(uint8) bool { return false })
	e5m2 = eightBit(2, 15, func(c uint8) bool { return c&0x7f > 0x7c }, func(c uint8) bool { return c&0x7f == 0x7c })
)

// eightBit returns the value of each code, which consists of a sign, an exponent with the
// given bias, and the given number of mantissa bits.
func eightBit(mantissa, bias int, nan, infinite func(uint8) bool) *[256]float32 {
	var values [256]float32
	for c := range values {
		exponent, fraction := c>>mantissa&(1<<(7-mantissa)-1), c&(1<<mantissa-1)
		x := math.Ldexp(float64(fraction), 1-bias-mantissa)
		if exponent > 0 {
			x = math.Ldexp(float64(fraction|1<<mantissa), exponent-bias-mantissa)
		}
		switch {
		case nan(uint8(c)):
			x = math.NaN()
		case infinite(uint8(c)):
			x = math.Inf(1)
		}
		if c >= 128 {
			x = -x
		}
		values[c] = float32(x)
	}
	return &values
}
