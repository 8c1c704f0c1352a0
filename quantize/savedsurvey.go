package quantize

import (
	"crypto/sha256"
	"encoding/hex"
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

// The start of a survey's file.
const (
	surveyFormat  = "thimble survey"
	surveyVersion = 1 // of the file format

	// surveyArithmetic is the version of the bits that NewSurvey computes, which any
	// change to them increases.
	surveyArithmetic = 6
)

// A SavedSurvey is a Survey with the facts that identify its inputs. It does not have
// second moments: rounding uses those of the inputs in the quantized model, which depend
// on everything that was rounded before.
type SavedSurvey struct {
	Survey
	Model  Facts // its files, and how they were read
	Texts  Facts
	Tokens int // of the texts: the survey's weight in a merger of several
}

// Text returns the contents of a survey's file, JSON with a line for each fact and matrix:
//
//	{
//	 "format": "thimble survey",
//	 "version": 1,
//	 "arithmetic": 4,
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
//	 },
//	 "digest": "SHA-256 of all that is before the comma"
//	}
//
// Costs are sorted by name and written in the fewest digits that read back the same.
func (s *SavedSurvey) Text() ([]byte, error) {
	text, err := s.text()
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(text, ",\n \"digest\": %q\n}\n", surveyDigest(text)), nil
}

func surveyDigest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// text returns what Text does, up to the costs.
func (s *SavedSurvey) text() ([]byte, error) {
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
	return fmt.Appendf(nil, "{\n \"format\": %s,\n \"version\": %d,\n \"arithmetic\": %d,\n \"tokens\": %d,\n \"schemes\": %s,\n"+
		" \"model\": [\n  %s\n ],\n \"texts\": [\n  %s\n ],\n \"costs\": {\n  %s\n }",
		inJSON(surveyFormat), surveyVersion, surveyArithmetic, s.Tokens, inJSON(schemes), list(facts(s.Model)), list(facts(s.Texts)), list(costs)), nil
}

// inJSON returns v, which has only strings and finite numbers, as JSON.
func inJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // v has only strings and finite numbers
	}
	return string(text)
}

// A surveyFile is the decoded JSON of a saved survey, before it is checked.
type surveyFile struct {
	format          string
	version, tokens uint64
	arithmetic      string // of digits; quoted if it is a string
	schemes         []string
	model, texts    Facts
	costs           map[string][]float64
	digest          string // "" in those of early versions
}

// surveyKeys lists the keys, all required except the last, with functions that read their values.
var surveyKeys = []struct {
	name string
	read func(f *surveyFile, d *strictjson.Decoder) error
}{
	{"format", func(f *surveyFile, d *strictjson.Decoder) (err error) { f.format, err = d.String(); return err }},
	{"version", func(f *surveyFile, d *strictjson.Decoder) (err error) { f.version, err = d.Uint(); return err }},
	{"arithmetic", (*surveyFile).readArithmetic},
	{"model", func(f *surveyFile, d *strictjson.Decoder) (err error) { f.model, err = readFacts(d); return err }},
	{"texts", func(f *surveyFile, d *strictjson.Decoder) (err error) { f.texts, err = readFacts(d); return err }},
	{"tokens", (*surveyFile).readTokens},
	{"schemes", func(f *surveyFile, d *strictjson.Decoder) (err error) { f.schemes, err = readStrings(d); return err }},
	{"costs", (*surveyFile).readCosts},
	{"digest", func(f *surveyFile, d *strictjson.Decoder) (err error) { f.digest, err = d.String(); return err }},
}

// ParseSurvey reads the text of a saved survey. file is its name, for errors.
func ParseSurvey(file string, text []byte) (*SavedSurvey, error) {
	f := &surveyFile{costs: map[string][]float64{}}
	d := strictjson.NewDecoder(file, 0, text)
	missing := slices.Clone(surveyKeys)
	err := d.Object(func(key string) error {
		for i, k := range missing {
			if k.name == key {
				missing = slices.Delete(missing, i, i+1)
				return k.read(f, d)
			}
		}
		return d.Fail("there is no such key in a survey")
	})
	if err == nil {
		err = d.End()
	}
	switch {
	case err != nil:
		return nil, err
	case len(missing) > 0 && missing[0].name != "digest": // the last
		return nil, defect.Corrupt(file, missing[0].name, "is missing")
	case f.format != surveyFormat:
		return nil, defect.Corrupt(file, "format", "is %s, want %q", defect.Printable(f.format), surveyFormat)
	case f.version != surveyVersion:
		return nil, defect.Unsupported(file, "version %d of a survey (this program reads %d)", f.version, surveyVersion)
	case f.arithmetic != strconv.Itoa(surveyArithmetic):
		return nil, defect.Unsupported(file, "a survey by another version of this program, whose predictions differ (arithmetic %s, here %d): remove it to survey again; it", f.arithmetic, surveyArithmetic)
	}
	return f.survey(file)
}

// survey checks the schemes and costs of f.
func (f *surveyFile) survey(file string) (*SavedSurvey, error) {
	s := &SavedSurvey{Survey: Survey{cost: f.costs}, Model: f.model, Texts: f.texts, Tokens: int(f.tokens)}
	for _, text := range f.schemes {
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
	if f.digest == "" {
		return s, nil
	}
	text, err := s.text()
	if err != nil || surveyDigest(text) != f.digest {
		return nil, defect.Corrupt(file, "digest", "is not that of the survey, which is damaged or was changed by hand: remove it to survey again")
	}
	return s, nil
}

// readArithmetic reads a version. Older programs wrote a hash, as a string.
func (f *surveyFile) readArithmetic(d *strictjson.Decoder) error {
	if d.Kind() == '"' {
		hash, err := d.String()
		f.arithmetic = fmt.Sprintf("%.40q", hash)
		return err
	}
	n, err := d.Uint()
	f.arithmetic = strconv.FormatUint(n, 10)
	return err
}

func (f *surveyFile) readTokens(d *strictjson.Decoder) (err error) {
	if f.tokens, err = d.Uint(); err == nil && (f.tokens == 0 || f.tokens > math.MaxInt32) {
		err = d.Fail("%d is no number of tokens", f.tokens)
	}
	return err
}

func (f *surveyFile) readCosts(d *strictjson.Decoder) error {
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
			f.costs[name] = append(f.costs[name], v)
			return nil
		})
	})
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

// Fit returns why s is not a survey of m in these schemes, or "" if it is. facts identify
// m.
func (s *SavedSurvey) Fit(m *Model, facts Facts, schemes []Scheme) string {
	if d := s.Model.Differ(facts); d != "" {
		return "it is a survey of another model: " + d
	}
	if why := s.Covers(schemes); why != "" {
		return why
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

// Covers is the part of Fit that needs no model: it returns "" if s is a survey in these
// schemes.
func (s *SavedSurvey) Covers(schemes []Scheme) string {
	if slices.Equal(s.Schemes, schemes) {
		return ""
	}
	return fmt.Sprintf("it is a survey of other schemes (--schemes %s)", joined(s.Schemes))
}

// joined returns the schemes with commas between them.
func joined(schemes []Scheme) string {
	var all []string
	for _, x := range schemes {
		all = append(all, x.String())
	}
	return strings.Join(all, ",")
}

// MergeSurveys returns the mean of surveys that fit the same model and schemes, weighted
// by their tokens: the prediction for their texts combined.
func MergeSurveys(all []*SavedSurvey) *Survey {
	if len(all) == 1 {
		return &all[0].Survey
	}
	out := &Survey{Schemes: all[0].Schemes, cost: map[string][]float64{}}
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
