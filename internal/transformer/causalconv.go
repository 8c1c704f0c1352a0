package transformer

// A causalConv is a convolution of each channel by itself over a position and those before it.
type causalConv struct {
	channels, length int
	factors          []float32 // (length, channels), of the inputs from the earliest to the latest
}

// newCausalConv returns the convolution over so many positions whose factors are stored, (channels,
// length).
func newCausalConv(stored []float32, length int) causalConv {
	c := causalConv{len(stored) / length, length, make([]float32, len(stored))}
	for i, v := range stored {
		c.factors[i%length*c.channels+i/length] = v
	}
	return c
}

// at sets dst to the outputs of position t. The channels are the first of each row of inputs,
// (positions, width).
func (c *causalConv) at(dst, inputs []float32, width, t int) {
	clear(dst)
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
