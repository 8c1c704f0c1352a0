package verify

import (
	"context"

	"thimble/internal/model"
)

// A Divergence is the first operation whose own error is more than rounding
// explains: where two models part.
type Divergence struct {
	Step      int     `json:"step"`      // as in Layer
	Block     int     `json:"block"`     // likewise
	Operation string  `json:"operation"` // likewise
	Tensor    string  `json:"tensor"`    // likewise
	Prompt    int     `json:"prompt"`    // where the error is largest, in the channel that says most
	Token     int     `json:"token"`     // the position in the prompt
	Channel   int     `json:"channel"`
	Added     float64 `json:"added_error"`
	Inherited float64 `json:"inherited_error"`
	Expected  float64 `json:"expected_error"`
	Excess    float64 `json:"excess"` // how many times the limit the error is
	Cause     string  `json:"cause"`  // in a line
}

// Locate runs ids through both models in float32 and returns where they part, nil
// if nowhere. The models must have the same widths.
func Locate(ctx context.Context, reference, subject *model.Model, ids []int) (*Divergence, error) {
	p, err := Compare(ctx, reference, subject, Arithmetic{}, [][]int{ids}, true)
	if err != nil {
		return nil, err
	}
	return p.Divergence, nil
}

// A Profile is how far two models are apart at each operation.
type Profile struct {
	Layers     []Layer
	Divergence *Divergence // nil if there is none
	Worst      float64     // the largest added error as a multiple of its limit
	Closest    string      // which operation that is
	Unseen     []string    // what the Specs say differently, without a divergence
	Drawn      bool        // a report is to show Layers
}

// Compare carries texts through both models, the reference in float32 and the
// model in an arithmetic, and compares them at each operation. It ends at the
// first divergence if first asks for that. It holds the activations of one block
// for all texts together, so a few hundred positions are enough.
func Compare(ctx context.Context, reference, subject *model.Model, a Arithmetic, texts [][]int, first bool) (*Profile, error) {
	l, err := newLockstep(reference, subject, a, texts)
	if err != nil {
		return nil, err
	}
	p := &Profile{}
	err = l.walk(ctx, func(d *deviation) bool {
		p.Layers = append(p.Layers, d.Layer)
		times, channel := d.excess()
		if times > p.Worst {
			p.Worst, p.Closest = times, d.place()
		}
		if times <= 1 || p.Divergence != nil {
			return false
		}
		p.Divergence = d.divergence(times, channel)
		return first
	})
	if err != nil {
		return nil, err
	}
	if p.Divergence == nil {
		p.Unseen = unseenSettings(&reference.Spec, &subject.Spec, p.Layers)
		return p, nil
	}
	p.Divergence.Cause, err = diagnose(ctx, reference, subject, p.Divergence)
	return p, err
}

func (d *deviation) divergence(times float64, channel int) *Divergence {
	text, position := d.lock.place(d.at[channel])
	return &Divergence{
		Step: d.Step, Block: d.Block, Operation: d.Operation, Tensor: d.Tensor, Prompt: text, Token: position, Channel: channel,
		Added: float64(d.Added), Inherited: float64(d.Inherited), Expected: float64(d.Expected), Excess: times,
	}
}
