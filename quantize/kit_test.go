package quantize

import (
	"context"
	"slices"
	"testing"

	"thimble/internal/model"
	"thimble/quantize/quantizetest"
	"thimble/quantize/rounding"
)

func TestRTN(t *testing.T)  { quantizetest.Run(t, kitTarget(t, rounding.MethodRTN)) }
func TestGPTQ(t *testing.T) { quantizetest.Run(t, kitTarget(t, rounding.MethodGPTQ)) }

// kitTarget is a registered method as the kit sees it.
func kitTarget(t *testing.T, name string) quantizetest.Target {
	m := chosen(t, name)
	in := rounding.Even(1)
	return quantizetest.Target{
		NeedsTexts: rounding.NeedsTexts(name),
		Quantize: func(ctx context.Context, dst, src *Matrix, inputs [][]float32) error {
			switch {
			case len(in.Power) == src.Cols:
			case inputs == nil:
				in = rounding.Even(src.Cols)
			default:
				x := rounding.Positions{N: len(inputs), Row: func(i int) []float32 { return inputs[i] }}
				moments, err := rounding.MomentsOf(ctx, x, slices.Repeat([]float32{1}, len(inputs)))
				if err != nil {
					return err
				}
				if in, err = rounding.NewInput(ctx, moments, rounding.Damping); err != nil {
					return err
				}
			}
			return m.Round(ctx, dst, src, in)
		},
		QuantizeModel: func(ctx context.Context, model *model.Model, s Scheme) error {
			recipe, texts := &Recipe{Scheme: s.String(), Method: name}, (*Calibration)(nil)
			if rounding.NeedsTexts(name) {
				recipe.Texts, texts = &Texts{}, randomTexts(4, 40, model.Spec.Vocab)
			}
			p, err := NewPlan(model, recipe)
			if err != nil {
				return err
			}
			return Run(ctx, model, p, texts, new(discard), nil)
		},
	}
}
