package verify

import (
	"thimble/internal/kernel"
	"thimble/internal/memory"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
	"thimble/verify/noise"
	"thimble/verify/reference"
)

// Fits returns an error unless a run with options o of m on prompts, against source if that is
// not nil, can do with the bound on memory, in bytes; 0 is no bound. attribute tells whether
// Attribute follows.
func Fits(bound int64, m, source *Model, prompts []reference.Prompt, o *Options, attribute bool) error {
	if bound == 0 {
		return nil
	}
	return memory.Check(bound, memory.Live()+demand(m, source, prompts, o, attribute))
}

// heldPositions is the number of positions of each model whose final states a run may hold,
// besides those of a prompt.
const heldPositions = 4096

// demand returns the bytes that a run takes besides what is live now.
func demand(m, source *Model, prompts []reference.Prompt, o *Options, attribute bool) int64 {
	longest := 0
	for _, p := range prompts {
		longest = max(longest, len(p.IDs))
	}
	if o.Behaviour != nil {
		longest = max(longest, m.Spec.Context)
	}
	models := []*Model{m}
	if source != nil {
		models = append(models, source)
	}
	var scoring, running int64
	for _, x := range models {
		s := &x.Spec
		each, _ := s.Footprint()
		running = max(running, each)
		cache := int64(0) // of a position
		for _, block := range s.Schedule {
			t := s.Of(block)
			cache += 4 * int64(kernel.Padded(t.HeadDim)+t.HeadDim) * int64(t.KVHeads)
		}
		held := 4 * int64(kernel.Padded(s.Hidden)) * int64(heldPositions+longest)
		if attribute {
			held += attributed
		}
		scoring += each*int64(min(longest, transformer.AtOnce)) + cache*int64(longest) + held + 4*blockRows*int64(s.Vocab)
	}
	scoring += 16 * int64(m.Spec.Vocab) * int64(parallel.Workers()) // of a position, in float64
	if o.Gates == nil && len(prompts) > 0 && noise.Rounds(m) {
		scoring += integerBytes(m) // a copy with noise
	}
	profile := 4*running*ProfilePositions + 4*4*16*int64(m.Spec.Vocab)
	if source == nil {
		profile = 0
	}
	return max(scoring, profile)
}

// attributed is the number of bytes of final states that Attribute keeps of a model.
const attributed = 256 << 20

// integerBytes returns the bytes of the matrices that m stores as integers.
func integerBytes(m *model.Model) (n int64) {
	for _, w := range m.Tensors {
		if !w.Scheme.Float() {
			n += w.Bytes()
		}
	}
	return n
}
