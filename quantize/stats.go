package quantize

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/strictjson"
)

// SurveyArithmetic stands for the bits of a Survey, as Arithmetic does for those
// that a run stores.
const SurveyArithmetic = "30b31fb2fa98e5d4"

// surveyVersion is that of the file's form.
const surveyVersion = 1

// A SavedSurvey is a Survey and what it was made from. Second moments are no part
// of it: those that rounding is fitted to are of the inputs in the quantized model,
// so they depend on what was rounded before them.
type SavedSurvey struct {
	Survey
	Model  Facts // its files, and how they were read
	Texts  Facts
	Tokens int // of the texts, the survey's weight where several are merged
}

const surveyFormat = "thimble survey"

// Text is the file of a saved survey, JSON with a line for each fact and matrix:
//
//	{
//	 "format": "thimble survey",
//	 "version": 1,
//	 "arithmetic": "30b31fb2fa98e5d4",
//	 "tokens": 16384,
//	 "schemes": ["int4/g32/sym", ...],
//	 "model": [
//	  ["model.safetensors", "SHA-256"], ...
//	 ],
//	 "texts": [
//	  ["text 1", "SHA-256"], ...
//	 ],
//	 "costs": {
//	  "blocks.0.down": [nats per token in each scheme], ...
//	 }
//	}
//
// Costs are sorted by name and written in the fewest digits that read back the same.
func (s *SavedSurvey) Text() ([]byte, error) {
	schemes := make([]string, len(s.Schemes))
	for i, x := range s.Schemes {
		schemes[i] = x.String()
	}
	costs := []string{}
	for _, name := range slices.Sorted(maps.Keys(s.cost)) {
		for i, v := range s.cost[name] {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("%s in %v is predicted to cost %v nats, which cannot be saved", name, s.Schemes[i], v)
			}
		}
		costs = append(costs, inJSON(name)+": "+inJSON(s.cost[name]))
	}
	facts := func(f Facts) (all []string) {
		for _, fact := range f {
			all = append(all, inJSON(fact))
		}
		return all
	}
	list := func(all []string) string { return strings.Join(all, ",\n  ") }
	return fmt.Appendf(nil, "{\n \"format\": %s,\n \"version\": %d,\n \"arithmetic\": %s,\n \"tokens\": %d,\n \"schemes\": %s,\n"+
		" \"model\": [\n  %s\n ],\n \"texts\": [\n  %s\n ],\n \"costs\": {\n  %s\n }\n}\n",
		inJSON(surveyFormat), surveyVersion, inJSON(SurveyArithmetic), s.Tokens, inJSON(schemes), list(facts(s.Model)), list(facts(s.Texts)), list(costs)), nil
}

// inJSON is a value of strings and finite numbers.
func inJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // there is no other kind of value
	}
	return string(text)
}

// ParseSurvey reads the text of a saved survey, which file is the name of.
func ParseSurvey(file string, text []byte) (*SavedSurvey, error) {
	s := &SavedSurvey{Survey: Survey{cost: map[string][]float64{}}}
	d := strictjson.NewDecoder(file, 0, text)
	var format, arithmetic string
	var version, tokens uint64
	var schemes []string
	missing := []string{"format", "version", "arithmetic", "model", "texts", "tokens", "schemes", "costs"}
	err := d.Object(func(key string) (err error) {
		at := slices.Index(missing, key)
		if at < 0 {
			return d.Fail("there is no such key in a survey")
		}
		missing = slices.Delete(missing, at, at+1)
		switch key {
		case "format":
			format, err = d.String()
		case "version":
			version, err = d.Uint()
		case "arithmetic":
			arithmetic, err = d.String()
		case "model":
			s.Model, err = readFacts(d)
		case "texts":
			s.Texts, err = readFacts(d)
		case "tokens":
			if tokens, err = d.Uint(); err == nil && (tokens == 0 || tokens > math.MaxInt32) {
				err = d.Fail("%d is no number of tokens", tokens)
			}
		case "schemes":
			schemes, err = readStrings(d)
		case "costs":
			err = readCosts(d, s.cost)
		}
		return err
	})
	if err == nil {
		err = d.End()
	}
	switch {
	case err != nil:
		return nil, err
	case len(missing) > 0:
		return nil, defect.Corrupt(file, missing[0], "is missing")
	case format != surveyFormat:
		return nil, defect.Corrupt(file, "format", "is %s, want %q", defect.Printable(format), surveyFormat)
	case version != surveyVersion:
		return nil, defect.Unsupported(file, "version %d of a survey (this program reads %d)", version, surveyVersion)
	case arithmetic != SurveyArithmetic:
		return nil, defect.Unsupported(file, "a survey by another version of this program, which predicts otherwise (%s, here %s): remove it to survey again; it", defect.Printable(arithmetic), SurveyArithmetic)
	}
	s.Tokens = int(tokens)
	for _, text := range schemes {
		x, err := qtensor.ParseScheme(text)
		if err != nil {
			return nil, defect.Corrupt(file, "schemes", "%v", err)
		}
		if x.Kind != qtensor.Int || x.String() != text {
			return nil, defect.Corrupt(file, "schemes", "%s is not an integer scheme as this program spells it", defect.Printable(text))
		}
		s.Schemes = append(s.Schemes, x)
	}
	for name, costs := range s.cost {
		if len(costs) != len(s.Schemes) || len(costs) == 0 {
			return nil, defect.Corrupt(file, "costs."+name, "has %d costs for %d schemes", len(costs), len(s.Schemes))
		}
	}
	return s, nil
}

func readStrings(d *strictjson.Decoder) (all []string, err error) {
	err = d.Array(func(int) error {
		text, err := d.String()
		all = append(all, text)
		return err
	})
	return all, err
}

func readFacts(d *strictjson.Decoder) (f Facts, err error) {
	err = d.Array(func(int) error {
		pair, err := readStrings(d)
		if err == nil && len(pair) != 2 {
			err = d.Fail("%d strings, want a name and a value", len(pair))
		}
		if err == nil {
			f = append(f, [2]string(pair))
		}
		return err
	})
	return f, err
}

func readCosts(d *strictjson.Decoder, cost map[string][]float64) error {
	return d.Object(func(name string) error {
		return d.Array(func(int) error {
			n, err := d.Number()
			if err != nil {
				return err
			}
			v, err := strconv.ParseFloat(string(n), 64)
			if err != nil {
				return d.Fail("%.64s does not fit a float64", string(n))
			}
			cost[name] = append(cost[name], v)
			return nil
		})
	})
}

// Fit returns why s is not a survey of m in these schemes, "" if it is. model says
// what m was made from.
func (s *SavedSurvey) Fit(m *model.Model, facts Facts, schemes []qtensor.Scheme) string {
	if d := s.Model.Differ(facts); d != "" {
		return "it is a survey of another model: " + d
	}
	if !slices.Equal(s.Schemes, schemes) {
		return fmt.Sprintf("it is a survey of other schemes (--schemes %s)", joined(s.Schemes))
	}
	n := 0
	for _, slot := range m.Spec.Slots() {
		if slot.Role != model.Linear && slot.Name != m.HeadName() {
			continue
		}
		if n++; s.cost[slot.Name] == nil {
			return slot.Name + " is not in it"
		}
	}
	if n != len(s.cost) {
		return fmt.Sprintf("it has costs of %d matrices, the model has %d", len(s.cost), n)
	}
	return ""
}

func joined(schemes []qtensor.Scheme) string {
	var all []string
	for _, x := range schemes {
		all = append(all, x.String())
	}
	return strings.Join(all, ",")
}

// MergeSurveys returns the mean of surveys that fit the same model and schemes,
// weighted by their tokens: what a text predicts that is made up of theirs.
func MergeSurveys(all []*SavedSurvey) *Survey {
	if len(all) == 1 {
		return &all[0].Survey
	}
	out := &Survey{all[0].Schemes, map[string][]float64{}}
	tokens := 0
	for _, s := range all {
		tokens += s.Tokens
	}
	for name := range all[0].cost {
		sums := make([]float64, len(out.Schemes))
		for _, s := range all {
			for i, v := range s.cost[name] {
				sums[i] += float64(v * float64(s.Tokens))
			}
		}
		for i := range sums {
			sums[i] /= float64(tokens)
		}
		out.cost[name] = sums
	}
	return out
}
