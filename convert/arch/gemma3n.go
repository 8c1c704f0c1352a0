package arch

import (
	"slices"
	"strconv"

	"thimble/convert/config"
	"thimble/internal/model"
)

func init() { register("gemma3n_text", Architecture{gemma3nSpec, gemma3nNames}) }

// gemma3nSpec reads the config of Gemma 3n's text models: the blocks of Gemma 3, with gains stored
// as they are and normalized values; further streams and a learned residual; an input of each
// layer; gates that are cut off in some blocks; and last blocks that attend to the keys and values
// of earlier ones.
func gemma3nSpec(c *config.Config) model.Spec {
	widths := feedForwards(c)
	s := gemmaSpec(c)
	s.Norm, s.AttnScale = model.NormRMS, 1
	s.QKNorm, s.VNorm, s.PostNorm, s.Activation = model.QKGain, true, true, activation(c, "hidden_activation", "gelu_pytorch_tanh")
	s.LogitCap = c.Float("final_logit_softcapping", 0)
	setWidths(c, &s, widths)

	isLocal := layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return (b+1)%5 != 0 })
	s.Attention = make([]model.Attention, s.Blocks)
	setWindow(&s, slidingWindow(c), isLocal)
	shareKeys(c, &s, isLocal)
	gemma3Ropes(c, &s, isLocal)
	layerInput(c, &s)
	c.Must("altup_active_idx", 0.0)
	s.AltUp = model.AltUp{Streams: c.Int("altup_num_inputs", model.MaxStreams), Scaled: c.Bool("altup_correct_scale", true)}
	s.Laurel = c.Int("laurel_rank", model.MaxWidth)
	s.Sparsity = sparsity(c, s.Blocks)
	c.Inert("altup_coef_clip", "gradient_clipping") // in training, and of images and sound
	return s
}

// feedForwards reads the widths of the feed-forward layers of all blocks, if the config lists
// them, and leaves the first as that of the model.
func feedForwards(c *config.Config) []int {
	const key = "intermediate_size"
	list, ok := c.Given(key).([]any)
	if !ok {
		return nil
	}
	widths := c.Counts(key, "widths of feed-forward layers")
	c.Values[key] = list[0]
	return widths
}

// setWidths sets the widths of feed-forward layers that feedForwards returned.
func setWidths(c *config.Config, s *model.Spec, widths []int) {
	switch {
	case widths == nil:
	case len(widths) != s.Blocks:
		c.Fail("intermediate_size", "%d widths for %d blocks", len(widths), s.Blocks)
	case len(slices.Compact(slices.Clone(widths))) > 1:
		s.FFNs = widths
	}
}

// sparsity reads the share of gates that each block cuts off. By default it is 0.95 in the first
// ten of more blocks.
func sparsity(c *config.Config, blocks int) []float64 {
	const key, sparse = "activation_sparsity_pattern", 10
	var shares []float64
	switch {
	case c.Given(key) == nil && blocks > sparse:
		shares = slices.Concat(slices.Repeat([]float64{0.95}, sparse), make([]float64, blocks-sparse))
	case c.Given(key) != nil:
		if shares = c.Floats(key); len(shares) != blocks {
			c.Fail(key, "want a list of %d numbers, found %d", blocks, len(shares))
		}
	}
	if !slices.ContainsFunc(shares, func(x float64) bool { return x != 0 }) {
		return nil
	}
	return shares
}

var gemma3nNames = gemma4Names.With(altUpNames()).With(map[string]string{
	"blocks.*.laurel_left":  "model.layers.*.laurel.linear_left.weight",
	"blocks.*.laurel_right": "model.layers.*.laurel.linear_right.weight",
	"blocks.*.laurel_norm":  "model.layers.*.laurel.post_laurel_norm.weight",
}).Ignoring("model.layers.*.altup.correct_output_scale")

// altUpNames returns the names of the tensors of an AltUp. Files number the streams other than the
// active one from 0.
func altUpNames() map[string]string {
	all := map[string]string{
		"blocks.*.altup_norm":    "model.layers.*.altup.router_norm.weight",
		"blocks.*.altup_router":  "model.layers.*.altup.modality_router.weight",
		"blocks.*.altup_predict": "model.layers.*.altup.prediction_coefs.weight",
		"blocks.*.altup_correct": "model.layers.*.altup.correction_coefs.weight",
		"blocks.*.altup_scale":   "model.layers.*.altup.correct_output_scale",
	}
	for i := 1; i < model.MaxStreams; i++ {
		number := strconv.Itoa(i - 1)
		all["blocks.*."+model.AltUpIn(i)] = "model.altup_projections." + number + ".weight"
		all["blocks.*."+model.AltUpOut(i)] = "model.altup_unembed_projections." + number + ".weight"
	}
	return all
}
