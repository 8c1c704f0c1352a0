package verify

import "fmt"

// compactNote says what a comparison with the top k of vocab logits leaves open.
func compactNote(r *Report, k, vocab int) string {
	m := &r.Metrics
	note := fmt.Sprintf("the reference keeps the top %d of %d logits", k, vocab)
	if b := r.Bound("kl_mean"); b != nil {
		note += fmt.Sprintf(": the true kl_mean is between %s and %s", b.Low.Short(), b.High.Short())
	}
	note += "; max_abs covers the kept logits"
	if !m.PPLReference.Known() && m.PPL.Known() {
		note += "; ppl_reference is unknown, since not every next token is among them"
	}
	return note
}
