package main

import (
	"context"
	"encoding/hex"

	"thimble/internal/model"
	"thimble/internal/transformer"
	"thimble/verify"
)

// A subject lets the verifier score prompts with a decoder.
type subject struct {
	decoder *transformer.Decoder
	vocab   int
	perStep int // prompt tokens fed at a time
}

// atOnce bounds the activations of a long prompt; results do not depend on it.
const atOnce = 512

// newSubject prepares m for scoring; decode feeds prompts token by token.
func newSubject(m *model.Model, decode bool) (*subject, error) {
	d, err := transformer.New(m)
	if err != nil {
		return nil, err
	}
	s := &subject{d, m.Spec.Vocab, atOnce}
	if decode {
		s.perStep = 1
	}
	return s, nil
}

func (s *subject) Vocab() int { return s.vocab }

func (s *subject) Score(ctx context.Context, ids []int) (verify.Logits, error) {
	cache, err := s.decoder.NewCache(len(ids))
	if err != nil {
		return nil, err
	}
	var all scored
	for len(ids) > 0 {
		n := min(s.perStep, len(ids))
		h, err := s.decoder.Forward(ctx, cache, ids[:n])
		if err != nil {
			return nil, err
		}
		all = append(all, h)
		ids = ids[n:]
	}
	return all, nil
}

// scored is the hidden states of a prompt, piece by piece.
type scored []*transformer.Hidden

func (s scored) Rows(ctx context.Context, dst []float32, from, n int) error {
	if n == 0 {
		return nil
	}
	vocab := len(dst) / n
	for _, h := range s {
		if from >= h.Len() {
			from -= h.Len()
			continue
		}
		k := min(n, h.Len()-from)
		if err := h.Logits(ctx, dst[:k*vocab], from, k); err != nil {
			return err
		}
		dst, n, from = dst[k*vocab:], n-k, 0
		if n == 0 {
			break
		}
	}
	return nil
}

// identity describes the model that a report is about. A model of several files
// is known by its largest, the weights.
// progress may be nil.
func identity(ctx context.Context, m *model.Model, progress *meter) (verify.ModelInfo, error) {
	weights, bytes := m.Size()
	info := verify.ModelInfo{Path: m.Path, BitsPerWeight: 8 * float64(bytes) / float64(weights)}
	sources, err := hashFiles(ctx, m.Files, progress)
	largest := int64(-1)
	for _, s := range sources {
		info.Bytes += s.Bytes
		if s.Bytes > largest {
			largest, info.SHA256 = s.Bytes, hex.EncodeToString(s.SHA256)
		}
	}
	return info, err
}
