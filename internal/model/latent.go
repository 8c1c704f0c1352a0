package model

import (
	"fmt"

	"thimble/internal/defect"
)

// Latent describes multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1):
// the keys and values of all heads are products of a short vector, and so may the queries be.
//
//	q = Q norm(LatentQ x), or Q x
//	c, r = LatentKV x
//	k = K norm(c), v = V norm(c)
//
// The last Rope.Dims of the HeadDim dimensions of a query are rotated, and no others. The key of
// a head is its part of k followed by the rotated r, which all heads share. The zero value means
// that there is none.
type Latent struct {
	Query    int `cbor:"query,omitempty" json:"query,omitempty"` // width of LatentQ x; 0 if Q reads x
	KeyValue int `cbor:"keyvalue" json:"keyvalue"`               // width of c
	Value    int `cbor:"value" json:"value"`                     // width of a head of the values

	Eps float64 `cbor:"eps" json:"eps"` // of the two norms, which are RMSNorm
}

// Kinds of the tensors that Latent adds to a block. Q, K and V have as many columns as the
// vector that they read has dimensions, K has rows for the dimensions that are not rotated, and
// V and O have heads of Latent.Value.
const (
	LatentQ      = "q_a"       // (Latent.Query, Hidden), if that is not 0
	LatentQNorm  = "q_a_norm"  // (1, Latent.Query)
	LatentKV     = "kv_a"      // (Latent.KeyValue + Rope.Dims, Hidden)
	LatentKVNorm = "kv_a_norm" // (1, Latent.KeyValue)
)

// IsLatent reports whether the model has latent attention.
func (s *Spec) IsLatent() bool { return s.Latent.KeyValue > 0 }

// ValueDim returns the width of a head of the values.
func (s *Spec) ValueDim() int {
	if s.IsLatent() {
		return s.Latent.Value
	}
	return s.HeadDim
}

// KeyRows returns the rows of K for one head.
func (s *Spec) KeyRows() int {
	if s.IsLatent() {
		return s.HeadDim - s.Rope.Dims
	}
	return s.HeadDim
}

// A Rotary says which rows of a linear layer the rotary embedding rotates: in each Head rows, Dims
// from First on.
type Rotary struct{ Head, First, Dims int }

// RotaryRows returns the rows of a linear layer of a block that are rotated. Dims is 0 if none is.
func (s *Spec) RotaryRows(block int, kind string) Rotary {
	r, sized := s.RopeOf(block), s.Of(block)
	if r == nil {
		return Rotary{}
	}
	dims := r.Dims
	if dims == 0 {
		dims = sized.HeadDim
	}
	l := s.Latent
	switch {
	case kind == Q && s.IsLatent():
		return Rotary{sized.HeadDim, sized.HeadDim - dims, dims}
	case kind == LatentKV:
		return Rotary{l.KeyValue + dims, l.KeyValue, dims}
	case kind == Q, kind == K && !s.IsLatent():
		return Rotary{sized.HeadDim, 0, dims}
	}
	return Rotary{}
}

// latentSlots calls vector and linear for the tensors of latent attention, up to V.
func (s *Spec) latentSlots(vector func(kind string, n int), linear func(kind string, rows, cols int)) {
	l, read := s.Latent, s.Hidden
	if l.Query > 0 {
		read = l.Query
		linear(LatentQ, l.Query, s.Hidden)
		vector(LatentQNorm, l.Query)
	}
	linear(Q, s.Heads*s.HeadDim, read)
	linear(LatentKV, l.KeyValue+s.Rope.Dims, s.Hidden)
	vector(LatentKVNorm, l.KeyValue)
	linear(K, s.KVHeads*s.KeyRows(), l.KeyValue)
	linear(V, s.KVHeads*l.Value, l.KeyValue)
}

// checkLatent returns an error for latent attention that the forward pass does not compute.
func (s *Spec) checkLatent() error {
	l := s.Latent
	if l == (Latent{}) {
		return nil
	}
	for _, f := range []struct {
		name  string
		v, of int
	}{{"latent vector of keys and values", l.KeyValue, 1}, {"latent vector of queries", l.Query, 0}, {"head of the values", l.Value, 1}} {
		if f.v < f.of || f.v > MaxWidth {
			return fmt.Errorf("the %s is %d wide, want %d to %d", f.name, f.v, f.of, MaxWidth)
		}
	}
	switch {
	case s.Heads*l.Value > MaxWidth:
		return fmt.Errorf("%d heads of values of %d are wider than %d", s.Heads, l.Value, MaxWidth)
	case s.KVHeads != s.Heads:
		return defect.Unsupported("latent", "%d key heads for %d heads", s.KVHeads, s.Heads)
	case s.Rope.Dims < 2 || s.Rope.Dims >= s.HeadDim:
		return fmt.Errorf("%d of the %d dimensions of a head with a latent are rotated, want at least two and not all", s.Rope.Dims, s.HeadDim)
	case !(l.Eps >= 0 && l.Eps < 1):
		return fmt.Errorf("epsilon of the norms of latents is %g, want 0 to 1", l.Eps)
	case s.Norm != NormRMS || s.QKNorm != QKNone || s.VNorm || s.AttnGate || s.Sinks || len(s.Ropes) > 0:
		return defect.Unsupported("latent", "with other norms, gates, sinks or several rotary embeddings")
	}
	for _, a := range s.Attention {
		if (a != Attention{Window: a.Window, Chunk: a.Chunk}) {
			return defect.Unsupported("latent", "with blocks of other attention")
		}
	}
	return nil
}

// latentNote describes latent attention.
func latentNote(s *Spec) string {
	l := s.Latent
	text := fmt.Sprintf("latent attention of rank %d for keys and values", l.KeyValue)
	if l.Query > 0 {
		text += fmt.Sprintf(", %d for queries", l.Query)
	}
	return noteIf(s.IsLatent(), text)
}
