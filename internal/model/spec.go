// Package model defines the types that converters, quantizers, containers and the
// verifier share: what a decoder computes (Spec), the canonical names and shapes of its
// tensors (Slot), and an opened model (Model).
package model

import (
	"fmt"
	"math"
	"slices"

	"thimble/internal/kernel"
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

	// Sinks means that the softmax of each head is over the scores of the keys and one more number,
	// Sinks of the head, whose share of attention goes to no value (gpt-oss; StreamingLLM, arXiv
	// 2309.17453, section 3, equation 2).
	Sinks bool `cbor:"sinks,omitempty" json:"sinks,omitempty"`

	// Parallel means that the feed-forward layer has the same input as attention and
	// no norm of its own (GPT-J; PaLM, arXiv 2204.02311, section 2).
	Parallel bool `cbor:"parallel,omitempty" json:"parallel,omitempty"`
	// TwoNorms, in a Parallel model, gives the feed-forward layer a norm of its own, of
	// the same residual stream that attention's norm reads (GPT-NeoX, arXiv 2204.06745).
	TwoNorms bool `cbor:"twonorms,omitempty" json:"twonorms,omitempty"`
	// Ungated means that the feed-forward layer is Down act(Up x), without a Gate.
	Ungated    bool       `cbor:"ungated,omitempty" json:"ungated,omitempty"`
	Activation Activation `cbor:"activation,omitempty" json:"activation,omitempty"`

	// Clamp has the numbers of the activation Clamped.
	Clamp Clamp `cbor:"clamp,omitzero" json:"clamp,omitzero"`

	// FFNs, if not empty, has the width inside the feed-forward layer of each block, instead
	// of FFN.
	FFNs []int `cbor:"ffns,omitempty" json:"ffns,omitempty"`
	// Layer gives each block an input besides the stream.
	Layer LayerInput `cbor:"layer,omitzero" json:"layer,omitzero"`
	// AltUp adds streams besides the one that attention and the feed-forward layer read, and
	// Laurel, if not 0, is the rank of a learned residual of attention.
	AltUp  AltUp `cbor:"altup,omitzero" json:"altup,omitzero"`
	Laurel int   `cbor:"laurel,omitempty" json:"laurel,omitempty"`
	// Sparsity, if not empty, has for each block the share of the gates that would be cut off
	// if they were normally distributed: the activation's input is max(g-c, 0), where c is that
	// quantile of the normal distribution with the mean and deviation of the gates of a position
	// (Gemma 3n; Spark Transformer, arXiv 2506.06644). 0 means that it is g.
	Sparsity []float64 `cbor:"sparsity,omitempty" json:"sparsity,omitempty"`
	// OutScale means that each block multiplies the stream, at its end, by a number.
	OutScale bool `cbor:"outscale,omitempty" json:"outscale,omitempty"`

	Experts Experts `cbor:"experts,omitzero" json:"experts,omitzero"`
	Delta   Delta   `cbor:"delta,omitzero" json:"delta,omitzero"`
	Scan    Scan    `cbor:"scan,omitzero" json:"scan,omitzero"`
	Scales  Scales  `cbor:"scales,omitzero" json:"scales,omitzero"`
	Latent  Latent  `cbor:"latent,omitzero" json:"latent,omitzero"`
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
	// Scan, if not 0, means that the block has a state space layer after a convolution over
	// this many positions, instead of attention. If Beside, it has attention, too: both have
	// the same input, and their outputs are added (Falcon-H1, arXiv 2507.22448).
	Scan   int  `cbor:"scan,omitempty" json:"scan,omitempty"`
	Beside bool `cbor:"beside,omitempty" json:"beside,omitempty"`
	// Alone means that the block has no feed-forward layer, and Absent that it has nothing else
	// (Nemotron-H, arXiv 2504.03624).
	Alone  bool `cbor:"alone,omitempty" json:"alone,omitempty"`
	Absent bool `cbor:"absent,omitempty" json:"absent,omitempty"`
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
	SiLU     Activation = ""               // x/(1+exp(-x))
	GELUTanh Activation = "gelu-tanh"      // GELU approximated by tanh (arXiv 1606.08415); gelu_new and gelu_pytorch_tanh
	GELU     Activation = "gelu"           // x/2 * (1+erf(x/sqrt 2)) (arXiv 1606.08415)
	ReLU     Activation = "relu"           // max(x, 0)
	ReLU2    Activation = "relu2"          // max(x, 0)^2 (arXiv 2109.08668)
	Clamped  Activation = "clamped-swiglu" // see Clamp; not if Ungated
	XIELU    Activation = "xielu"          // arXiv 2411.13010, with four numbers for each block; only if Ungated
)

// A Clamp bounds what is inside the feed-forward layer (gpt-oss). Of a gate g and u of Up the
// layer makes g' sigmoid(Alpha g') (u' + 1), where g' is g, at most Limit, and u' is u, at most
// Limit and at least -Limit.
type Clamp struct {
	Alpha float64 `cbor:"alpha" json:"alpha"`
	Limit float64 `cbor:"limit" json:"limit"`
}

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

// Bias lists the linear layers that add a bias vector.
type Bias struct {
	QKV bool `cbor:"qkv" json:"qkv"` // query, key and value, or instead LatentQ and LatentKV
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

// AttentionOf returns the Attention of a block.
func (s *Spec) AttentionOf(block int) Attention {
	if len(s.Attention) == 0 {
		return Attention{}
	}
	return s.Attention[block]
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
