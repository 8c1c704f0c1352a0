// Package quantize turns a model into one that is stored in fewer bits. A
// Recipe says which tensor gets which scheme and method; Plan applies it to a
// model without reading a weight; Run carries the plan out.
package quantize

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/strictyaml"
)

// A Recipe says how each tensor is to be stored. Its YAML form is what
// --recipe reads and what the container keeps.
//
// The schemes of the linear layers, of the embedding (also the head, where the
// two are tied) and of an untied head are set apart, because their errors cost
// differently: Rules then override single tensors, the last match winning.
type Recipe struct {
	Scheme    string `yaml:"scheme"`              // linear layers; "keep" is the type in the source
	Method    string `yaml:"method,omitempty"`    // how codes are chosen: see Methods
	Embedding string `yaml:"embedding,omitempty"` // default: Scheme
	Head      string `yaml:"head,omitempty"`      // an untied head; default: Embedding
	Vectors   string `yaml:"vectors,omitempty"`   // norms and biases: a float type or "keep", the default
	Rules     []Rule `yaml:"set,omitempty"`

	Without []string `yaml:"without,omitempty"` // steps of Method that are left out: see Steps

	// Texts says what the method was calibrated on; nil without calibration.
	Texts *Texts `yaml:"calibration,omitempty"`
}

// Texts names a Calibration, so that a recipe can be repeated.
type Texts struct {
	SHA256  []string `yaml:"sha256"`         // of each text, in order
	Tokens  int      `yaml:"tokens"`         // in all
	Context int      `yaml:"context"`        // of each piece
	Seed    uint64   `yaml:"seed,omitempty"` // that drew the pieces, see Pieces
}

// A Rule overrides the scheme of the tensors whose canonical name matches.
type Rule struct {
	Tensors string `yaml:"tensors"` // pattern: see model.Match
	Scheme  string `yaml:"scheme"`
}

// Keep in place of a scheme stores a tensor in the type it has in the source.
const Keep = "keep"

// ParseRecipe reads a recipe's YAML. Unknown and repeated keys are errors that
// give the line.
func ParseRecipe(text []byte) (*Recipe, error) {
	var r Recipe
	if err := strictyaml.Decode(text, &r); err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	return &r, nil
}

// ParseRule reads the form of the --set flag, "pattern=scheme".
func ParseRule(text string) (Rule, error) {
	pattern, scheme, ok := strings.Cut(text, "=")
	if !ok || pattern == "" {
		return Rule{}, fmt.Errorf("%q is not pattern=scheme, such as 'blocks.*.down=int8/g32'", text)
	}
	return Rule{pattern, scheme}, nil
}

// YAML is the canonical text of r, with every default written out.
func (r *Recipe) YAML() (string, error) {
	full, err := r.full()
	if err != nil {
		return "", err
	}
	return strictyaml.Encode(full)
}

// full returns r with defaults filled in and schemes spelled canonically.
func (r *Recipe) full() (*Recipe, error) {
	f := *r
	if f.Scheme == "" {
		return nil, errors.New("the recipe names no scheme; int4/g32 is the usual one for phones, int8/g32 the careful one")
	}
	fill := func(s *string, text string) {
		if *s == "" {
			*s = text
		}
	}
	fill(&f.Method, MethodRTN)
	fill(&f.Embedding, f.Scheme)
	fill(&f.Head, f.Embedding)
	fill(&f.Vectors, Keep)
	f.Rules = append([]Rule(nil), r.Rules...)
	if _, err := methodNamed(f.Method, f.Without); err != nil {
		return nil, err
	}
	f.Without = nil
	for _, step := range Steps(f.Method) { // in its order
		if slices.Contains(r.Without, step) {
			f.Without = append(f.Without, step)
		}
	}
	if f.Method != MethodRTN && f.Texts == nil {
		return nil, fmt.Errorf("method %s needs calibration texts", f.Method)
	}
	spell := func(text *string) error {
		if *text == Keep {
			return nil
		}
		s, err := qtensor.ParseScheme(*text)
		*text = s.String()
		return err
	}
	for _, text := range []*string{&f.Scheme, &f.Embedding, &f.Head, &f.Vectors} {
		if err := spell(text); err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(f.Vectors, "int") {
		return nil, fmt.Errorf("vectors cannot be stored as %s: norms and biases stay f32, f16 or bf16", f.Vectors)
	}
	for i := range f.Rules {
		if _, err := model.Match(f.Rules[i].Tensors, ""); err != nil {
			return nil, err
		}
		if err := spell(&f.Rules[i].Scheme); err != nil {
			return nil, err
		}
	}
	return &f, nil
}

// scheme returns the spelling that the full recipe r gives to slot s, and marks
// in used the rules that matched.
func (r *Recipe) scheme(s model.Slot, used []bool) string {
	text := map[model.Role]string{
		model.Vector: r.Vectors, model.Linear: r.Scheme, model.Embedding: r.Embedding, model.Output: r.Head,
	}[s.Role]
	for i, rule := range r.Rules {
		if ok, _ := model.Match(rule.Tensors, s.Name); ok { // full has checked the pattern
			text, used[i] = rule.Scheme, true
		}
	}
	return text
}
