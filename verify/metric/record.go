package metric

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
)

// A storedScore is a Score in the form in which AppendScores writes it, little-endian. A
// Sample follows if there is one.
type storedScore struct {
	KL, Spare, Hidden, MaxAbs, Cosine, NLL, RefNLL float64
	Rounding                                       Rounding
	Count                                          int64 // of Logits
	Mean, Squares                                  float64
	Reference, Model                               storedChoice
	Sampled, Partial, Top1, Top5                   bool
}

type storedChoice struct {
	ID                 int64
	PReference, PModel float64
}

func (c *Choice) stored() storedChoice {
	return storedChoice{int64(c.ID), float64(c.PReference), float64(c.PModel)}
}

func (c *storedChoice) choice() Choice {
	return Choice{ID: int(c.ID), PReference: Value(c.PReference), PModel: Value(c.PModel)}
}

// AppendScores appends scores to b, so that ParseScores reads the same bits. The texts of
// choices are left out.
func AppendScores(b []byte, scores []Score) []byte {
	buf := bytes.NewBuffer(b)
	put := func(v any) { _ = binary.Write(buf, binary.LittleEndian, v) } // a Buffer takes everything
	for i := range scores {
		s := &scores[i]
		put(&storedScore{
			KL: s.KL, Spare: s.Spare, Hidden: s.Hidden, MaxAbs: s.MaxAbs, Cosine: s.Cosine, NLL: s.NLL, RefNLL: s.RefNLL,
			Rounding: s.Rounding, Count: int64(s.Logits.n), Mean: s.Logits.mean, Squares: s.Logits.m2,
			Reference: s.Reference.stored(), Model: s.Model.stored(), Sampled: s.Sample != nil, Partial: s.Partial, Top1: s.Top1, Top5: s.Top5,
		})
		if s.Sample != nil {
			put(&s.Sample.low)
			put(&s.Sample.high)
		}
	}
	return buf.Bytes()
}

// ParseScores reads n scores of a vocabulary, which take all of b.
func ParseScores(b []byte, n, vocab int) ([]Score, error) {
	errCut := errors.New("has another number of scores")
	each := binary.Size(storedScore{})
	if n < 0 || n > len(b)/each {
		return nil, errCut
	}
	r := bytes.NewReader(b)
	scores := make([]Score, n)
	for i := range scores {
		var x storedScore
		if binary.Read(r, binary.LittleEndian, &x) != nil {
			return nil, errCut
		}
		for _, id := range []int64{x.Reference.ID, x.Model.ID} {
			if id < 0 || id >= int64(vocab) {
				return nil, errors.New("has a token outside the vocabulary")
			}
		}
		if x.Count < 0 || x.Count > math.MaxInt32 {
			return nil, errors.New("has no number of logits")
		}
		scores[i] = Score{
			KL: x.KL, Spare: x.Spare, Hidden: x.Hidden, MaxAbs: x.MaxAbs, Cosine: x.Cosine, NLL: x.NLL, RefNLL: x.RefNLL,
			Rounding: x.Rounding, Logits: Moments{int(x.Count), x.Mean, x.Squares},
			Reference: x.Reference.choice(), Model: x.Model.choice(), Partial: x.Partial, Top1: x.Top1, Top5: x.Top5,
		}
		if x.Sampled {
			s := new(Sample)
			if binary.Read(r, binary.LittleEndian, &s.low) != nil || binary.Read(r, binary.LittleEndian, &s.high) != nil {
				return nil, errCut
			}
			scores[i].Sample = s
		}
	}
	if r.Len() > 0 {
		return nil, errCut
	}
	return scores, nil
}
