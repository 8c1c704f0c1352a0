package model

import "fmt"

// A LayerInput gives each block an input besides the stream, which depends on the token
// (Gemma 3n and 4). Block b adds to the stream, after its feed-forward layer,
//
//	norm(LayerOut (act(LayerGate x) * i)),  i = (norm(LayerIn e / sqrt(Hidden)) + t sqrt(Width)) / sqrt(2)
//
// where e is the embedding with which the stream began, t the b-th part of the token's row
// of LayerEmbed, and act the model's activation. The zero value gives none.
type LayerInput struct {
	Width int `cbor:"width" json:"width"`                     // of i
	Vocab int `cbor:"vocab,omitempty" json:"vocab,omitempty"` // rows of LayerEmbed, if not Spec.Vocab; tokens without one have the first
}

// Names of the tensors of a LayerInput. LayerEmbed and LayerInNorm are outside the blocks.
const (
	LayerEmbed  = "layer_embed"   // (LayerInput.Vocab, Blocks*Width)
	LayerInNorm = "layer_in_norm" // (1, Width), gains of the norm after LayerIn of each block

	LayerIn   = "layer_in"   // (Width, Hidden)
	LayerGate = "layer_gate" // (Width, Hidden)
	LayerOut  = "layer_out"  // (Hidden, Width)
	LayerPost = "layer_post" // (1, Hidden)

	// OutScale multiplies the stream at the end of the block, if Spec.OutScale.
	OutScale = "out_scale" // (1, 1)
)

// Names of activations.
const (
	FFNSum     = "ffn_sum"     // (Hidden), the stream after the feed-forward layer, in models with a LayerInput
	LayerInner = "layer_input" // (Width), i
	LayerMixed = "layer_act"   // (Width), the input of LayerOut
)

// LayerVocab returns the rows of LayerEmbed.
func (s *Spec) LayerVocab() int {
	if s.Layer.Vocab > 0 {
		return s.Layer.Vocab
	}
	return s.Vocab
}

func (s *Spec) checkLayer() error {
	l := s.Layer
	switch {
	case l == LayerInput{}:
		return nil
	case l.Width < 1 || l.Width > MaxWidth || l.Width*s.Blocks > 8*MaxWidth:
		return fmt.Errorf("the input of each layer is %d wide, want 1 to %d", l.Width, MaxWidth)
	case l.Vocab < 0 || l.Vocab > MaxVocab:
		return fmt.Errorf("the embedding of each layer has %d rows, want up to %d", l.Vocab, MaxVocab)
	case s.Shared() || s.Norm.Biased() || s.Parallel || s.NoPreNorm || s.Activation == XIELU:
		return fmt.Errorf("an input of each layer, in a model with shared blocks, norms with biases, or another order")
	}
	return nil
}
