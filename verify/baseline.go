package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
)

// MaxReport bounds a report that is read, in bytes.
const MaxReport = 1 << 26

// ParseReport reads a report that was written as JSON, for HoldTo. The figures that
// are compared must be there and agree with each other; path is for errors.
func ParseReport(path string, text []byte) (*Report, error) {
	if len(text) > MaxReport {
		return nil, fmt.Errorf("%s: takes %d bytes, the limit is %d", defect.Printable(path), len(text), MaxReport)
	}
	top, err := strictjson.Decode(path, text) // the grammar, and no key twice
	if err != nil {
		return nil, err
	}
	fail := func(format string, args ...any) (*Report, error) {
		return nil, fmt.Errorf("%s: %w", defect.Printable(path), fmt.Errorf(format, args...))
	}
	fields, ok := top.(map[string]any)
	if !ok || fields["schema"] == nil || fields["metrics"] == nil {
		return fail(`is no report of "thimble verify --json"`)
	}
	if v, ok := fields["schema"].(strictjson.Number); !ok || string(v) != fmt.Sprint(Schema) {
		return fail("schema is %s, and this version of thimble reads %d: make the baseline again", defect.Printable(fmt.Sprint(fields["schema"])), Schema)
	}
	r := &Report{Metrics: Metrics{KLMean: unknown, Top1Agreement: unknown, PPL: unknown}}
	if err := json.Unmarshal(text, r); err != nil {
		return fail("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if err := r.sound(); err != nil {
		return fail("%w", err)
	}
	return r, nil
}

// sound finds what a report that thimble wrote does not have.
func (r *Report) sound() error {
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	switch {
	case r.PromptsSHA256 == "":
		return errors.New("prompts_sha256 is missing: it was written by an older version, or is not whole; make it again")
	case r.Model.Bytes <= 0:
		return fmt.Errorf("model.bytes is %d", r.Model.Bytes)
	case !positive(r.Model.BitsPerWeight):
		return fmt.Errorf("model.bits_per_weight is %v", r.Model.BitsPerWeight)
	case len(r.Prompts) == 0:
		return errors.New("there are no prompts")
	case r.Metrics.PPL.Known() && !positive(float64(r.Metrics.PPL)):
		return fmt.Errorf("metrics.ppl is %v", r.Metrics.PPL)
	}
	var tokens, kl, top1 float64
	for i, p := range r.Prompts {
		if p.Tokens < 1 || p.Tokens > 1<<30 || p.PPL.Known() && !positive(float64(p.PPL)) {
			return fmt.Errorf("prompts[%d] has %d tokens and a perplexity of %v", i, p.Tokens, p.PPL)
		}
		n := float64(p.Tokens)
		tokens, kl, top1 = tokens+n, kl+float64(n*float64(p.KLMean)), top1+float64(n*float64(p.Top1Agreement))
	}
	if tokens != float64(r.Metrics.Tokens) {
		return fmt.Errorf("metrics.tokens is %d, and the prompts have %.0f", r.Metrics.Tokens, tokens)
	}
	for _, m := range []struct {
		name      string
		said      Value
		sum, most float64
	}{{"kl_mean", r.Metrics.KLMean, kl, math.MaxFloat64}, {"top1_agreement", r.Metrics.Top1Agreement, top1, 1}} {
		if mean := m.sum / tokens; m.said.Known() && !(m.said >= 0 && float64(m.said) <= m.most && math.Abs(mean-float64(m.said)) <= 1e-9*max(1, mean)) {
			return fmt.Errorf("metrics.%s is %v, and the prompts' is %v", m.name, m.said, mean)
		}
	}
	if r.Speed != nil {
		return r.Speed.Check()
	}
	return nil
}

// digestOf identifies what was scored: the ids of the prompts and the positions
// in them.
func digestOf(prompts []Prompt) string {
	h := sha256.New()
	var b []byte
	for _, p := range prompts {
		b = b[:0]
		for _, n := range append([]int{len(p.IDs), p.From, p.To}, p.IDs...) {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// comparable finds why r cannot be held to before, and names the field of both
// that differs.
func (r *Report) comparable(before *Report) error {
	differ := func(field, then, now, why string) error {
		return fmt.Errorf("the baseline %s is of another run: its %s is %s, here it is %s%s; make a new one for this",
			defect.Printable(r.Baseline.Path), field, defect.Printable(then), defect.Printable(now), why)
	}
	a, b := before.Arithmetic.String(), r.Arithmetic.String()
	switch {
	case before.AgainstSHA256 != r.AgainstSHA256:
		return differ("against_sha256", short(before.AgainstSHA256), short(r.AgainstSHA256), ", another reference")
	case a != b:
		return differ("arithmetic", a, b, "")
	case before.Metrics.Tokens != r.Metrics.Tokens:
		return differ("metrics.tokens", fmt.Sprint(before.Metrics.Tokens), fmt.Sprint(r.Metrics.Tokens), ", another text, --context or --chunks")
	case before.PromptsSHA256 != r.PromptsSHA256 || len(before.Prompts) != len(r.Prompts):
		return differ("prompts_sha256", short(before.PromptsSHA256), short(r.PromptsSHA256), ", another text, --context, --chunks or tokenizer")
	}
	for i := range r.Prompts {
		if then, now := before.Prompts[i].Tokens, r.Prompts[i].Tokens; then != now {
			return differ(fmt.Sprintf("prompts[%d].tokens", i), fmt.Sprint(then), fmt.Sprint(now), "")
		}
	}
	if then, now := before.shapes(), r.shapes(); then != "" && now != "" && then != now {
		return differ("tensors", "a list of others", "that of the model's names and shapes", ", another model")
	}
	if before.Speed != nil && r.Speed != nil {
		if field, then, now := r.Speed.unlike(before.Speed); field != "" {
			return differ("speed."+field, then, now, "")
		}
	}
	return nil
}

// shapes lists the model's tensors, in whatever schemes.
func (r *Report) shapes() string {
	var b strings.Builder
	for _, t := range r.Tensors {
		fmt.Fprintf(&b, "%s %dx%d\n", t.Name, t.Rows, t.Cols)
	}
	return b.String()
}

// short is the beginning of a digest.
func short(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest[:min(12, len(digest))]
}
