package onnx

import (
	"cmp"
	"fmt"

	"thimble/internal/model"
)

// A builder builds the graph of a decoder and places its weights. The first error stops it:
// err is then set, and the graph has no meaning.
//
// Values of step i are called step.i.NAME, where NAME is that of the activation in package
// model, and constants have the names of the model's tensors. Blocks that several steps
// share are stored once.
type builder struct {
	graph
	weights
	spec     *model.Spec           // with the context of the file
	roles    map[string]model.Role // of the model's tensors
	matrices map[string]*stored
	err      error

	stream    string // the residual stream
	pending   string // the output of a layer that is still to be added to stream, or ""
	positions bool   // the graph has the input position_ids
}

// Names of the graph's inputs and outputs, as onnxruntime-genai calls them by default.
const (
	inputIDs      = "input_ids"
	attentionMask = "attention_mask"
	positionIDs   = "position_ids"
	logits        = "logits"
	pastKey       = "past_key_values.%d.key"
	pastValue     = "past_key_values.%d.value"
	presentKey    = "present.%d.key"
	presentValue  = "present.%d.value"
)

// Names of the values that all steps use.
const (
	lastPosition = "last_position"  // (batch), int32: the position of the last token
	totalLength  = "total_sequence" // int32: the number of positions
)

// decoder appends the whole model.
func (b *builder) decoder() error {
	s := b.spec
	b.input(inputIDs, typeInt64, "batch", "sequence")
	b.input(attentionMask, typeInt64, "batch", "total")
	for step := range s.Schedule {
		b.input(fmt.Sprintf(pastKey, step), typeFloat, "batch", int64(s.KVHeads), "past", int64(s.HeadDim))
		b.input(fmt.Sprintf(pastValue, step), typeFloat, "batch", int64(s.KVHeads), "past", int64(s.HeadDim))
	}
	b.output(logits, typeFloat, "batch", "sequence", int64(s.Vocab))
	for step := range s.Schedule {
		b.output(fmt.Sprintf(presentKey, step), typeFloat, "batch", int64(s.KVHeads), "total", int64(s.HeadDim))
		b.output(fmt.Sprintf(presentValue, step), typeFloat, "batch", int64(s.KVHeads), "total", int64(s.HeadDim))
	}
	b.lengths()
	b.embed()
	for step := range s.Schedule {
		if b.step(step); b.err != nil {
			return b.err
		}
	}
	b.head()
	if b.positions {
		b.input(positionIDs, typeInt64, "batch", "sequence")
	}
	return b.err
}

// lengths computes what attention needs to know of the lengths of texts: attention_mask is 1
// for each position of a text, including those in the cache.
func (b *builder) lengths() {
	sum := b.op("mask.sum", "ReduceSum", []string{attentionMask, b.vector("axis.1", 1)}, attribute{"keepdims", int64(0)})
	last := b.op("mask.last", "Sub", []string{sum, b.index("one", 1)})
	b.cast(lastPosition, last, typeInt32)
	shape := b.op("mask.shape", "Shape", []string{attentionMask})
	total := b.op("mask.total", "Gather", []string{shape, b.index("one", 1)})
	b.cast(totalLength, total, typeInt32)
}

// embed looks tokens up.
func (b *builder) embed() {
	s := b.spec
	b.stream = b.rows("embedded", model.Embed)
	if s.EmbedScale != 0 {
		b.stream = b.op("embedded.scaled", "Mul", []string{b.stream, b.scalar("embed.scale", s.EmbedScale)})
	}
	if s.Positions > 0 {
		b.positions = true
		at := b.op("positions.rows", "Gather", []string{b.gain(model.Positions, 0), positionIDs})
		b.stream = b.op("positions.added", "Add", []string{b.stream, at})
	}
	if s.EmbedNorm {
		b.stream = b.norm("embedded.norm", b.stream, model.EmbedNorm)
	}
}

// step appends a step of the schedule.
func (b *builder) step(step int) {
	s, block := b.spec, b.spec.Schedule[step]
	weight := func(kind string) string { return model.Name(block, kind) }
	value := func(kind string) string { return fmt.Sprintf("step.%d.%s", step, kind) }

	input := ""
	if s.NoPreNorm {
		input = b.flush(value("in"))
	} else {
		input = b.addNorm(value("in"), value(model.AttnNorm), weight(model.AttnNorm))
	}
	ffnInput := input
	if s.TwoNorms {
		ffnInput = b.norm(value(model.FFNNorm), b.stream, weight(model.FFNNorm))
	}
	y := b.attention(step, block, input)
	if s.PostNorm {
		y = b.norm(value(model.AttnPost), y, weight(model.AttnPost))
	}
	b.add(value(model.AttnResidual), y)
	switch {
	case s.HasFFNNorm() && !s.TwoNorms:
		ffnInput = b.addNorm(value(model.AttnResidual), value(model.FFNNorm), weight(model.FFNNorm))
	case s.NoPreNorm:
		ffnInput = b.flush(value(model.AttnResidual))
	}
	y = b.feedForward(value, weight, ffnInput)
	if s.PostNorm {
		y = b.norm(value(model.FFNPost), y, weight(model.FFNPost))
	}
	b.add(value(model.AttnResidual), y)
}

// feedForward appends the feed-forward layer of a block and returns its output.
func (b *builder) feedForward(value, weight func(kind string) string, x string) string {
	up := b.linear(value(model.Up), x, weight(model.Up), b.spec.Biased(model.Up))
	if b.spec.Ungated {
		up = b.activation(value(model.Activated), up)
	} else {
		gate := b.linear(value(model.Gate), x, weight(model.Gate), b.spec.Biased(model.Gate))
		up = b.op(value(model.Activated), "Mul", []string{b.activation(value(model.Gate)+".act", gate), up})
	}
	return b.linear(value(model.Down), up, weight(model.Down), b.spec.Biased(model.Down))
}

// activation appends the model's activation.
func (b *builder) activation(y, x string) string {
	switch b.spec.Activation {
	case model.GELU:
		return b.op(y, "Gelu", []string{x})
	case model.GELUTanh:
		return b.op(y, "Gelu", []string{x}, attribute{"approximate", "tanh"})
	case model.ReLU:
		return b.op(y, "Relu", []string{x})
	case model.ReLU2:
		half := b.op(y+".relu", "Relu", []string{x})
		return b.op(y, "Mul", []string{half, half})
	}
	return b.op(y, "Mul", []string{x, b.op(y+".sigmoid", "Sigmoid", []string{x})})
}

// head appends the final norm and the output head.
func (b *builder) head() {
	s := b.spec
	unless := func(follows bool, name string) string { // the name of the last value is logits
		if follows {
			return name
		}
		return logits
	}
	h := b.addNorm("stream", "final", model.Norm)
	y := b.linearOf(unless(s.LogitScale != 0 || s.LogitCap != 0, "logits.product"), h, b.model.HeadName(), model.Head, s.Biased(model.Head))
	if s.LogitScale != 0 {
		y = b.op(unless(s.LogitCap != 0, "logits.scaled"), "Mul", []string{y, b.scalar("logit.scale", s.LogitScale)})
	}
	if s.LogitCap != 0 {
		c := b.scalar("logit.cap", s.LogitCap)
		y = b.op("logits.tanh", "Tanh", []string{b.op("logits.divided", "Div", []string{y, c})})
		b.op(logits, "Mul", []string{y, c})
	}
}

// add adds the output of a layer to the stream, at the next flush. sum is the name of a stream
// that is not complete yet.
func (b *builder) add(sum, y string) {
	if scale := cmp.Or(b.spec.ResidScale, 1); scale != 1 {
		y = b.op(y+".scaled", "Mul", []string{y, b.scalar("resid.scale", scale)})
	}
	b.flush(sum)
	b.pending = y
}

// flush returns the stream with what add has left. It has the given name if it is new.
func (b *builder) flush(sum string) string {
	if b.pending != "" {
		b.stream = b.op(sum, "Add", []string{b.stream, b.pending})
		b.pending = ""
	}
	return b.stream
}
