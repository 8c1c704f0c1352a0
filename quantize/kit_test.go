package quantize

import (
	"context"
	"testing"

	"thimble/internal/model"
	"thimble/quantize/quantizetest"
)

func TestRTN(t *testing.T)  { quantizetest.Run(t, kitTarget(t, MethodRTN)) }
func TestGPTQ(t *testing.T) { quantizetest.Run(t, kitTarget(t, MethodGPTQ)) }

// kitTarget is a registered method as the kit sees it.
func kitTarget(t *testing.T, name string) quantizetest.Target {
	m := chosen(t, name)
	in := even(1)
	return quantizetest.Target{
		NeedsTexts: m.needsTexts,
		Quantize: func(ctx context.Context, dst, src *Matrix, inputs [][]float32) error {
			switch {
			case len(in.power) == src.Cols:
			case inputs == nil:
				in = even(src.Cols)
			default:
				moments, err := momentsOf(ctx, rowsAt(inputs), ones(len(inputs)))
				if err != nil {
					return err
				}
				if in, err = newInput(ctx, moments, damping); err != nil {
					return err
				}
			}
			return m.round(ctx, dst, src, in)
		},
		QuantizeModel: func(ctx context.Context, model *model.Model, s Scheme) error {
			recipe, texts := &Recipe{Scheme: s.String(), Method: name}, (*Calibration)(nil)
			if m.needsTexts {
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
