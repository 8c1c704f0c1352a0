// Package tokenizer turns text into token ids and back exactly as the Hugging
// Face tokenizers library does, for byte-level BPE read from tokenizer.json.
//
// ParseJSON and ApplyConfig turn files into Data, which a container stores;
// New checks Data and makes a Tokenizer of it. What is not known to be exact,
// such as a normalizer or an unfamiliar pattern, is refused by name.
package tokenizer

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/defect"
)

const (
	maxTokens   = 1 << 22   // ids are below this
	maxFile     = 128 << 20 // bytes of tokenizer.json and of encoded Data
	maxAdded    = 1 << 16   // added tokens
	maxContent  = 1 << 10   // bytes of an added token
	maxTemplate = 1 << 20   // bytes of a chat template
	maxSteps    = 16        // pre-tokenizer steps
	maxSpecials = 16        // ids put before or after a text
)

// ByteLevelBPE is the one value of Data.Model: pairs of tokens are merged in
// order of rank, starting from bytes (Sennrich et al. 2016, Radford et al. 2019).
const ByteLevelBPE = "byte-level-bpe"

// Data is everything that defines a tokenizer. Ids are indices of Tokens; an
// id of -1 means there is none.
type Data struct {
	Model  string   `cbor:"1,keyasint"`
	Tokens [][]byte `cbor:"2,keyasint"` // by id, the bytes each stands for
	// Literal holds, ascending, the ids the model cannot produce because they
	// are not spelled in its alphabet: they come from added tokens alone.
	Literal      []uint32 `cbor:"3,keyasint,omitempty"`
	Merges       []uint32 `cbor:"4,keyasint"`           // left, right, left, right ... by rank
	IgnoreMerges bool     `cbor:"5,keyasint,omitempty"` // a piece that is a token is not built by merges
	Steps        []Step   `cbor:"6,keyasint,omitempty"`
	Added        []Added  `cbor:"7,keyasint,omitempty"`

	Prefix       []uint32 `cbor:"8,keyasint,omitempty"` // put before the ids of a text
	Suffix       []uint32 `cbor:"9,keyasint,omitempty"` // and after them, when specials are asked for
	BOS          int      `cbor:"10,keyasint"`
	EOS          int      `cbor:"11,keyasint"`
	Pad          int      `cbor:"12,keyasint"`
	Unk          int      `cbor:"13,keyasint"`
	ChatTemplate string   `cbor:"14,keyasint,omitempty"` // Jinja
}

// A Step is one stage of cutting text into the pieces that are merged.
type Step string

// The steps that are known. The patterns are given as Hugging Face writes them.
const (
	// StepDigit makes each character of Unicode class N a piece.
	StepDigit Step = "digit"
	// StepDigits makes each run of characters of class N a piece.
	StepDigits Step = "digits"
	// StepSpace puts a space before a piece that does not begin with one.
	StepSpace Step = "space"
	// StepGPT2 is
	// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
	StepGPT2 Step = "gpt2"
	// StepLlama3 is (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|
	// \p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
	StepLlama3 Step = "llama3"
	// StepQwen2 is StepLlama3 with \p{N} in the place of \p{N}{1,3}.
	StepQwen2 Step = "qwen2"
)

// Added is a token that is looked for in the text before the model sees it.
type Added struct {
	ID         uint32 `cbor:"1,keyasint"`
	Content    string `cbor:"2,keyasint"`
	Special    bool   `cbor:"3,keyasint,omitempty"` // Decode can leave it out
	SingleWord bool   `cbor:"4,keyasint,omitempty"` // not next to a word character
	LStrip     bool   `cbor:"5,keyasint,omitempty"` // swallows white space before it
	RStrip     bool   `cbor:"6,keyasint,omitempty"` // and after it
	Normalized bool   `cbor:"7,keyasint,omitempty"` // looked for after those that are not
}

var (
	encMode cbor.EncMode
	decMode cbor.DecMode
)

func init() {
	var err error
	if encMode, err = cbor.CoreDetEncOptions().EncMode(); err != nil {
		panic(err)
	}
	decMode, err = cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   4,
		MaxArrayElements:  2 * maxTokens,
		MaxMapPairs:       16,
	}.DecMode()
	if err != nil {
		panic(err)
	}
}

// MarshalBinary encodes d as deterministic CBOR (RFC 8949 4.2.1): a map from
// the numbers in the field tags.
func (d *Data) MarshalBinary() ([]byte, error) {
	type plain Data // without this method
	return encMode.Marshal((*plain)(d))
}

// DecodeData decodes what MarshalBinary wrote. It checks the form; New checks
// the meaning.
func DecodeData(b []byte) (*Data, error) {
	if len(b) > maxFile {
		return nil, corrupt("", "%d bytes exceed the limit of %d", len(b), maxFile)
	}
	type plain Data
	var d plain
	if err := decMode.Unmarshal(b, &d); err != nil {
		return nil, corrupt("", "%v", err)
	}
	return (*Data)(&d), nil
}

func corrupt(field, format string, args ...any) error {
	return defect.Corrupt("tokenizer", field, format, args...)
}

// check reports the first way in which d does not define a tokenizer.
func (d *Data) check() error {
	if d.Model != ByteLevelBPE {
		return defect.Unsupported("tokenizer", "model %q", defect.Printable(d.Model))
	}
	n := len(d.Tokens)
	if n == 0 || n > maxTokens {
		return corrupt("tokens", "%d tokens, want 1 to %d", n, maxTokens)
	}
	for i, id := range d.Literal {
		if int(id) >= n || i > 0 && id <= d.Literal[i-1] {
			return corrupt("literal", "id %d is out of order or not below %d", id, n)
		}
	}
	if err := d.checkSteps(); err != nil {
		return err
	}
	if err := d.checkAdded(); err != nil {
		return err
	}
	if len(d.Prefix) > maxSpecials || len(d.Suffix) > maxSpecials {
		return corrupt("template", "more than %d ids before or after a text", maxSpecials)
	}
	for _, id := range append(d.Prefix[:len(d.Prefix):len(d.Prefix)], d.Suffix...) {
		if int(id) >= n {
			return corrupt("template", "id %d is not below %d", id, n)
		}
	}
	for _, s := range []struct {
		name string
		id   int
	}{{"bos", d.BOS}, {"eos", d.EOS}, {"pad", d.Pad}, {"unk", d.Unk}} {
		if s.id < -1 || s.id >= n {
			return corrupt(s.name, "id %d is not -1 or below %d", s.id, n)
		}
	}
	if len(d.ChatTemplate) > maxTemplate {
		return corrupt("chat_template", "%d bytes exceed the limit of %d", len(d.ChatTemplate), maxTemplate)
	}
	return nil
}

func (d *Data) checkSteps() error {
	if len(d.Steps) > maxSteps {
		return corrupt("steps", "%d steps, want at most %d", len(d.Steps), maxSteps)
	}
	for _, s := range d.Steps {
		if _, ok := cutters[s]; !ok && s != StepSpace {
			return defect.Unsupported("tokenizer", "pre-tokenizer step %q", defect.Printable(string(s)))
		}
	}
	return nil
}

func (d *Data) checkAdded() error {
	if len(d.Added) > maxAdded {
		return corrupt("added_tokens", "%d entries, want at most %d", len(d.Added), maxAdded)
	}
	contents := make(map[string]bool, len(d.Added))
	ids := make(map[uint32]bool, len(d.Added))
	for _, a := range d.Added {
		field := fmt.Sprintf("added token %d", a.ID)
		switch {
		case int(a.ID) >= len(d.Tokens):
			return corrupt(field, "id is not below %d", len(d.Tokens))
		case a.Content == "" || len(a.Content) > maxContent:
			return corrupt(field, "%d bytes long, want 1 to %d", len(a.Content), maxContent)
		case contents[a.Content] || ids[a.ID]:
			return corrupt(field, "%q is listed twice", defect.Printable(a.Content))
		}
		contents[a.Content], ids[a.ID] = true, true
	}
	return nil
}
