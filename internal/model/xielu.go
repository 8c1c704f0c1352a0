package model

// Kinds of the numbers that a block of a model with XIELU learns, (1, 1) each (arXiv
// 2411.13010). The weight of the curve above 0 is softplus(XIELUAbove), that below 0 is
// XIELULinear + softplus(XIELUBelow).
const (
	XIELUAbove  = "xielu_above"
	XIELUBelow  = "xielu_below"
	XIELULinear = "xielu_linear" // factor of the input itself
	XIELULast   = "xielu_last"   // the largest input of the exponential
)

// XIELUKinds lists them.
var XIELUKinds = []string{XIELUAbove, XIELUBelow, XIELULinear, XIELULast}
