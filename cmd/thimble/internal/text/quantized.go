package text

import (
	"fmt"
	"strings"

	"thimble"
	"thimble/cmd/thimble/internal/terminal"
	"thimble/internal/defect"
	"thimble/internal/units"
)

// Plan formats the plan for a terminal.
func Plan(r *thimble.Quantized) string {
	var b strings.Builder
	writeNotes(&b, r.Notes)
	size := units.Size(r.FileBytes)
	if r.Plan.Codes() && !r.Plan.CodedUnknown() {
		size = "about " + size // what a code takes is known only once it is made
	}
	b.WriteString(r.Table(terminal.ShowsUnicode(), size))
	what := "container"
	if r.Format != thimble.ContainerFormat {
		what = r.Format + " file"
		if thimble.IsFolder(r.Format) {
			what = r.Format + " folder"
		}
	}
	fmt.Fprintf(&b, "the %s takes %s", what, size)
	if e := r.Export; e != nil {
		fmt.Fprintf(&b, ", the %s file for %s %s", e.Format, e.Program, units.Size(e.Bytes))
	}
	if r.Plan.CodedUnknown() {
		b.WriteString(" before entropy coding")
	}
	if r.Plan.Codes() {
		fmt.Fprintf(&b, ", %s in memory", units.Size(r.ResidentBytes))
	}
	b.WriteString("\n")
	if r.Reordered {
		b.WriteString("channels are reordered: adapters made for the source need --without reorder\n")
	}
	switch {
	case r.Measured != nil:
		fmt.Fprintf(&b, "measured on %d held-out tokens: KL %s nats per token, top-1 agreement %.2f%%\n",
			r.Measured.Tokens, klText(r.Measured.KL), 100*r.Measured.Top1)
	case r.PredictedKL > 0:
		fmt.Fprintf(&b, "predicted KL: %s nats per token; verify --against measures it\n", klText(r.PredictedKL))
	}
	if len(r.Types) > 0 {
		b.WriteString(typesText(r.Types))
	}
	if r.Calibration != nil {
		fmt.Fprint(&b, r.Calibration)
	}
	return b.String()
}

// Quantized says what a run of Quantize or Convert has written, after Plan.
func Quantized(r *thimble.Quantized) string {
	switch {
	case r.Output == "":
		return "dry run: nothing was written\n"
	case r.Part != nil:
		return fmt.Sprintf("wrote %s, %s: %d of %d tensors\nonce all parts are written, the same command with --merge in place of --shard puts them together\n",
			defect.Printable(r.Output), units.Size(r.Bytes), r.Part.Tensors, r.Part.Of)
	}
	text := ""
	if r.Calibration != nil {
		for _, warning := range r.NewWarnings() {
			text += "warning: " + warning + "\n"
		}
	}
	for _, warning := range r.Plan.Warnings() {
		text += "warning: " + warning + "\n"
	}
	if r.ExceededBytes > 0 {
		text += fmt.Sprintf("warning: the file takes %d bytes more than the target: what a code takes is known only once it is made; use a target that much smaller\n", r.ExceededBytes)
	}
	text += fmt.Sprintf("wrote %s, %s, %.2f bits per weight\n", defect.Printable(r.Output), units.Size(r.Bytes), r.BitsPerWeight)
	text += tunedText(r.Tuned) + peakText(r.PeakResident)
	if r.HeaderSHA256 == nil {
		return text + digestText(r.SHA256, r.Files) + modelfileText(r.Modelfile)
	}
	return text + fmt.Sprintf("header sha256 %v\n", r.HeaderSHA256)
}

// tunedText is a line about what tuning has reached, or "" without it.
func tunedText(t *thimble.Tuned) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("tuned on %d tokens: KL %s on %d held-out tokens, %s before\n", t.Tokens, klText(t.After), t.HeldOut, klText(t.Before))
}

// klText formats a divergence with at least two significant digits, however small.
func klText(kl float64) string {
	if kl > 0 && kl < 0.001 {
		return strings.Replace(fmt.Sprintf("%.1e", kl), "e-0", "e-", 1)
	}
	return fmt.Sprintf("%.4f", kl)
}

// typesText lists the target's types that a plan uses.
func typesText(types []thimble.TargetType) string {
	var b strings.Builder
	all := int64(0)
	for _, t := range types {
		all += t.Weights
	}
	fmt.Fprintf(&b, "for %s:\n", types[0].Target)
	first := map[string]string{} // the first type of each speed
	for _, t := range types {
		speed := t.Speed
		if as, ok := first[speed]; ok {
			speed = "as " + as
		} else {
			first[speed] = t.Type
		}
		noun := "matrices"
		if t.Tensors == 1 {
			noun = "matrix"
		}
		fmt.Fprintf(&b, "  %-6s %4d %-9s %5.1f%% of their weights: %s\n", t.Type, t.Tensors, noun+",", 100*float64(t.Weights)/float64(all), speed)
	}
	return b.String()
}

// peakText is a line about the peak of memory, or "" if it is unknown.
func peakText(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf("peak memory %s, mapped files included\n", units.Size(bytes))
}
