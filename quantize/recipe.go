package quantize

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/strictyaml"
	"thimble/quantize/rounding"
	"thimble/quantize/words"
)

// A Recipe specifies how each tensor will be stored. --recipe reads its YAML form, and
// containers record it. No function of this package changes a recipe that it is given.
//
// The schemes of the linear layers, of the embedding (also the head, if the two are tied)
// and of an untied head are separate fields, because their errors have different costs.
// Rules then override single tensors; the last match wins.
type Recipe struct {
	Scheme    string `yaml:"scheme"`              // linear layers; "keep" is the type in the source
	Method    string `yaml:"method,omitempty"`    // how codes are chosen, see rounding.Methods; default: rounding.MethodRTN
	Embedding string `yaml:"embedding,omitempty"` // default: Scheme
	Head      string `yaml:"head,omitempty"`      // an untied head; default: Embedding
	Vectors   string `yaml:"vectors,omitempty"`   // norms and biases: a float type or "keep"; default: f32 with Tune, otherwise keep
	Rules     []Rule `yaml:"set,omitempty"`

	// EntropyCoded stores integer codes in as many bits as their entropy takes. It changes the
	// file and not the model.
	EntropyCoded bool `yaml:"entropy_coded,omitempty"`

	Without []string `yaml:"without,omitempty"` // steps of Method that are omitted; see rounding.Steps

	// Texts identifies the texts that the method is calibrated on; nil without
	// calibration.
	Texts *Texts `yaml:"calibration,omitempty"`

	// Tune is the number of tokens of Texts on which scales, minima, norm gains and biases are
	// tuned after rounding; 0 does not tune. See package quantize/tuning.
	Tune int `yaml:"tune,omitempty"`

	// PredictedKL is the divergence in nats per token that a budget predicted for the
	// schemes it chose, or measured on held-out text, to three digits; 0 otherwise. It
	// does not change the tensors. Verify derives default gates from it.
	PredictedKL float64 `yaml:"predicted_kl,omitempty"`
}

// Texts identifies the texts of a Calibration, so that a recipe can be repeated.
type Texts struct {
	Name    string   `yaml:"text,omitempty"` // of a built-in text; files have none
	SHA256  []string `yaml:"sha256"`         // of each text, in order
	Tokens  int      `yaml:"tokens"`         // of all texts together
	Context int      `yaml:"context"`        // of each piece
	Seed    uint64   `yaml:"seed,omitempty"` // of the choice of pieces; see Pieces
}

// A Rule overrides the scheme of the tensors whose canonical name matches.
type Rule struct {
	Tensors string `yaml:"tensors"` // pattern, part by part: "blocks.*.down"
	Scheme  string `yaml:"scheme"`
}

// Keep, instead of a scheme, stores a tensor in its type in the source.
const Keep = "keep"

// ParseRecipe reads a recipe's YAML. Unknown and repeated keys are errors that name the
// line.
func ParseRecipe(text []byte) (*Recipe, error) {
	var r Recipe
	if err := strictyaml.Decode(text, &r); err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	return &r, nil
}

// ParseRule parses a rule in the form of the --set flag, "pattern=scheme".
func ParseRule(text string) (Rule, error) {
	pattern, scheme, ok := strings.Cut(text, "=")
	if !ok || pattern == "" {
		return Rule{}, fmt.Errorf("%q is not pattern=scheme, such as 'blocks.*.down=int8/g32'", text)
	}
	return Rule{pattern, scheme}, nil
}

// YAML returns the canonical text of r, with explicit defaults.
func (r *Recipe) YAML() (string, error) {
	full, err := r.resolve()
	if err != nil {
		return "", err
	}
	return full.yaml()
}

// Summary describes r in one line: the method, its texts and the schemes.
func (r *Recipe) Summary() string {
	parts := []string{cmp.Or(r.Method, rounding.MethodRTN)}
	if r.Texts != nil {
		parts[0] += fmt.Sprintf(" on %d tokens", r.Texts.Tokens)
	}
	if len(r.Without) > 0 {
		parts[0] += " without " + strings.Join(r.Without, ", ")
	}
	if r.Tune > 0 {
		parts[0] += fmt.Sprintf(", tuned on %d", r.Tune)
	}
	if r.EntropyCoded {
		parts = append(parts, "entropy coded")
	}
	parts = append(parts, r.Scheme)
	if r.Embedding != "" && r.Embedding != r.Scheme {
		parts = append(parts, "embedding "+r.Embedding)
	}
	if r.Head != "" && r.Head != cmp.Or(r.Embedding, r.Scheme) {
		parts = append(parts, "head "+r.Head)
	}
	switch n := len(r.Rules); {
	case n == 1:
		parts = append(parts, "1 rule for other tensors")
	case n > 1:
		parts = append(parts, fmt.Sprintf("%d rules for other tensors", n))
	}
	return strings.Join(parts, ", ")
}

// CheckMethod returns an error if r's method does not exist or lacks a step that r omits.
// It needs no model.
func (r *Recipe) CheckMethod() error {
	_, err := rounding.Choose(cmp.Or(r.Method, rounding.MethodRTN), r.Without)
	return err
}

// A storage specifies how one tensor will be stored: in a scheme or, with keep, in its
// type in the source.
type storage struct {
	keep   bool
	scheme Scheme
}

func parseStorage(text string) (storage, error) {
	if text == Keep {
		return storage{keep: true}, nil
	}
	s, err := words.Scheme(text)
	return storage{scheme: s}, err
}

// String returns the canonical text, which parseStorage parses.
func (s storage) String() string {
	if s.keep {
		return Keep
	}
	return s.scheme.String()
}

// A resolvedRecipe is a recipe with all defaults filled in, its schemes parsed and its
// method found. It is immutable.
type resolvedRecipe struct {
	canonical Recipe // the same as text
	method    rounding.Variant
	byRole    [4]storage // by model.Role
	rules     []storage  // of canonical.Rules
}

func (r *Recipe) resolve() (*resolvedRecipe, error) {
	f := &resolvedRecipe{canonical: *r}
	c := &f.canonical
	if c.Scheme == "" {
		return nil, errors.New("the recipe names no scheme; int4/g32 is usual for phones, int8/g32 has no visible loss")
	}
	if !(c.PredictedKL >= 0 && c.PredictedKL <= math.MaxFloat32) {
		return nil, fmt.Errorf("predicted_kl %g is not a number of nats per token", c.PredictedKL)
	}
	c.Method = cmp.Or(c.Method, rounding.MethodRTN)
	c.Embedding = cmp.Or(c.Embedding, c.Scheme)
	c.Head = cmp.Or(c.Head, c.Embedding)
	switch {
	case c.Tune < 0:
		return nil, fmt.Errorf("tune: %d tokens, want a positive number", c.Tune)
	case c.Tune > 0 && c.Texts == nil:
		return nil, errors.New("tuning needs calibration texts")
	case c.Tune > 0: // a gain of bf16 would stay within one step of it
		c.Vectors = cmp.Or(c.Vectors, "f32")
	}
	c.Vectors = cmp.Or(c.Vectors, Keep)
	var err error
	if f.method, err = rounding.Choose(c.Method, c.Without); err != nil {
		return nil, err
	}
	c.Without = f.method.Without()
	if rounding.NeedsTexts(c.Method) && c.Texts == nil {
		return nil, fmt.Errorf("method %s needs calibration texts", c.Method)
	}
	for _, field := range []struct {
		role model.Role
		text *string
	}{{model.Linear, &c.Scheme}, {model.Embedding, &c.Embedding}, {model.Output, &c.Head}, {model.Vector, &c.Vectors}} {
		if err := f.byRole[field.role].read(field.text); err != nil {
			return nil, err
		}
	}
	if v := f.byRole[model.Vector]; !v.keep && !v.scheme.Float() {
		return nil, fmt.Errorf("vectors cannot be stored as %s: norms and biases stay f32, f16 or bf16", c.Vectors)
	}
	c.Rules = slices.Clone(r.Rules)
	f.rules = make([]storage, len(c.Rules))
	for i := range c.Rules {
		if _, err := model.Match(c.Rules[i].Tensors, ""); err != nil {
			return nil, err
		}
		if err := f.rules[i].read(&c.Rules[i].Scheme); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// read parses text and replaces it by its canonical form.
func (s *storage) read(text *string) (err error) {
	if *s, err = parseStorage(*text); err == nil {
		*text = s.String()
	}
	return err
}

// notes returns a note for each scheme of r that has another program's name.
func (r *Recipe) notes() (notes []string) {
	texts := []string{r.Scheme, r.Embedding, r.Head, r.Vectors}
	for _, rule := range r.Rules {
		texts = append(texts, rule.Scheme)
	}
	for _, text := range texts {
		if note := words.Same(text); note != "" && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	return notes
}

func (f *resolvedRecipe) yaml() (string, error) { return strictyaml.Encode(&f.canonical) }

// storage returns how f stores slot, and marks in used the rules that match it.
func (f *resolvedRecipe) storage(slot Slot, used []bool) storage {
	s := f.byRole[slot.Role]
	for i, rule := range f.canonical.Rules {
		if ok, _ := model.Match(rule.Tensors, slot.Name); ok { // resolve has checked the pattern
			s, used[i] = f.rules[i], true
		}
	}
	return s
}
