package model

// Kinds of the tensors of a block with a gated short convolution in place of attention
// (LFM2, arXiv 2511.23404). The outputs of ConvIn are the parts B, C and x, each as wide as
// the stream; the output is ConvOut (C * conv(B * x)).
const (
	ConvIn  = "conv_in"  // (3*Hidden, Hidden)
	Conv    = "conv"     // (1, Hidden*Attention.Conv): for each channel the factors of the inputs, the earliest first
	ConvOut = "conv_out" // (Hidden, Hidden)
)

// MaxConv is the largest number of positions that a convolution reads.
const MaxConv = 64

func convolutions(s *Spec) string {
	return blockRange(s, "short convolution", func(a Attention) int { return a.Conv })
}
