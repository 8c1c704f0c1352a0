package thimble

import (
	"context"

	"thimble/quantize"
	"thimble/quantize/order"
)

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
	q.m, q.guessed, err = order.Reordered(ctx, q.given, q.group)
	return err
}

// settleOrder puts the channels in the order for plan, of the recipe r that a budget has chosen:
// the order depends on the recipe alone, so that it can be reproduced.
func (q *quantization) settleOrder(ctx context.Context, r *Recipe, plan *quantize.Plan) (err error) {
	if q.group == 0 {
		return nil
	}
	switch group := order.GroupOf(q.given, r, plan); group {
	case q.group:
	case 0:
		q.m, q.given, q.group = q.given, nil, 0
	default:
		q.group = group
		err = q.reorder(ctx)
	}
	plan.Guessed = q.guessed
	return err
}
