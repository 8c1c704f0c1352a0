package convert

import (
	"encoding/binary"
	"math"

	"thimble/internal/checkpoint"
	"thimble/internal/model"
)

// halves is t, a matrix of interleaved heads of dim rows, with its rows in our
// order.
func halves(t *checkpoint.Tensor, dim int) *checkpoint.Tensor {
	h := *t
	h.Data, h.Source = nil, &reordered{t, dim}
	return &h
}

type reordered struct {
	*checkpoint.Tensor
	dim int
}

func (o *reordered) Row(dst []byte, r int) {
	copy(dst, o.Tensor.Row(dst, model.Interleaved(r, o.dim)))
}

// A doubles makes float32 rows of a float64 tensor.
type doubles struct{ *checkpoint.Tensor }

func (d doubles) Row(dst []byte, r int) {
	row := d.Tensor.Row(make([]byte, d.RowBytes()), r)
	for i := 0; i < len(row); i += 8 {
		x := math.Float64frombits(binary.LittleEndian.Uint64(row[i:]))
		binary.LittleEndian.PutUint32(dst[i/2:], math.Float32bits(float32(x)))
	}
}

// An eighths makes rows of a tensor of 8-bit floats: bfloat16 without a scale,
// float32 with one.
type eighths struct {
	*checkpoint.Tensor
	values *[256]float32
	scale  *scale // nil for none
}

func (e eighths) Row(dst []byte, r int) {
	row := e.Tensor.Row(make([]byte, e.RowBytes()), r)
	if e.scale == nil {
		for i, c := range row {
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(math.Float32bits(e.values[c])>>16))
		}
		return
	}
	scales := e.scale.row(r)
	for i, c := range row {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(e.values[c]*scales[i/e.scale.cols]))
	}
}

// A scale is what each block of rows x cols of a matrix is multiplied by.
type scale struct {
	rows, cols int
	across     int // blocks side by side
	values     []float32
}

func (s *scale) row(r int) []float32 {
	at := r / s.rows * s.across
	return s.values[at : at+s.across]
}

// The values of the 8-bit floats of "FP8 Formats for Deep Learning" (arXiv
// 2209.05433, table 1), e4m3 without infinities.
var (
	e4m3 = eightBit(3, 7, func(c uint8) bool { return c&0x7f == 0x7f }, func(uint8) bool { return false })
	e5m2 = eightBit(2, 15, func(c uint8) bool { return c&0x7f > 0x7c }, func(c uint8) bool { return c&0x7f == 0x7c })
)

// eightBit lists the values of a sign, an exponent with a bias, and a mantissa.
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
