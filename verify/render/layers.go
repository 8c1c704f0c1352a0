package render

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/parity"
)

// writeStages writes the table of stages.
func writeStages(b *strings.Builder, stages []verify.Stage) {
	if len(stages) == 0 {
		return
	}
	fmt.Fprintf(b, "\n  %-12s %10s %10s %7s %10s\n", "stage", "kl_mean", "kl_added", "top1", "ppl_ratio")
	most := 0.0
	for _, s := range stages {
		most = max(most, float64(s.Added))
	}
	for _, s := range stages {
		bar := ""
		if most > 0 && s.Added > 0 {
			bar = strings.Repeat("#", int(math.Ceil(20*float64(s.Added)/most)))
		}
		line := fmt.Sprintf("  %-12s %10s %10s %7s %10s  %s", s.Stage, s.KLMean.Short(), s.Added.Short(), probability(s.Top1), s.PPLRatio.Short(), bar)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	if last := stages[len(stages)-1].Arithmetic.String(); last != verify.Float32 {
		writeParagraph(b, "each with those before it; the last has "+last)
	}
}

// stageTitle names a stage with what it rounds to.
func stageTitle(s *verify.Stage) string {
	switch a := s.Arithmetic; s.Stage {
	case verify.StageConverted:
		return "conversion"
	case verify.StageWeights:
		return "weights rounded"
	case verify.StageActivations:
		return "activations " + a.Activations
	case verify.StageKV:
		return fmt.Sprintf("keys %s, values %s", a.Keys, a.Values)
	}
	return s.Stage
}

// writeLayers writes the errors of operations, a line for each step: a column for
// each linear layer, and one for the largest of the other operations.
func writeLayers(b *strings.Builder, r *verify.Report) {
	if len(r.Layers) == 0 {
		return
	}
	b.WriteString("\n  error of each step, relative to the reference: what operations add, and what\n" +
		"  the stream carries after the step (other: norms, rope, attention, act)\n")
	fmt.Fprintf(b, "  %5s %5s", "step", "block")
	for _, name := range model.LinearKinds {
		fmt.Fprintf(b, " %6s", name)
	}
	fmt.Fprintf(b, " %6s %7s\n", "other", "stream")
	for from := 0; from < len(r.Layers); {
		to := from + 1
		for to < len(r.Layers) && r.Layers[to].Step == r.Layers[from].Step {
			to++
		}
		writeStep(b, r.Layers[from:to], r.FirstDivergence)
		from = to
	}
}

func writeStep(b *strings.Builder, layers []parity.Layer, first *parity.Divergence) {
	if layers[0].Block == parity.NoBlock {
		for i := range layers {
			l := &layers[i]
			fmt.Fprintf(b, "  %-11s %6s", l.Operation, layerCell(l, first))
			if l.Inherited > 0 {
				fmt.Fprintf(b, ", inherits %s", errorText(l.Inherited))
			}
			b.WriteString("\n")
		}
		return
	}
	fmt.Fprintf(b, "  %5d %5d", layers[0].Step, layers[0].Block)
	for _, name := range model.LinearKinds {
		text := ""
		if i := slices.IndexFunc(layers, func(l parity.Layer) bool { return l.Operation == name }); i >= 0 {
			text = layerCell(&layers[i], first)
		}
		fmt.Fprintf(b, " %6s", text)
	}
	var other, stream *parity.Layer
	for i := range layers {
		l := &layers[i]
		if l.Operation == model.FFNResidual {
			stream = l
		}
		if !slices.Contains(model.LinearKinds, l.Operation) && (other == nil || l.Added > other.Added || diverges(l, first)) {
			other = l
		}
	}
	text := ""
	if other != nil {
		text = layerCell(other, first)
	}
	fmt.Fprintf(b, " %6s", text)
	if stream != nil {
		fmt.Fprintf(b, " %7s", errorText(stream.Added+stream.Inherited))
	}
	b.WriteString("\n")
}

// diverges reports whether l is the first divergence, which may be nil.
func diverges(l *parity.Layer, first *parity.Divergence) bool {
	return first != nil && first.Step == l.Step && first.Operation == l.Operation
}

// layerCell writes what an operation adds, with a mark at the first divergence.
func layerCell(l *parity.Layer, first *parity.Divergence) string {
	if diverges(l, first) {
		return errorText(l.Added) + "!"
	}
	return errorText(l.Added)
}

// errorText writes a relative error with two digits.
func errorText(v metric.Value) string {
	switch {
	case !v.Known():
		return "-"
	case v == 0:
		return "0"
	case v < 0.001:
		return strings.Replace(fmt.Sprintf("%.0e", float64(v)), "e-0", "e-", 1)
	case v < 0.995:
		return fmt.Sprintf("%.3f", float64(v))
	}
	return fmt.Sprintf("%.2g", float64(v))
}

// writeDivergence says where the models diverge, if they do.
func writeDivergence(b *strings.Builder, d *parity.Divergence) {
	if d == nil {
		return
	}
	tensor := d.Tensor
	if tensor == "" {
		tensor = "no tensor"
	}
	writeParagraph(b, fmt.Sprintf("first divergence: %s, %s (%s); it adds %s, rounding explains %s, it inherits %s; largest in prompt %d, token %d, channel %d",
		stepText(d.Step, d.Block), d.Operation, tensor, errorText(metric.Value(d.Added)), errorText(metric.Value(d.Expected)), errorText(metric.Value(d.Inherited)),
		d.Prompt, d.Token, d.Channel))
}

// stepText names a step and its block.
func stepText(step, block int) string {
	if block == parity.NoBlock {
		return "outside of the blocks"
	}
	return fmt.Sprintf("step %d, block %d", step, block)
}
