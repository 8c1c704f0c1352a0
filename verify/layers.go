package verify

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/model"
)

// ProfilePositions is how many positions of the prompts a Profile is made of, the
// first ones: few are enough to see what an operation adds.
const ProfilePositions = 256

// ProfileTexts cuts prompts to ProfilePositions in all.
func ProfileTexts(prompts []Prompt) (texts [][]int) {
	left := ProfilePositions
	for _, p := range prompts {
		if left == 0 {
			break
		}
		n := min(left, len(p.IDs))
		texts = append(texts, p.IDs[:n])
		left -= n
	}
	return texts
}

// explain adds what a Profile says to the report, if there is one.
func (r *Report) explain(p *Profile) {
	if p == nil {
		return
	}
	r.Metrics.BeyondRounding = Value(p.Worst)
	r.FirstDivergence, r.Diagnosis = p.Divergence, p.Diagnosis()
	if p.Drawn {
		r.Layers = p.Layers
	}
}

// Diagnosis says in a line whether the difference of the models is one of rounding
// or one of conversion, and which.
func (p *Profile) Diagnosis() string {
	text := ""
	switch {
	case p.Divergence != nil:
		return "conversion error, not rounding: " + p.Divergence.Cause
	case p.Worst == 0:
		text = "no difference: every operation computes what the reference's does"
	default:
		text = fmt.Sprintf("rounding, not conversion: no operation adds more than its scheme explains, %s comes closest with %.0f %% of the limit", p.Closest, 100*p.Worst)
	}
	if len(p.Unseen) > 0 {
		text += "; without effect here: " + strings.Join(p.Unseen, ", ")
	}
	return text
}

// unseenSettings lists what the Specs say differently about any operation.
func unseenSettings(a, b *model.Spec, layers []Layer) (all []string) {
	for _, l := range layers {
		text := differingSettings(a, b, &Divergence{Step: l.Step, Block: l.Block, Operation: l.Operation})
		if text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// writeLayers draws the profile, a line for a step: a column for each linear layer
// and one for the largest of the other operations.
func (r *Report) writeLayers(b *strings.Builder) {
	if len(r.Layers) == 0 {
		return
	}
	b.WriteString("\n  error of each step, relative to the reference: what operations add, and what\n" +
		"  the stream carries behind the step (other: norms, rope, attention, act)\n")
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
		r.writeStep(b, r.Layers[from:to])
		from = to
	}
}

func (r *Report) writeStep(b *strings.Builder, layers []Layer) {
	if layers[0].Block == noBlock {
		for _, l := range layers {
			fmt.Fprintf(b, "  %-11s %6s", l.Operation, r.cell(&l))
			if l.Inherited > 0 {
				fmt.Fprintf(b, ", inherits %s", brief(l.Inherited))
			}
			b.WriteString("\n")
		}
		return
	}
	fmt.Fprintf(b, "  %5d %5d", layers[0].Step, layers[0].Block)
	for _, name := range model.LinearKinds {
		text := ""
		if i := slices.IndexFunc(layers, func(l Layer) bool { return l.Operation == name }); i >= 0 {
			text = r.cell(&layers[i])
		}
		fmt.Fprintf(b, " %6s", text)
	}
	var other, stream *Layer
	for i := range layers {
		l := &layers[i]
		if l.Operation == model.FFNResidual {
			stream = l
		}
		if !slices.Contains(model.LinearKinds, l.Operation) && (other == nil || l.Added > other.Added || r.parts(l)) {
			other = l
		}
	}
	fmt.Fprintf(b, " %6s", r.cell(other))
	if stream != nil {
		fmt.Fprintf(b, " %7s", brief(stream.Added+stream.Inherited))
	}
	b.WriteString("\n")
}

// parts says whether l is where the models part.
func (r *Report) parts(l *Layer) bool {
	d := r.FirstDivergence
	return d != nil && d.Step == l.Step && d.Operation == l.Operation
}

// cell writes what an operation adds, with a mark where the models part.
func (r *Report) cell(l *Layer) string {
	if l == nil {
		return ""
	}
	if r.parts(l) {
		return brief(l.Added) + "!"
	}
	return brief(l.Added)
}

// brief writes an error with two digits.
func brief(v Value) string {
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

// writeDivergence says where the models part.
func (r *Report) writeDivergence(b *strings.Builder) {
	d := r.FirstDivergence
	if d == nil {
		return
	}
	where := fmt.Sprintf("step %d, block %d", d.Step, d.Block)
	if d.Block == noBlock {
		where = "outside of the blocks"
	}
	tensor := d.Tensor
	if tensor == "" {
		tensor = "no tensor"
	}
	writeWrapped(b, fmt.Sprintf("first divergence: %s, %s (%s); it adds %s, rounding explains %s, inherited are %s; largest in prompt %d, token %d, channel %d",
		where, d.Operation, tensor, brief(Value(d.Added)), brief(Value(d.Expected)), brief(Value(d.Inherited)), d.Prompt, d.Token, d.Channel))
}
