package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/transformer"
	"thimble/verify/metric"
	"thimble/verify/noise"
	"thimble/verify/reference"
)

// Integrity holds figures that detect mistakes which rounding hides from a measurement
// of divergence. Each figure is exact or depends on the weights alone, whatever their
// number of bits.
type Integrity struct {
	CacheDiff      metric.Value `json:"cache_diff"`      // largest difference of a logit between a text fed at once and in parts
	SettingsDiffer metric.Value `json:"settings_differ"` // number of settings in which the model differs from the reference
	Misplaced      metric.Value `json:"misplaced"`       // how much better a tensor fits in another place; see noise.Fit
}

func unknownIntegrity() Integrity { return Integrity{metric.Unknown, metric.Unknown, metric.Unknown} }

// integrityTable lists the metrics of an Integrity.
var integrityTable = []metric.Entry[Integrity]{
	{Name: "cache_diff", Unit: metric.Tokens, Reference: true, Of: func(i *Integrity) metric.Value { return i.CacheDiff }, Means: "at once and in parts"},
	{Name: "settings_differ", Unit: metric.Tokens, Reference: true, Of: func(i *Integrity) metric.Value { return i.SettingsDiffer }, Means: "settings unlike the reference's"},
	{Name: "misplaced", Unit: metric.Tokens, Reference: true, Of: func(i *Integrity) metric.Value { return i.Misplaced }, Means: "fit of a tensor in another place"},
}

// integrityGates are the default gates on an Integrity.
var integrityGates = []Gate{{"cache_diff", "<=", 0}, {"settings_differ", "<=", 0}, {"misplaced", "<=", 1}}

// IsIntegrity reports whether a metric is one of an Integrity.
func IsIntegrity(name string) bool { return metric.Find(integrityTable, name) != nil }

// Settings holds, by name, numbers of a model's configuration that the shapes of its
// tensors do not show. A reference file may record those of its model.
type Settings map[string]float64

// SettingsOf returns the settings of a model.
func SettingsOf(s *model.Spec) Settings {
	all := Settings{"norm_eps": s.NormEps, "layers": float64(len(s.Schedule))}
	if s.Rope.Base != 0 {
		all["rope_theta"] = s.Rope.Base
	}
	return all
}

// SettingsKey is the key of a reference file's metadata that holds Settings as JSON.
const SettingsKey = "settings"

// ReadSettings returns the settings in the metadata of a reference file, or nil if there
// are none.
func ReadSettings(metadata map[string]string) (s Settings, err error) {
	text, ok := metadata[SettingsKey]
	if !ok {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil || s == nil {
		return nil, fmt.Errorf("metadata %q is not a JSON object of numbers; write the reference again", SettingsKey)
	}
	return s, nil
}

// Text formats s so that ReadSettings can read it.
func (s Settings) Text() string {
	text, _ := json.Marshal(s) // numbers of a Spec are finite
	return string(text)
}

// Differ lists the settings that both have but with different values, such as "norm_eps
// is 1e-06, the reference has 1e-05". Configurations round some numbers to float32, so
// differences of less than one part in a million do not count.
func (s Settings) Differ(reference Settings) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		want, ok := reference[name]
		if got := s[name]; ok && !(math.Abs(got-want) <= 1e-6*math.Abs(want)) {
			all = append(all, fmt.Sprintf("%s is %g, the reference has %g", name, got, want))
		}
	}
	return all
}

// cacheTokens is the number of tokens of a prompt that are fed in parts: singleTokens at
// either end one by one, the others at once.
const cacheTokens, singleTokens = 32, 4

// A Subject is a model with everything that helps to detect its mistakes.
type Subject struct {
	Model      *Model
	Arithmetic Arithmetic
	Scorer     reference.Scorer      // of Model in Arithmetic; should keep its predictions, to run only once
	Stepwise   reference.Scorer      // of the same, fed in parts; nil to create one
	Prompts    []reference.Prompt    // the prompts to score
	Settings   Settings              // of the reference; nil if it records none
	Predicted  float64               // nats per token, according to the recipe that made the model; 0 if unknown
	Rounded    bool                  // the reference stores rounded probabilities
	Progress   func(done, total int) // called while the noise of rounding is measured; may be nil
	Digests    bool                  // Model's file has a digest of each tensor, which was checked
}

// integrity measures the figures that need no reference, and compares settings. notes
// describes what is wrong.
func (s *Subject) integrity(ctx context.Context) (i Integrity, notes []string, err error) {
	i = unknownIntegrity()
	if s.Settings != nil {
		differ := SettingsOf(&s.Model.Spec).Differ(s.Settings)
		i.SettingsDiffer = metric.Value(len(differ))
		if differ != nil {
			notes = append(notes, strings.Join(differ, "; "))
		}
	}
	fit, err := noise.Place(s.Model)
	if err != nil {
		return i, nil, err
	}
	if i.Misplaced = metric.Value(fit.Misplaced); fit.Misplaced > 1 {
		notes = append(notes, fmt.Sprintf("%s looks like it is %s", fit.Tensor, fit.Instead))
	}
	i.CacheDiff, err = s.cacheDiff(ctx)
	if i.CacheDiff > 0 {
		notes = append(notes, "the logits depend on how a text is fed: the KV cache, or a position, is wrong")
	}
	return i, notes, err
}

// cacheDiff feeds the start of the longest prompt at once and in parts, and returns the
// largest difference of a logit.
func (s *Subject) cacheDiff(ctx context.Context) (metric.Value, error) {
	var ids []int
	for _, p := range s.Prompts {
		if len(p.IDs) > len(ids) {
			ids = p.IDs
		}
	}
	if ids = ids[:min(len(ids), cacheTokens)]; len(ids) == 0 {
		return metric.Unknown, nil
	}
	stepwise := s.Stepwise
	if stepwise == nil {
		var err error
		if stepwise, err = newPartsScorer(s.Model, s.Arithmetic); err != nil {
			return 0, err
		}
	}
	atOnce, err := reference.NewScorer(s.Model, s.Arithmetic, 0)
	if err != nil {
		return 0, err
	}
	v := s.Model.Spec.Vocab
	var rows [2][]float32
	for i, scorer := range []reference.Scorer{atOnce, stepwise} {
		p, err := scorer.Score(ctx, ids)
		if err != nil {
			return 0, err
		}
		rows[i] = make([]float32, len(ids)*v)
		if err := p.Logits(ctx, rows[i], 0, len(ids)); err != nil {
			return 0, err
		}
	}
	worst := 0.0
	for i, x := range rows[0] {
		if d := math.Abs(float64(x) - float64(rows[1][i])); !(d <= worst) {
			worst = d
		}
	}
	if math.IsNaN(worst) || math.IsInf(worst, 0) {
		worst = math.MaxFloat64 // a logit that is not finite is an error of the run itself
	}
	return metric.Value(worst), nil
}

// A partsScorer feeds a prompt as a conversation does: single tokens, a longer part, and
// single tokens again.
type partsScorer struct {
	decoder *transformer.Decoder
	vocab   int
}

func newPartsScorer(m *Model, a Arithmetic) (*partsScorer, error) {
	d, err := transformer.NewWith(m, a)
	return &partsScorer{d, m.Spec.Vocab}, err
}

func (s *partsScorer) Vocab() int { return s.vocab }

func (s *partsScorer) Score(ctx context.Context, ids []int) (reference.Prediction, error) {
	cache, err := s.decoder.NewCache(len(ids))
	if err != nil {
		return nil, err
	}
	var parts []*transformer.Hidden
	for from, n := 0, 0; from < len(ids); from += n {
		n = 1
		if from == singleTokens {
			n = max(1, len(ids)-2*singleTokens)
		}
		h, err := s.decoder.Forward(ctx, cache, ids[from:from+n])
		if err != nil {
			return nil, err
		}
		parts = append(parts, h)
	}
	return transformer.Join(parts), nil
}
