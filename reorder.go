package thimble

import (
	"context"

	"thimble/internal/model"
	"thimble/quantize"
	"thimble/quantize/order"
	"thimble/quantize/rounding"
)

// reordered returns m with its channels in an order for groups of the given number of columns.
// Without texts, c is nil.
func reordered(ctx context.Context, m *model.Model, c *quantize.Calibration, group int) (*model.Model, error) {
	channels, err := order.Channels(ctx, m, c, group)
	if err != nil {
		return nil, err
	}
	return m.Reordered(channels), nil
}

// expectOrder prepares q for the order that reorder finds, unless group is 0.
func (q *quantization) expectOrder(group int) {
	if group > 0 {
		q.given, q.m, q.group = q.m, order.Expected(q.m), group
	}
}

// reorder puts the channels of q.m in order, unless the run reads no weights.
func (q *quantization) reorder(ctx context.Context) (err error) {
	if q.group == 0 || q.Output == "" && q.Budget == nil {
		return nil
	}
	var texts *quantize.Calibration
	if rounding.NeedsTexts(q.recipe.Method) {
		texts = q.cal.Calibration
	}
	q.m, err = reordered(ctx, q.given, texts, q.group)
	return err
}

// settleOrder puts the channels in the order for plan, of the recipe r that a budget has chosen:
// the order depends on the recipe alone, so that it can be reproduced.
func (q *quantization) settleOrder(ctx context.Context, r *Recipe, plan *quantize.Plan) error {
	if q.group == 0 {
		return nil
	}
	switch group := order.GroupOf(q.given, r, plan); group {
	case q.group:
	case 0:
		q.m, q.given, q.group = q.given, nil, 0
	default:
		q.group = group
		return q.reorder(ctx)
	}
	return nil
}
