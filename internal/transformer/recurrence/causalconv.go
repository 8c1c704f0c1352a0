package recurrence

// A CausalConv is a convolution of each channel by itself over a position and those before it.
type CausalConv struct {
	channels, length int
	factors          []float32 // (length, channels), of the inputs from the earliest to the latest
	bias             []float32 // (channels), or nil
}

// NewCausalConv returns the convolution over so many positions whose factors are stored, (channels,
// length), and whose biases are bias, (channels) or nil.
func NewCausalConv(stored, bias []float32, length int) CausalConv {
	c := CausalConv{len(stored) / length, length, make([]float32, len(stored)), bias}
	for i, v := range stored {
		c.factors[i%length*c.channels+i/length] = v
	}
	return c
}

// Scale multiplies the inputs of the channels [from, to) by a number, as part of their factors.
func (c *CausalConv) Scale(from, to int, scale float32) {
	for j := range c.length {
		for i := from; i < to; i++ {
			c.factors[j*c.channels+i] *= scale
		}
	}
}

// At sets dst to the outputs of position t. The channels are the first of each row of inputs,
// (positions, width).
func (c *CausalConv) At(dst, inputs []float32, width, t int) {
	if c.bias != nil {
		copy(dst, c.bias)
	} else {
		clear(dst)
	}
	for j := range c.length {
		from := t - (c.length - 1) + j
		if from < 0 {
			continue
		}
		x, factors := inputs[from*width:][:c.channels], c.factors[j*c.channels:][:c.channels]
		for i, v := range x {
			dst[i] += float32(v * factors[i])
		}
	}
}
