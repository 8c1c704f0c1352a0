package model

import (
	"fmt"
	"strconv"
	"strings"

	"thimble/internal/defect"
)

// An AltUp makes the stream that blocks read and write one of several, the active one (alternating
// updates, arXiv 2301.13310; Gemma 3n). With n streams x_0, ..., x_(n-1), of which x_0 is active,
// and r(x) = tanh(AltUpRouter norm(x) / Hidden), a block predicts its streams, computes on the
// active one, and corrects all by what the active one then lacks:
//
//	p_i = x_i + sum_j P_ij x_j,      P = AltUpPredict r(x_0), (n, n)
//	x_i = p_i + (1 + C_i) (y - p_0), C = AltUpCorrect r(y), (n)
//
// where y is what attention and the feed-forward layer make of p_0. What a block then computes for
// the token (LayerInput) it reads from x_0 * AltUpScale and adds to the other streams only.
//
// Before the first block, the streams are the embedding e and AltUpIn_i e, with the root mean
// square of e; after the last, the stream is the mean of x_0 and AltUpOut_i x_i, with the root
// mean square of x_0. The zero value is a single stream.
type AltUp struct {
	Streams int  `cbor:"streams" json:"streams"`                   // at least 2
	Scaled  bool `cbor:"scaled,omitempty" json:"scaled,omitempty"` // there is an AltUpScale
}

// MaxStreams is the largest number of streams of an AltUp.
const MaxStreams = 8

// Names of the tensors of an AltUp. The coefficients and what they are computed from are not
// quantized: they are few, and an error in them reaches every channel.
const (
	AltUpNorm    = "altup_norm"    // (1, Hidden)
	AltUpRouter  = "altup_router"  // (Streams, Hidden)
	AltUpPredict = "altup_predict" // (Streams*Streams, Streams)
	AltUpCorrect = "altup_correct" // (Streams, Streams)
	AltUpScale   = "altup_scale"   // (1, Hidden), if Scaled

	altUpIn  = "altup_in"  // (Hidden, Hidden), one for each stream from 1 on: in the first block only
	altUpOut = "altup_out" // (Hidden, Hidden), likewise: in the last block only
)

// Names of activations of an AltUp and a Laurel.
const (
	AltUpRoute     = "altup_route"     // (Streams), r
	AltUpPredicted = "altup_predicted" // (Hidden), p_0
	AltUpCorrected = "altup_corrected" // (Hidden), x_0 at the end of the block
	AltUpMerged    = "altup_merged"    // (Hidden), the stream after the last block
	LaurelSum      = "laurel_sum"      // (Hidden), the stream after the Laurel
)

// Names of the tensors of a Laurel of rank n, a learned residual (LAuReL, arXiv 2411.07501,
// section 2.2): with h the input of attention, the stream x after attention becomes
//
//	(x + h + norm(LaurelRight LaurelLeft h)) / sqrt(2)
const (
	LaurelLeft  = "laurel_left"  // (n, Hidden)
	LaurelRight = "laurel_right" // (Hidden, n)
	LaurelNorm  = "laurel_norm"  // (1, Hidden)
)

// AltUpIn returns the kind of the matrix that makes stream i, which is at least 1, before the
// first block.
func AltUpIn(i int) string { return altUpIn + strconv.Itoa(i) }

// AltUpOut returns the kind of the matrix that reads stream i after the last block.
func AltUpOut(i int) string { return altUpOut + strconv.Itoa(i) }

// Stream returns the name of stream i as an activation, (Hidden); i is at least 1.
func Stream(i int) string { return "stream" + strconv.Itoa(i) }

// OtherStreams returns the names that of gives to the streams other than the active one.
func (s *Spec) OtherStreams(of func(i int) string) (all []string) {
	for i := 1; i < s.AltUp.Streams; i++ {
		all = append(all, of(i))
	}
	return all
}

// again ends the names of activations that a tensor writes when a block uses it a second time.
const again = ".again"

// Again returns the name of the activation that the tensor of a kind writes when a block uses it a
// second time.
func Again(kind string) string { return kind + again }

// TensorOf returns the kind of the tensor that writes an activation, if one does.
func TensorOf(activation string) string { return strings.TrimSuffix(activation, again) }

// altUpSlots calls vector, matrix and linear for the tensors of an AltUp in block b; those of
// matrix are not quantized.
func (s *Spec) altUpSlots(b int, vector func(kind string, n int), matrix, linear func(kind string, rows, cols int)) {
	n := s.AltUp.Streams
	if n == 0 {
		return
	}
	if b == 0 {
		for _, kind := range s.OtherStreams(AltUpIn) {
			linear(kind, s.Hidden, s.Hidden)
		}
	}
	vector(AltUpNorm, s.Hidden)
	matrix(AltUpRouter, n, s.Hidden)
	matrix(AltUpPredict, n*n, n)
	matrix(AltUpCorrect, n, n)
	if s.AltUp.Scaled {
		vector(AltUpScale, s.Hidden)
	}
	if b == s.Blocks-1 {
		for _, kind := range s.OtherStreams(AltUpOut) {
			linear(kind, s.Hidden, s.Hidden)
		}
	}
}

func (s *Spec) checkAltUp() error {
	a := s.AltUp
	switch {
	case a == AltUp{}:
		return nil
	case a.Streams < 2 || a.Streams > MaxStreams:
		return fmt.Errorf("%d streams, want 2 to %d", a.Streams, MaxStreams)
	case s.Layer.Width == 0 || s.EmbedNorm || s.OutScale || s.Norm.CountsFrom1():
		return defect.Unsupported("altup", "without an input of each layer, or with a norm of embeddings, factors of the blocks' outputs, or gains stored minus 1")
	}
	return nil
}

func (s *Spec) checkLaurel() error {
	switch {
	case s.Laurel == 0:
		return nil
	case s.Laurel < 0 || s.Laurel > MaxWidth:
		return fmt.Errorf("the rank of the learned residual is %d, want up to %d", s.Laurel, MaxWidth)
	case s.NoPreNorm || s.Parallel || s.Norm.Biased():
		return defect.Unsupported("laurel", "without a norm before attention, with norms with biases, or with attention and feed-forward in parallel")
	}
	return nil
}

// checkSparsity returns an error for shares that are none.
func (s *Spec) checkSparsity() error {
	if n := len(s.Sparsity); n != 0 && n != s.Blocks {
		return fmt.Errorf("sparsity is given for %d of %d blocks", n, s.Blocks)
	}
	for b, share := range s.Sparsity {
		if !(share >= 0 && share < 1) {
			return fmt.Errorf("sparsity of block %d is %g, want 0 to less than 1", b, share)
		}
	}
	if len(s.Sparsity) > 0 && (s.Ungated || s.Experts.Count > 0) {
		return defect.Unsupported("sparsity", "without a gate or with experts")
	}
	return nil
}

// SparsityOf returns the Sparsity of a block.
func (s *Spec) SparsityOf(block int) float64 {
	if len(s.Sparsity) == 0 {
		return 0
	}
	return s.Sparsity[block]
}

// sparsityNote describes the blocks with a Sparsity.
func sparsityNote(s *Spec) string {
	n := 0
	for _, share := range s.Sparsity {
		if share > 0 {
			n++
		}
	}
	return noteIf(n > 0, fmt.Sprintf("sparse gates (%d of %d blocks)", n, s.Blocks))
}
