package verify

import (
	"cmp"
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
	"thimble/verify/metric"
	"thimble/verify/reference"
)

// MaxReport is the largest size, in bytes, of a report that ParseReport reads.
const MaxReport = 1 << 26

// ParseReport parses the JSON of a report, for CompareBaseline. The figures that
// CompareBaseline compares must be present and agree with each other. path is for error
// messages.
func ParseReport(path string, text []byte) (*Report, error) {
	if len(text) > MaxReport {
		return nil, fmt.Errorf("%s: takes %d bytes, the limit is %d", defect.Printable(path), len(text), MaxReport)
	}
	top, err := strictjson.Decode(path, text) // checks the grammar and that no key occurs twice
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
	if v, _ := fields["schema"].(strictjson.Number); string(v) != fmt.Sprint(Schema) {
		return fail("schema is %s, and this version of thimble reads %d: make the baseline again", defect.Printable(cmp.Or(string(v), "no number")), Schema)
	}
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil {
		return fail("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if err := checkReport(r); err != nil {
		return fail("%w", err)
	}
	return r, nil
}

// checkReport returns an error if r has values that thimble never writes.
func checkReport(r *Report) error {
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	switch {
	case r.PromptsSHA256 == "":
		return errors.New("prompts_sha256 is missing: an older version wrote the file, or it is incomplete; make it again")
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
		given     metric.Value
		sum, most float64
	}{{"kl_mean", r.Metrics.KLMean, kl, math.MaxFloat64}, {"top1_agreement", r.Metrics.Top1Agreement, top1, 1}} {
		if mean := m.sum / tokens; m.given.Known() && !(m.given >= 0 && float64(m.given) <= m.most && math.Abs(mean-float64(m.given)) <= 1e-9*max(1, mean)) {
			return fmt.Errorf("metrics.%s is %v, and the prompts' is %v", m.name, m.given, mean)
		}
	}
	if r.Speed != nil {
		return r.Speed.Check()
	}
	return nil
}

// digestOf returns a digest of what is scored: the ids of the prompts and the positions
// in them.
func digestOf(prompts []reference.Prompt) string {
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
