// Package tokenizer turns text into token ids and back exactly as the Hugging
// Face tokenizers library and sentencepiece do.
//
// ParseJSON with ApplyConfig, and ParseSentencePiece, turn files into Data,
// which a container stores; New checks Data and makes a Tokenizer of it. All of
// them are one mechanism: added tokens are found, what is between them goes
// through the rules of the normalizer and the steps of the pre-tokenizer, the
// model makes ids of each piece, and a decoder goes back. What is not known to
// be exact, such as an unfamiliar pattern, is refused by name.
package tokenizer

import (
	"github.com/fxamacker/cbor/v2"

	"thimble/internal/defect"
)

const (
	maxTokens   = 1 << 22   // ids are below this
	maxFile     = 128 << 20 // bytes of a tokenizer's file and of encoded Data
	maxAdded    = 1 << 16   // added tokens
	maxContent  = 1 << 10   // bytes of an added token, and of a rule's texts
	maxTemplate = 1 << 20   // bytes of a chat template
	maxSteps    = 16        // pre-tokenizer steps, rules of normalizer and decoder
	maxSpecials = 16        // ids put before or after a text
	maxCharsmap = 4 << 20   // bytes
	maxGrowth   = 256       // times that normalizing or decoding can make a text longer
	maxPiece    = 1 << 16   // bytes of a token of sentencepiece
)

// Values of Data.Model.
const (
	// ByteLevelBPE merges pairs of tokens in order of rank, starting from bytes
	// (Sennrich et al. 2016, Radford et al. 2019).
	ByteLevelBPE = "byte-level-bpe"
	// BPE does the same starting from characters, as a tokenizer.json made from
	// sentencepiece says.
	BPE = "bpe"
	// SentencePieceBPE merges the neighbours that make the token with the highest
	// score, starting from characters (sentencepiece, bpe_model.cc).
	SentencePieceBPE = "sentencepiece-bpe"
	// SentencePieceUnigram takes the tokens whose scores have the largest sum, in
	// float32 (Kudo 2018; sentencepiece, unigram_model.cc, EncodeOptimized).
	SentencePieceUnigram = "sentencepiece-unigram"
	// Unigram is the same in float64, as Hugging Face computes it.
	Unigram = "unigram"
)

// Data is everything that defines a tokenizer. Ids are indices of Tokens; an
// id of -1 means there is none.
type Data struct {
	Model string `cbor:"1,keyasint"`
	// Tokens are, by id, the bytes each stands for in ByteLevelBPE, and in the
	// other models the text as the vocabulary spells it: U+2581 for a space,
	// <0x0A> for a byte.
	Tokens [][]byte `cbor:"2,keyasint"`
	// Literal holds, ascending, the ids the model cannot produce because they
	// are not in its own vocabulary: they come from added tokens alone.
	Literal []uint32 `cbor:"3,keyasint,omitempty"`
	// Merges are left, right, left, right ... by rank, in ByteLevelBPE and BPE.
	Merges       []uint32 `cbor:"4,keyasint,omitempty"`
	IgnoreMerges bool     `cbor:"5,keyasint,omitempty"` // a piece that is a token is not built by merges
	Steps        []Step   `cbor:"6,keyasint,omitempty"` // the pre-tokenizer
	Added        []Added  `cbor:"7,keyasint,omitempty"`

	Prefix       []uint32 `cbor:"8,keyasint,omitempty"` // put before the ids of a text
	Suffix       []uint32 `cbor:"9,keyasint,omitempty"` // and after them, when specials are asked for
	BOS          int      `cbor:"10,keyasint"`
	EOS          int      `cbor:"11,keyasint"`
	Pad          int      `cbor:"12,keyasint"`
	Unk          int      `cbor:"13,keyasint"`
	ChatTemplate string   `cbor:"14,keyasint,omitempty"` // Jinja

	Normalizer []Rule `cbor:"15,keyasint,omitempty"`
	Decoder    []Rule `cbor:"16,keyasint,omitempty"` // none: tokens are bytes that follow each other
	// Scores by id decide in SentencePieceBPE and both unigram models. They are
	// float32 values, except in Unigram. In BPE they may be there and decide nothing.
	Scores []float64 `cbor:"17,keyasint,omitempty"`
	// Kinds by id are the types of sentencepiece, which are those of GGUF too. They
	// decide in the two models of sentencepiece, and may be there in BPE.
	Kinds []byte `cbor:"18,keyasint,omitempty"`
	// ByteFallback spells what the model has no token for in the tokens <0x00> to <0xFF>.
	ByteFallback bool `cbor:"19,keyasint,omitempty"`
	// Unknown says what else becomes of it.
	Unknown Unknown `cbor:"20,keyasint,omitempty"`
	// SentencePiece is there in the two models of sentencepiece, where it stands for
	// normalizer and decoder both.
	SentencePiece *SentencePiece `cbor:"21,keyasint,omitempty"`
}

// Values of Data.Kinds (sentencepiece_model.proto, SentencePiece.Type; llama.h,
// llama_token_type).
const (
	KindNormal      byte = 1
	KindUnknown     byte = 2
	KindControl     byte = 3 // never made from text
	KindUserDefined byte = 4 // always found in text, before anything is merged
	KindUnused      byte = 5 // merged through, never an id
	KindByte        byte = 6 // spelled <0x00> to <0xFF>
)

// Unknown is what becomes of a character that the model has no token for.
type Unknown string

const (
	UnknownDropped Unknown = ""    // it is left out
	UnknownEach    Unknown = "unk" // each is Data.Unk
	UnknownRun     Unknown = "run" // a run of them is one Data.Unk
)

// A Rule changes text before it is cut, or tokens when they are decoded.
type Rule struct {
	Op  Op     `cbor:"1,keyasint"`
	Old string `cbor:"2,keyasint,omitempty"`
	New string `cbor:"3,keyasint,omitempty"`
}

// An Op is what a Rule does.
type Op string

// Rules of a normalizer. OpReplace is one of a decoder too, for each token.
const (
	OpNFC     Op = "nfc" // Unicode normalization forms
	OpNFD     Op = "nfd"
	OpNFKC    Op = "nfkc"
	OpNFKD    Op = "nfkd"
	OpPrepend Op = "prepend" // New goes before a text that is not empty
	OpReplace Op = "replace" // New for each Old
)

// Rules of a decoder.
const (
	OpBytes     Op = "bytes"      // a token <0x0A> is that byte
	OpStrip     Op = "strip"      // Old is taken from the start of the whole, once
	OpDropFirst Op = "drop-first" // every Old in the first token goes
)

// SentencePiece says how sentencepiece changes a text before it is cut, and what
// its decoder undoes (sentencepiece_model.proto, NormalizerSpec, TrainerSpec).
type SentencePiece struct {
	DummyPrefix bool   `cbor:"1,keyasint,omitempty"` // a space goes before a text
	RemoveExtra bool   `cbor:"2,keyasint,omitempty"` // leading, trailing and repeated spaces go
	KeepSpaces  bool   `cbor:"3,keyasint,omitempty"` // a space does not become U+2581
	Suffix      bool   `cbor:"4,keyasint,omitempty"` // the dummy prefix goes after the text
	Charsmap    []byte `cbor:"5,keyasint,omitempty"` // precompiled_charsmap; none is identity
	UnkSurface  string `cbor:"6,keyasint,omitempty"` // what Data.Unk decodes to
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
	// StepEscape makes U+2581 of each space.
	StepEscape Step = "escape"
	// StepMark puts U+2581 before a piece that does not begin with it.
	StepMark Step = "mark"
	// StepMarkFirst does so for the piece at the very start of the text.
	StepMarkFirst Step = "mark-first"
	// StepWords begins a piece at each U+2581.
	StepWords Step = "words"
	// StepAfterSpace ends a piece after each space.
	StepAfterSpace Step = "after-space"
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
		MaxMapPairs:       32,
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
