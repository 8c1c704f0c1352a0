// Package model defines the types that converters, quantizers, containers and the
// verifier share: what a decoder computes (Spec), the canonical names and shapes of its
// tensors (Slot), and an opened model (Model).
package model

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/kernel"
)

// Limits of a Spec. They are far above any model that runs on a phone, and small
// enough that no product of sizes overflows an int64.
const (
	MaxBlocks = 1024
	MaxSteps  = 4096
	MaxWidth  = 1 << 20 // hidden and feed-forward width
	MaxHeads  = 4096
	MaxVocab  = 1 << 22
	MaxLength = 1 << 24 // positions

	maxAlibi = 64
)

// A Spec describes the computation of a decoder-only transformer. It names features,
// never an architecture, and the forward pass reads nothing else.
type Spec struct {
	Hidden  int `cbor:"hidden" json:"hidden"`   // width of the residual stream
	Heads   int `cbor:"heads" json:"heads"`     // query heads
	KVHeads int `cbor:"kvheads" json:"kvheads"` // key and value heads; divides Heads
	HeadDim int `cbor:"headdim" json:"headdim"` // width of one head; even
	FFN     int `cbor:"ffn" json:"ffn"`         // width inside the feed-forward layer
	Vocab   int `cbor:"vocab" json:"vocab"`     // rows of the embedding
	Context int `cbor:"context" json:"context"` // positions the model was trained for
	Blocks  int `cbor:"blocks" json:"blocks"`   // stored layers

	// Schedule lists the stored block that each step runs. Without layer
	// sharing it is 0, 1, ..., Blocks-1; MobileLLM-LS runs 0, 0, 1, 1, ...
	// (arXiv 2402.14905, section 2.3). Every step has its own KV cache.
	Schedule []int `cbor:"schedule" json:"schedule"`

	// Attention describes the attention of each block. It is empty if a query in
	// every block sees all positions up to its own and Rope rotates every block.
	Attention []Attention `cbor:"attention,omitempty" json:"attention,omitempty"`

	Norm    NormKind `cbor:"norm,omitempty" json:"norm,omitempty"` // of the residual stream
	NormEps float64  `cbor:"normeps" json:"normeps"`               // added to the mean square, or the variance
	QKNorm  QKNorm   `cbor:"qknorm,omitempty" json:"qknorm,omitempty"`

	// QKRotated means that QKNorm applies after rotation (Hunyuan).
	QKRotated bool `cbor:"qkrotated,omitempty" json:"qkrotated,omitempty"`

	// VNorm means that each head of the values is normalized by RMSNorm without gains.
	VNorm bool `cbor:"vnorm,omitempty" json:"vnorm,omitempty"`

	// PostNorm means that a block also normalizes the outputs of attention and the
	// feed-forward layer before it adds them (Gemma 2, arXiv 2408.00118, section 2).
	PostNorm bool `cbor:"postnorm,omitempty" json:"postnorm,omitempty"`
	// NoPreNorm means that attention and the feed-forward layer read the residual
	// stream itself (OLMo 2, arXiv 2501.00656, section 3.2).
	NoPreNorm bool `cbor:"noprenorm,omitempty" json:"noprenorm,omitempty"`
	// EmbedScale multiplies the embeddings; 0 means 1. AttnScale multiplies the
	// attention scores; 0 means 1/sqrt(HeadDim). ResidScale multiplies the outputs of
	// attention and the feed-forward layer before they are added, LogitScale the
	// logits; 0 means 1.
	EmbedScale float64 `cbor:"embedscale,omitempty" json:"embedscale,omitempty"`
	AttnScale  float64 `cbor:"attnscale,omitempty" json:"attnscale,omitempty"`
	ResidScale float64 `cbor:"residscale,omitempty" json:"residscale,omitempty"`
	LogitScale float64 `cbor:"logitscale,omitempty" json:"logitscale,omitempty"`
	// AttnCap and LogitCap replace a scaled attention score or logit x by c tanh(x/c);
	// 0 means that they do not (Gemma 2, section 2).
	AttnCap  float64 `cbor:"attncap,omitempty" json:"attncap,omitempty"`
	LogitCap float64 `cbor:"logitcap,omitempty" json:"logitcap,omitempty"`
	// Temperature makes attention sharper at late positions.
	Temperature Temperature `cbor:"temperature,omitzero" json:"temperature,omitzero"`

	// Positions is the number of rows of a learned embedding of positions, which is added
	// to that of the tokens (GPT-2); 0 means that there is none.
	Positions int `cbor:"positions,omitempty" json:"positions,omitempty"`
	// EmbedNorm means that embeddings are normalized before the first step (BLOOM).
	EmbedNorm bool `cbor:"embednorm,omitempty" json:"embednorm,omitempty"`
	// Alibi, if not 0, lowers the score of a key by its distance times a slope, which is
	// between 2^-Alibi and 1 and differs by head (ALiBi, arXiv 2108.12409, section 3).
	Alibi float64 `cbor:"alibi,omitempty" json:"alibi,omitempty"`

	// Parallel means that the feed-forward layer has the same input as attention and
	// no norm of its own (GPT-J; PaLM, arXiv 2204.02311, section 2).
	Parallel bool `cbor:"parallel,omitempty" json:"parallel,omitempty"`
	// TwoNorms, in a Parallel model, gives the feed-forward layer a norm of its own, of
	// the same residual stream that attention's norm reads (GPT-NeoX, arXiv 2204.06745).
	TwoNorms bool `cbor:"twonorms,omitempty" json:"twonorms,omitempty"`
	// Ungated means that the feed-forward layer is Down act(Up x), without a Gate.
	Ungated    bool       `cbor:"ungated,omitempty" json:"ungated,omitempty"`
	Activation Activation `cbor:"activation,omitempty" json:"activation,omitempty"`

	// FFNs, if not empty, has the width inside the feed-forward layer of each block, instead
	// of FFN.
	FFNs []int `cbor:"ffns,omitempty" json:"ffns,omitempty"`
	// Layer gives each block an input besides the stream.
	Layer LayerInput `cbor:"layer,omitzero" json:"layer,omitzero"`
	// OutScale means that each block multiplies the stream, at its end, by a number.
	OutScale bool `cbor:"outscale,omitempty" json:"outscale,omitempty"`

	Experts Experts `cbor:"experts,omitzero" json:"experts,omitzero"`
	Delta   Delta   `cbor:"delta,omitzero" json:"delta,omitzero"`
	// AttnGate means that the outputs of attention are multiplied by sigmoid(AttnGate x).
	AttnGate bool `cbor:"attngate,omitempty" json:"attngate,omitempty"`

	Rope  Rope   `cbor:"rope" json:"rope"`
	Ropes []Rope `cbor:"ropes,omitempty" json:"ropes,omitempty"` // further ones, for blocks whose Attention selects them
	Bias  Bias   `cbor:"bias" json:"bias"`
	Tied  bool   `cbor:"tied" json:"tied"` // the embedding is also the output head, stored once

	BOS int   `cbor:"bos" json:"bos"` // id of the token that starts a text, or -1
	EOS []int `cbor:"eos" json:"eos"` // ids of the tokens that end a text; may be empty
}

// Attention describes the attention of one block.
type Attention struct {
	// Window is the number of positions that a query sees, including its own; 0 means
	// all (Longformer, arXiv 2004.05150, section 3.1; Mistral 7B, arXiv 2310.06825).
	Window int `cbor:"window,omitempty" json:"window,omitempty"`
	// Chunk divides the positions into chunks of this length. A query sees only its
	// own chunk. 0 means a single chunk.
	Chunk int `cbor:"chunk,omitempty" json:"chunk,omitempty"`
	// Rope selects the rotary embedding: 0 is Spec.Rope, i is Spec.Ropes[i-1], and
	// NoRope is none.
	Rope int `cbor:"rope,omitempty" json:"rope,omitempty"`
	// Conv, if not 0, means that the block has a gated short convolution over this many
	// positions instead of attention.
	Conv int `cbor:"conv,omitempty" json:"conv,omitempty"`
	// Delta, if not 0, means that the block has the gated delta rule instead of attention,
	// after a convolution over this many positions.
	Delta int `cbor:"delta,omitempty" json:"delta,omitempty"`
	// HeadDim and KVHeads, if not 0, are those of the block instead of Spec's.
	HeadDim int `cbor:"headdim,omitempty" json:"headdim,omitempty"`
	KVHeads int `cbor:"kvheads,omitempty" json:"kvheads,omitempty"`
	// Back, if not 0, means that the block has no keys and values of its own. It attends to
	// those of the block that is so many before it.
	Back int `cbor:"back,omitempty" json:"back,omitempty"`
	// KeyValues means that the block has no V: its values are the outputs of K.
	KeyValues bool `cbor:"keyvalues,omitempty" json:"keyvalues,omitempty"`
}

// A Temperature multiplies the attention scores of the query at position p by
// 1 + Beta ln(1 + floor((p+Shift)/Length)) (Llama 4). The zero value multiplies by 1.
type Temperature struct {
	Beta      float64 `cbor:"beta" json:"beta"`
	Length    int     `cbor:"length" json:"length"`
	Shift     int     `cbor:"shift,omitempty" json:"shift,omitempty"`         // 0 or 1
	Unrotated bool    `cbor:"unrotated,omitempty" json:"unrotated,omitempty"` // only in blocks without a rotary embedding
}

// At returns the factor of the scores of the query at a position.
func (t *Temperature) At(position int) float64 {
	if t.Length == 0 {
		return 1
	}
	return 1 + float64(t.Beta*kernel.Log64(1+float64((position+t.Shift)/t.Length)))
}

// NoRope is the value of Attention.Rope for a block that does not rotate queries and
// keys (arXiv 2305.19466).
const NoRope = -1

// First returns the first position that a query at pos sees.
func (a Attention) First(pos int) int {
	first := 0
	if a.Window > 0 {
		first = max(0, pos+1-a.Window)
	}
	if a.Chunk > 0 {
		first = max(first, pos-pos%a.Chunk)
	}
	return first
}

// NormKind is the formula that normalizes a vector x with gains g and biases b.
type NormKind string

const (
	NormRMS    NormKind = ""       // x/rms(x) * g (arXiv 1910.07467)
	NormRMS1   NormKind = "rms1"   // x/rms(x) * (1+g); models store g, since rounding 1+g would lose bits
	NormLayer  NormKind = "layer"  // (x-mean(x))/std(x) * g + b (arXiv 1607.06450)
	NormGain   NormKind = "gain"   // NormLayer without b
	NormLayer1 NormKind = "layer1" // (x-mean(x))/std(x) * (1+g) + b
)

// Activation is the function inside the feed-forward layer.
type Activation string

const (
	SiLU     Activation = ""          // x/(1+exp(-x))
	GELUTanh Activation = "gelu-tanh" // GELU approximated by tanh (arXiv 1606.08415); gelu_new and gelu_pytorch_tanh
	GELU     Activation = "gelu"      // x/2 * (1+erf(x/sqrt 2)) (arXiv 1606.08415)
	ReLU     Activation = "relu"      // max(x, 0)
	ReLU2    Activation = "relu2"     // max(x, 0)^2 (arXiv 2109.08668)
	XIELU    Activation = "xielu"     // arXiv 2411.13010, with four numbers for each block; only if Ungated
)

// QKNorm is the normalization of the queries and keys (arXiv 2010.04245): of each head,
// before rotation unless Spec.QKRotated.
type QKNorm string

const (
	QKNone  QKNorm = ""
	QKGain  QKNorm = "gain"  // by Spec.Norm, with gains QNorm and KNorm, which all heads share
	QKBare  QKNorm = "bare"  // by RMSNorm without gains, only in blocks with a rotary embedding
	QKHead  QKNorm = "head"  // by Spec.Norm without biases, each head with its own part of QNorm or KNorm
	QKWide  QKNorm = "wide"  // by Spec.Norm, all heads together
	QKLayer QKNorm = "layer" // by LayerNorm, with gains and biases that all heads share
)

// Rope is the rotary position embedding of RoFormer (arXiv 2104.09864) in the
// half-split layout: it rotates dimensions i and i+HeadDim/2 as a pair.
type Rope struct {
	Base    float64     `cbor:"base" json:"base"`
	Scaling RopeScaling `cbor:"scaling" json:"scaling"`
	Dims    int         `cbor:"dims,omitempty" json:"dims,omitempty"`     // leading dimensions of a head that are rotated; 0 means all
	Pairs   bool        `cbor:"pairs,omitempty" json:"pairs,omitempty"`   // the pairs are dimensions 2i and 2i+1 instead
	Factor  float64     `cbor:"factor,omitempty" json:"factor,omitempty"` // RopeLinear, RopeLlama3 and RopeYarn
	// RopeLlama3 divides a frequency by Factor if its wavelength is longer than
	// Original/LowFreq positions, keeps it if its wavelength is shorter than
	// Original/HighFreq, and interpolates between the two. RopeYarn does the same, but
	// interpolates by the index of the frequency (YaRN, arXiv 2309.00071, section 3.2).
	LowFreq  float64 `cbor:"lowfreq,omitempty" json:"lowfreq,omitempty"`
	HighFreq float64 `cbor:"highfreq,omitempty" json:"highfreq,omitempty"`
	Original int     `cbor:"original,omitempty" json:"original,omitempty"`
	// Fractional means that RopeYarn does not round the indices between which it
	// interpolates outwards to whole numbers.
	Fractional bool `cbor:"fractional,omitempty" json:"fractional,omitempty"`
	// Factors, (Dims/2), are the divisors of the frequencies of RopeFactors (LongRoPE,
	// arXiv 2402.13753).
	Factors []float64 `cbor:"factors,omitempty" json:"factors,omitempty"`
	// Scale multiplies cosines and sines, and so the rotated dimensions of queries and
	// keys; 0 means 1.
	Scale float64 `cbor:"scale,omitempty" json:"scale,omitempty"`
}

// RopeScaling is the formula that adapts the rotary frequencies to a longer context.
type RopeScaling string

const (
	RopePlain   RopeScaling = ""
	RopeLinear  RopeScaling = "linear" // divides every frequency by Factor
	RopeLlama3  RopeScaling = "llama3"
	RopeYarn    RopeScaling = "yarn"
	RopeFactors RopeScaling = "factors" // divides each frequency by one of Factors
)

// Bias lists the linear layers that add a bias vector.
type Bias struct {
	QKV bool `cbor:"qkv" json:"qkv"` // query, key and value
	O   bool `cbor:"o" json:"o"`     // attention output
	FFN bool `cbor:"ffn" json:"ffn"` // gate, up and down

	Head bool `cbor:"head,omitempty" json:"head,omitempty"` // output head, tied or not
}

// InOrder returns the schedule of a model that runs n blocks in order, each of them
// repeat times in a row.
func InOrder(n, repeat int) []int {
	s := make([]int, 0, n*repeat)
	for b := range n {
		for range repeat {
			s = append(s, b)
		}
	}
	return s
}

// Check returns an error if s is inconsistent, unsupported or beyond the limits. The
// memory it allocates does not depend on s.
func (s *Spec) Check() error {
	for _, check := range []func() error{
		s.checkSizes, s.checkTokens, s.checkSchedule, s.checkAttention, s.checkDelta, s.checkBlocks, s.checkLayer, s.checkKinds, s.checkScales, s.checkRopes, s.checkExperts,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spec) checkSizes() error {
	for _, f := range []struct {
		name   string
		v, max int
	}{
		{"hidden", s.Hidden, MaxWidth}, {"heads", s.Heads, MaxHeads}, {"kv heads", s.KVHeads, MaxHeads},
		{"head dim", s.HeadDim, MaxWidth}, {"ffn", s.FFN, MaxWidth}, {"vocab", s.Vocab, MaxVocab},
		{"context", s.Context, MaxLength}, {"blocks", s.Blocks, MaxBlocks}, {"steps", len(s.Schedule), MaxSteps},
	} {
		if f.v < 1 || f.v > f.max {
			return fmt.Errorf("%s is %d, want 1 to %d", f.name, f.v, f.max)
		}
	}
	if err := s.checkHeads(); err != nil {
		return err
	}
	if !(s.NormEps >= 0 && s.NormEps < 1) {
		return fmt.Errorf("norm epsilon is %g, want 0 to 1", s.NormEps)
	}
	return nil
}

// checkHeads returns an error for heads that attention does not compute.
func (s *Spec) checkHeads() error {
	switch {
	case s.KVHeads > MaxHeads || s.HeadDim > MaxWidth:
		return fmt.Errorf("%d kv heads, %d wide", s.KVHeads, s.HeadDim)
	case s.Heads%s.KVHeads != 0:
		return fmt.Errorf("%d heads are not divisible by %d kv heads", s.Heads, s.KVHeads)
	case s.HeadDim%2 != 0:
		return fmt.Errorf("head dim %d is odd, rotary embedding needs pairs", s.HeadDim)
	case s.Heads*s.HeadDim > MaxWidth:
		return fmt.Errorf("%d heads of %d are wider than %d", s.Heads, s.HeadDim, MaxWidth)
	}
	return nil
}

func (s *Spec) checkTokens() error {
	if s.BOS < -1 || s.BOS >= s.Vocab {
		return fmt.Errorf("bos id %d is outside the vocabulary of %d", s.BOS, s.Vocab)
	}
	for _, id := range s.EOS {
		if id < 0 || id >= s.Vocab {
			return fmt.Errorf("eos id %d is outside the vocabulary of %d", id, s.Vocab)
		}
	}
	return nil
}

// checkKinds returns an error for a kind or a combination that the forward pass lacks.
func (s *Spec) checkKinds() error {
	switch {
	case !slices.Contains([]NormKind{NormRMS, NormRMS1, NormLayer, NormLayer1, NormGain}, s.Norm):
		return defect.Unsupported("norm", "%q", string(s.Norm))
	case !slices.Contains([]QKNorm{QKNone, QKGain, QKBare, QKHead, QKWide, QKLayer}, s.QKNorm):
		return defect.Unsupported("qknorm", "%q", string(s.QKNorm))
	case s.QKGains() && s.Norm.Biased() && s.QKNorm != QKHead && s.QKNorm != QKLayer:
		return defect.Unsupported("qknorm", "%q with norm %q", string(s.QKNorm), string(s.Norm))
	case s.QKRotated && s.QKNorm == QKNone:
		return defect.Unsupported("qkrotated", "without qknorm")
	case !slices.Contains([]Activation{SiLU, GELUTanh, GELU, ReLU, ReLU2, XIELU}, s.Activation) || s.Activation == XIELU && !s.Ungated:
		return defect.Unsupported("activation", "%q", string(s.Activation))
	case s.PostNorm && s.Parallel:
		return defect.Unsupported("postnorm", "the combination with parallel")
	case s.NoPreNorm && s.Parallel:
		return defect.Unsupported("noprenorm", "the combination with parallel")
	case s.OutScale && s.Parallel:
		return defect.Unsupported("outscale", "the combination with parallel")
	case s.TwoNorms && !s.Parallel:
		return defect.Unsupported("twonorms", "true without parallel")
	}
	return nil
}

func (s *Spec) checkScales() error {
	atLeast0 := func(x float64) bool { return x >= 0 && x < 1e30 }
	t := s.Temperature
	switch {
	case !atLeast0(s.EmbedScale) || !atLeast0(s.AttnScale):
		return fmt.Errorf("scales of embedding and attention are %g and %g, want positive numbers", s.EmbedScale, s.AttnScale)
	case !atLeast0(s.ResidScale) || !atLeast0(s.LogitScale):
		return fmt.Errorf("scales of layers and logits are %g and %g, want positive numbers", s.ResidScale, s.LogitScale)
	case !atLeast0(s.AttnCap) || !atLeast0(s.LogitCap):
		return fmt.Errorf("caps of attention scores and logits are %g and %g, want positive numbers", s.AttnCap, s.LogitCap)
	case !(s.Alibi >= 0 && s.Alibi <= maxAlibi):
		return fmt.Errorf("alibi is %g, want 0 to %d", s.Alibi, maxAlibi)
	case s.Positions != 0 && (s.Positions < s.Context || s.Positions > MaxLength):
		return fmt.Errorf("%d positions have an embedding, want one for each of a context of %d", s.Positions, s.Context)
	case t == Temperature{}:
		return nil
	case t.Length < 1 || t.Length > MaxLength || t.Shift < 0 || t.Shift > 1 || !atLeast0(t.Beta):
		return fmt.Errorf("attention temperature has beta %g, length %d and shift %d, want a positive number, 1 to %d, and 0 or 1", t.Beta, t.Length, t.Shift, MaxLength)
	}
	return nil
}

func (s *Spec) checkRopes() error {
	if len(s.Ropes) > MaxBlocks {
		return fmt.Errorf("%d additional ropes, want at most %d", len(s.Ropes), MaxBlocks)
	}
	dims, err := s.headsOfRopes()
	if err != nil {
		return err
	}
	for i := range s.Ropes {
		if err := s.Ropes[i].check(dims[1+i]); err != nil {
			return err
		}
	}
	return s.Rope.check(dims[0])
}

// checkSchedule returns an error unless every stored block runs, and the blocks run
// for the first time in the order in which they are stored.
func (s *Spec) checkSchedule() error {
	next := 0
	for step, b := range s.Schedule {
		switch {
		case b < 0 || b > next || b >= s.Blocks:
			return fmt.Errorf("step %d runs block %d, want at most %d", step, b, min(next, s.Blocks-1))
		case b == next:
			next++
		}
	}
	if next != s.Blocks {
		return fmt.Errorf("schedule runs %d of %d blocks", next, s.Blocks)
	}
	return nil
}

func (s *Spec) checkAttention() error {
	if n := len(s.Attention); n != 0 && n != s.Blocks {
		return fmt.Errorf("attention is given for %d of %d blocks", n, s.Blocks)
	}
	for b, a := range s.Attention {
		if a.Window < 0 || a.Window > MaxLength {
			return fmt.Errorf("window of block %d is %d, want 0 to %d", b, a.Window, MaxLength)
		}
		if a.Chunk < 0 || a.Chunk > MaxLength {
			return fmt.Errorf("chunk of block %d is %d, want 0 to %d", b, a.Chunk, MaxLength)
		}
		if a.Conv < 0 || a.Conv > MaxConv {
			return fmt.Errorf("convolution of block %d has %d positions, want 0 to %d", b, a.Conv, MaxConv)
		}
		if a.Conv > 0 && (s.Parallel || s.PostNorm) {
			return defect.Unsupported("conv", "the combination with parallel or postnorm")
		}
		if a.Rope < NoRope || a.Rope > len(s.Ropes) {
			return fmt.Errorf("block %d uses rope %d, want -1 to %d", b, a.Rope, len(s.Ropes))
		}
	}
	return nil
}

func (r *Rope) check(headDim int) error {
	positive := func(x float64) bool { return x > 0 && x < 1e30 }
	switch {
	case r.Dims < 0 || r.Dims > headDim || r.Dims%2 != 0:
		return fmt.Errorf("rope rotates %d dimensions, want an even number up to head dim %d", r.Dims, headDim)
	case !positive(r.Base):
		return fmt.Errorf("rope base is %g, want a positive number", r.Base)
	case r.Scale != 0 && !positive(r.Scale):
		return fmt.Errorf("rope scale is %g, want a positive number", r.Scale)
	case r.Scaling == RopeFactors:
		return r.checkFactors(headDim)
	case len(r.Factors) > 0:
		return fmt.Errorf("rope has factors, but its scaling is %q", string(r.Scaling))
	case r.Scaling == RopePlain:
		return nil
	case r.Scaling != RopeLinear && r.Scaling != RopeLlama3 && r.Scaling != RopeYarn:
		return defect.Unsupported("rope", "scaling %q", string(r.Scaling))
	case !positive(r.Factor):
		return fmt.Errorf("rope factor is %g, want a positive number", r.Factor)
	case r.Scaling == RopeLinear:
		return nil
	case !positive(r.LowFreq) || !positive(r.HighFreq) || r.HighFreq <= r.LowFreq:
		return fmt.Errorf("rope frequency factors are %g and %g, want 0 < low < high", r.LowFreq, r.HighFreq)
	case r.Original < 1 || r.Original > MaxLength:
		return fmt.Errorf("rope original length is %d, want 1 to %d", r.Original, MaxLength)
	}
	return nil
}

func (r *Rope) checkFactors(headDim int) error {
	if want := cmp.Or(r.Dims, headDim) / 2; len(r.Factors) != want {
		return fmt.Errorf("rope has %d factors, want one for each of %d frequencies", len(r.Factors), want)
	}
	for _, x := range r.Factors {
		if !(x > 0 && x <= 1e30) { // the largest, which llama.cpp uses too, leaves dimensions as they are
			return fmt.Errorf("a rope factor is %g, want a positive number", x)
		}
	}
	return nil
}

// AttentionOf returns the Attention of a block.
func (s *Spec) AttentionOf(block int) Attention {
	if len(s.Attention) == 0 {
		return Attention{}
	}
	return s.Attention[block]
}

// RopeOf returns the rotary embedding of a block, or nil if the block has none.
func (s *Spec) RopeOf(block int) *Rope {
	switch at := s.AttentionOf(block).Rope; {
	case at == NoRope:
		return nil
	case at > 0:
		return &s.Ropes[at-1]
	}
	return &s.Rope
}

// ScoreScale returns the factor of the attention scores: AttnScale, or its default.
func (s *Spec) ScoreScale() float64 {
	if s.AttnScale == 0 {
		return 1 / math.Sqrt(float64(s.HeadDim))
	}
	return s.AttnScale
}

// QKGains reports whether QKNorm has gains.
func (s *Spec) QKGains() bool { return s.QKNorm != QKNone && s.QKNorm != QKBare }

// Biased reports whether a norm of this kind has biases.
func (n NormKind) Biased() bool { return n == NormLayer || n == NormLayer1 }

// Centers reports whether the norms subtract the mean.
func (s *Spec) Centers() bool { return s.Norm.Biased() || s.Norm == NormGain }

// CountsFrom1 reports whether the factors of a norm of this kind are 1 more than its gains.
func (n NormKind) CountsFrom1() bool { return n == NormRMS1 || n == NormLayer1 }

// Shared reports whether some block runs more than once.
func (s *Spec) Shared() bool { return len(s.Schedule) != s.Blocks }

// Equal reports whether two specs describe the same computation.
func (s *Spec) Equal(t *Spec) bool {
	a, b := *s, *t
	a.Schedule, b.Schedule, a.EOS, b.EOS = nil, nil, nil, nil
	return slices.Equal(s.Schedule, t.Schedule) && slices.Equal(s.EOS, t.EOS) &&
		fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b)
}
