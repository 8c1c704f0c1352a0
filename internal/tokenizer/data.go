// Package tokenizer converts text to token ids and back exactly as the Hugging Face
// tokenizers library and sentencepiece do.
//
// Data defines a tokenizer. Package tokenfile reads it from files, and a container stores it.
// New checks Data and returns a Tokenizer for it. Every Tokenizer works in the same way: it
// finds added tokens, applies the rules of the normalizer and the steps of the pre-tokenizer
// to the text between them, and encodes each resulting piece with the model. A decoder
// converts ids back.
package tokenizer

import (
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/defect"
)

const (
	MaxTokens   = 1 << 22   // tokens; ids are below it
	MaxFile     = 128 << 20 // bytes of a tokenizer's file and of encoded Data
	MaxAdded    = 1 << 16   // added tokens
	maxContent  = 1 << 10   // bytes of an added token and of a rule's texts
	maxTemplate = 1 << 20   // bytes of a chat template
	maxSteps    = 16        // pre-tokenizer steps, and rules of a normalizer or decoder
	maxSpecials = 16        // ids added before or after a text
	maxCharsmap = 4 << 20   // bytes
	maxGrowth   = 256       // factor by which rules or a charsmap may lengthen a text
	MaxPiece    = 1 << 16   // bytes of a sentencepiece token
)

// Values of Data.Model.
const (
	// ByteLevelBPE merges pairs of tokens in order of rank, starting from bytes
	// (Sennrich et al. 2016, Radford et al. 2019).
	ByteLevelBPE = "byte-level-bpe"
	// BPE does the same starting from characters, for a tokenizer.json that was
	// converted from sentencepiece.
	BPE = "bpe"
	// SentencePieceBPE merges adjacent tokens in order of the score of the result,
	// highest first, starting from characters (sentencepiece, bpe_model.cc).
	SentencePieceBPE = "sentencepiece-bpe"
	// SentencePieceUnigram takes the tokens with the largest sum of scores, computed in
	// float32 (Kudo 2018; sentencepiece, unigram_model.cc, EncodeOptimized).
	SentencePieceUnigram = "sentencepiece-unigram"
	// Unigram is the same computed in float64, as in Hugging Face.
	Unigram = "unigram"
)

// Data defines a tokenizer. Ids are indices of Tokens; an id of -1 means none.
type Data struct {
	Model string `cbor:"1,keyasint"`
	// Tokens holds, by id, the bytes of the token in ByteLevelBPE. In the other models it
	// holds the text as in the vocabulary: U+2581 for a space, <0x0A> for a byte.
	Tokens [][]byte `cbor:"2,keyasint"`
	// Literal lists, in ascending order, the ids that the model cannot produce, because
	// they are not in its own vocabulary. Only added tokens give them.
	Literal []uint32 `cbor:"3,keyasint,omitempty"`
	// Merges lists left, right, left, right, ... by rank, in ByteLevelBPE and BPE.
	Merges       []uint32 `cbor:"4,keyasint,omitempty"`
	IgnoreMerges bool     `cbor:"5,keyasint,omitempty"` // a piece that is a token becomes it without merges
	Steps        []Step   `cbor:"6,keyasint,omitempty"` // the pre-tokenizer
	Added        []Added  `cbor:"7,keyasint,omitempty"`

	Prefix       []uint32 `cbor:"8,keyasint,omitempty"` // added before the ids of a text on request
	Suffix       []uint32 `cbor:"9,keyasint,omitempty"` // added after them on request
	BOS          int      `cbor:"10,keyasint"`
	EOS          int      `cbor:"11,keyasint"`
	Pad          int      `cbor:"12,keyasint"`
	Unk          int      `cbor:"13,keyasint"`
	ChatTemplate string   `cbor:"14,keyasint,omitempty"` // Jinja

	Normalizer []Rule `cbor:"15,keyasint,omitempty"`
	Decoder    []Rule `cbor:"16,keyasint,omitempty"` // if empty, a text is the concatenation of its tokens
	// Scores holds the score of each id, for SentencePieceBPE and both unigram models.
	// They are float32 values, except in Unigram. BPE may have them but ignores them.
	Scores []float64 `cbor:"17,keyasint,omitempty"`
	// Kinds holds the type of each id in sentencepiece, the same as in GGUF. The two
	// models of sentencepiece use it; BPE may have it but ignores it.
	Kinds []byte `cbor:"18,keyasint,omitempty"`
	// ByteFallback encodes characters without a token as the tokens <0x00> to <0xFF>.
	ByteFallback bool `cbor:"19,keyasint,omitempty"`
	// Unknown decides what becomes of the characters that remain.
	Unknown Unknown `cbor:"20,keyasint,omitempty"`
	// SentencePiece replaces Normalizer and Decoder in the two models of sentencepiece.
	SentencePiece *SentencePiece `cbor:"21,keyasint,omitempty"`
	// ToolTemplate replaces ChatTemplate in conversations with tools; "" if that serves both.
	ToolTemplate string `cbor:"22,keyasint,omitempty"`

	Notes []string `cbor:"-"` // for the user: parts of the files that have no effect
}

// SetTemplate sets one of several chat templates, by the name that transformers gives it. It
// leaves out those that a conversation gets only by name, such as rag, with a note.
func (d *Data) SetTemplate(name, text string) {
	switch name {
	case "default":
		d.ChatTemplate = text
	case "tool_use":
		d.ToolTemplate = text
	default:
		note := fmt.Sprintf("the chat template %q is left out: conversations use default, and with tools tool_use", defect.Printable(name))
		if !slices.Contains(d.Notes, note) {
			d.Notes = append(d.Notes, note)
		}
	}
}

// Values of Data.Kinds (sentencepiece_model.proto, SentencePiece.Type; llama.h,
// llama_token_type).
const (
	KindNormal      byte = 1
	KindUnknown     byte = 2
	KindControl     byte = 3 // never encodes text
	KindUserDefined byte = 4 // found in text before any merge
	KindUnused      byte = 5 // an intermediate result of merges, never an id
	KindByte        byte = 6 // of the form <0x00> to <0xFF>
)

// Unknown decides what becomes of a character without a token.
type Unknown string

const (
	UnknownDropped Unknown = ""    // it is omitted
	UnknownEach    Unknown = "unk" // each becomes Data.Unk
	UnknownRun     Unknown = "run" // a run of them becomes one Data.Unk
)

// A Rule changes text before the steps cut it, or tokens when they are decoded.
type Rule struct {
	Op  Op     `cbor:"1,keyasint"`
	Old string `cbor:"2,keyasint,omitempty"`
	New string `cbor:"3,keyasint,omitempty"`
}

// String returns the rule in words: its operation and what it takes.
func (r Rule) String() string {
	text := string(r.Op)
	for _, arg := range []string{r.Old, r.New} {
		if arg != "" {
			text += fmt.Sprintf(" %q", arg)
		}
	}
	return text
}

// An Op is the operation of a Rule.
type Op string

// Operations of a normalizer. A decoder can use OpReplace as well, for each token.
const (
	OpNFC     Op = "nfc" // Unicode normalization forms
	OpNFD     Op = "nfd"
	OpNFKC    Op = "nfkc"
	OpNFKD    Op = "nfkd"
	OpPrepend Op = "prepend" // adds New before a text that is not empty
	OpReplace Op = "replace" // replaces each Old by New

	OpLower          Op = "lower"           // maps each character to its lower case
	OpAccents        Op = "strip-accents"   // removes combining marks
	OpTrimStart      Op = "trim-start"      // removes white space at the start
	OpTrimEnd        Op = "trim-end"        // removes white space at the end
	OpClean          Op = "clean"           // removes control characters, and makes white space a space
	OpIdeographs     Op = "ideographs"      // adds a space on each side of an ideograph
	OpMarks          Op = "strip-marks"     // decomposes characters and removes marks without a width
	OpReplacePattern Op = "replace-pattern" // replaces each match of Old, of package pattern, by New
	OpCharsmap       Op = "charsmap"        // Hugging Face's reading of Old, a precompiled_charsmap in base64
)

// Operations of a decoder.
const (
	OpBytes     Op = "bytes"      // decodes a token <0x0A> as that byte
	OpStrip     Op = "strip"      // removes one Old at the start of the whole text
	OpDropFirst Op = "drop-first" // removes every Old in the first token
)

// SentencePiece describes how sentencepiece normalizes a text, which its decoder undoes
// (sentencepiece_model.proto, NormalizerSpec, TrainerSpec).
type SentencePiece struct {
	DummyPrefix bool   `cbor:"1,keyasint,omitempty"` // adds a space before a text
	RemoveExtra bool   `cbor:"2,keyasint,omitempty"` // removes leading, trailing and repeated spaces
	KeepSpaces  bool   `cbor:"3,keyasint,omitempty"` // does not replace spaces by U+2581
	Suffix      bool   `cbor:"4,keyasint,omitempty"` // adds the dummy prefix after the text instead
	Charsmap    []byte `cbor:"5,keyasint,omitempty"` // precompiled_charsmap; empty means identity
	UnkSurface  string `cbor:"6,keyasint,omitempty"` // the text that Data.Unk decodes to
}

// A Step is one step of the pre-tokenizer, which cuts text into the pieces that the model
// encodes.
type Step string

// The supported steps. The patterns are in the syntax of Hugging Face.
const (
	// StepDigit makes each character of Unicode category N a piece.
	StepDigit Step = "digit"
	// StepDigits makes each run of characters of category N a piece.
	StepDigits Step = "digits"
	// StepSpace adds a space before a piece that does not begin with one.
	StepSpace Step = "space"
	// StepGPT2 cuts by
	// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
	StepGPT2 Step = "gpt2"
	// StepLlama3 cuts by (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|
	// \p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
	StepLlama3 Step = "llama3"
	// StepQwen2 is StepLlama3 with \p{N} instead of \p{N}{1,3}.
	StepQwen2 Step = "qwen2"
	// StepEscape replaces each space by U+2581.
	StepEscape Step = "escape"
	// StepMark adds U+2581 before a piece that does not begin with it.
	StepMark Step = "mark"
	// StepMarkFirst does the same only for the piece at the start of the text.
	StepMarkFirst Step = "mark-first"
	// StepWords begins a piece at each U+2581.
	StepWords Step = "words"
	// StepAfterSpace ends a piece after each space.
	StepAfterSpace Step = "after-space"
	// StepLetters spells the text in the byte-level alphabet for the steps after it. The
	// model gets bytes again.
	StepLetters Step = "letters"
)

// Other steps split a text by a pattern of package pattern, for example isolated:\p{N}{1,3}.
// A step begins with isolated, removed, contiguous, with-previous or with-next, which says
// what becomes of the matches; not- before that exchanges the matches and the rest. Instead
// of a colon and a pattern, a space and one of these may follow: punctuation, space (one
// character of the class), words (\w+|[^\w\s]+).

// Added is a token that the Tokenizer finds in the text before it applies the model.
type Added struct {
	ID         uint32 `cbor:"1,keyasint"`
	Content    string `cbor:"2,keyasint"`
	Special    bool   `cbor:"3,keyasint,omitempty"` // AppendDecode can skip it
	SingleWord bool   `cbor:"4,keyasint,omitempty"` // does not match next to a word character
	LStrip     bool   `cbor:"5,keyasint,omitempty"` // includes the white space before it
	RStrip     bool   `cbor:"6,keyasint,omitempty"` // includes the white space after it
	Normalized bool   `cbor:"7,keyasint,omitempty"` // matches the normalized text, after the other tokens
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
		MaxArrayElements:  2 * MaxTokens,
		MaxMapPairs:       32,
	}.DecMode()
	if err != nil {
		panic(err)
	}
}

// MarshalBinary encodes d as deterministic CBOR (RFC 8949 4.2.1): a map whose keys are the
// numbers in the field tags.
func (d *Data) MarshalBinary() ([]byte, error) {
	type plain Data // without this method
	return encMode.Marshal((*plain)(d))
}

// DecodeData decodes the result of MarshalBinary. It checks only the encoding; New checks
// the values. The tokens are parts of b, which must not change.
func DecodeData(b []byte) (*Data, error) {
	if len(b) > MaxFile {
		return nil, corrupt("", "%d bytes exceed the limit of %d", len(b), MaxFile)
	}
	type plain Data
	d := plain{}
	long := struct { // decoded here: reflection takes most of the time until the first token
		*plain
		Tokens byteStrings `cbor:"2,keyasint"`
		Merges numbers     `cbor:"4,keyasint,omitempty"`
	}{plain: &d}
	if err := decMode.Unmarshal(b, &long); err != nil {
		return nil, corrupt("", "%v", err)
	}
	d.Tokens, d.Merges = long.Tokens, long.Merges
	return (*Data)(&d), nil
}

func corrupt(field, format string, args ...any) error {
	return defect.Corrupt("tokenizer", field, format, args...)
}
