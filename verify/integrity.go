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
	"thimble/verify/metric"
	"thimble/verify/noise"
	"thimble/verify/reference"
)

// Integrity has what tells mistakes that rounding hides from divergence. Each of its
// figures is exact or depends on the weights alone, whatever their number of bits.
type Integrity struct {
	CacheDiff      metric.Value `json:"cache_diff"`      // largest difference of two logits, of a text fed at once and token by token
	SettingsDiffer metric.Value `json:"settings_differ"` // settings of the reference that the model does not have
	Misplaced      metric.Value `json:"misplaced"`       // how much better a tensor fits elsewhere, see noise.Fit
}

func unknownIntegrity() Integrity { return Integrity{metric.Unknown, metric.Unknown, metric.Unknown} }

// integrityTable lists the metrics of an Integrity.
var integrityTable = []metric.Entry[Integrity]{
	{Name: "cache_diff", Unit: metric.Tokens, Reference: true, Of: func(i *Integrity) metric.Value { return i.CacheDiff }, Means: "at once and token by token"},
	{Name: "settings_differ", Unit: metric.Tokens, Reference: true, Of: func(i *Integrity) metric.Value { return i.SettingsDiffer }, Means: "settings unlike the reference's"},
	{Name: "misplaced", Unit: metric.Tokens, Reference: true, Of: func(i *Integrity) metric.Value { return i.Misplaced }, Means: "fit of a tensor in another place"},
}

// integrityGates are the default gates on an Integrity.
var integrityGates = []Gate{{"cache_diff", "<=", 0}, {"settings_differ", "<=", 0}, {"misplaced", "<=", 1}}

// IsIntegrity reports whether a metric is one of an Integrity.
func IsIntegrity(name string) bool { return metric.Find(integrityTable, name) != nil }

// Settings are numbers in a model's configuration that no shape shows, by name. A
// reference file may record those of the model that it was made from.
type Settings map[string]float64

// SettingsOf returns the settings of a model.
func SettingsOf(s *model.Spec) Settings {
	all := Settings{"norm_eps": s.NormEps, "layers": float64(len(s.Schedule))}
	if s.Rope.Base != 0 {
		all["rope_theta"] = s.Rope.Base
	}
	return all
}

// SettingsKey is the key of a reference file's metadata that has Settings as JSON.
const SettingsKey = "settings"

// ReadSettings reads the settings in the metadata of a reference file, nil if there are
// none.
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

// Text is s as ReadSettings reads it.
func (s Settings) Text() string {
	text, _ := json.Marshal(s) // numbers of a Spec are finite
	return string(text)
}

// Differ lists the settings that both have, with other values, such as "norm_eps is
// 1e-06, the reference has 1e-05". Configurations round some numbers to float32, so a
// difference counts from one part in a million on.
func (s Settings) Differ(reference Settings) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		want, ok := reference[name]
		if got := s[name]; ok && !(math.Abs(got-want) <= 1e-6*math.Abs(want)) {
			all = append(all, fmt.Sprintf("%s is %g, the reference has %g", name, got, want))
		}
	}
	return all
}

// cacheTokens is how many tokens of a prompt are fed one by one.
const cacheTokens = 32

// A Subject is a model with what tells its mistakes.
type Subject struct {
	Model      *Model
	Arithmetic Arithmetic
	Scorer     reference.Scorer      // of Model in Arithmetic; keeps its predictions if it is to run once
	Stepwise   reference.Scorer      // of the same, fed token by token; nil makes one
	Prompts    []reference.Prompt    // that are scored
	Settings   Settings              // of the reference; nil if it records none
	Predicted  float64               // nats per token, by the recipe that made the model; 0 if unknown
	Rounded    bool                  // the reference stores rounded probabilities
	Progress   func(done, total int) // called while the noise of rounding is measured; may be nil
	Digests    bool                  // Model's file has a digest of each tensor, which was checked
}

// integrity measures what needs no reference, and compares settings. The texts say what
// is wrong.
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

// cacheDiff returns the largest difference of two logits of the start of the longest
// prompt.
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
		if stepwise, err = reference.NewScorer(s.Model, s.Arithmetic, 1); err != nil {
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
