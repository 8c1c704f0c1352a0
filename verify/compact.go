package verify

import (
	"fmt"

	"thimble/verify/metric"
	"thimble/verify/reference"
)

// compactNote describes what a comparison with a compact reference of vocab logits
// cannot determine.
func compactNote(r *Report, form reference.Form, vocab int) string {
	m := &r.Metrics
	note := fmt.Sprintf("the reference keeps the top %d of %d logits", form.TopK, vocab)
	if form.Sampled {
		note += " and a sample of the others"
	}
	if b := r.Bound("kl_mean"); b != nil {
		note += fmt.Sprintf(": the true kl_mean is between %s and %s", b.Low.Short(), b.High.Short())
		if form.Sampled {
			note += fmt.Sprintf(" (a sample misleads with a probability of %.0e)", metric.Doubt)
		}
	}
	note += "; max_abs covers the kept logits"
	if !m.PPLReference.Known() && m.PPL.Known() {
		note += "; ppl_reference is unknown, since not every next token is among them"
	}
	return note
}
