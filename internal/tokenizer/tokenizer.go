package tokenizer

import (
	"slices"
	"strings"
	"sync"
)

// A Tokenizer encodes text as token ids and decodes ids. It is safe for concurrent use.
type Tokenizer struct {
	tokens         [][]byte
	kinds          []byte     // nil unless the model is one of sentencepiece
	special        []uint32   // ascending
	raw, normal    *finder    // of added tokens in the raw and in the normalized text
	normalize      normalizer // nil if it does nothing
	steps          []stage
	model          model
	decoder        decoder
	prefix, suffix []uint32
	bos, eos       int
	encoders       sync.Pool
}

// A stage implements a Step. It cuts a piece or changes it, by one of three functions.
type stage struct {
	cut    cutter
	split  func(s string, piece func(string))
	change func(s string, first bool) string // first reports whether s starts the text
}

// New checks d and returns a Tokenizer for it. The Tokenizer keeps d.Tokens.
func New(d *Data) (*Tokenizer, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	t := &Tokenizer{
		tokens: d.Tokens,
		raw:    newFinder(d.Added, false, nil),
		prefix: slices.Clone(d.Prefix),
		suffix: slices.Clone(d.Suffix),
		bos:    d.BOS,
		eos:    d.EOS,
	}
	if err := t.build(d); err != nil {
		return nil, err
	}
	for _, a := range d.Added {
		if a.Special {
			t.special = append(t.special, a.ID)
		}
	}
	for id, kind := range t.kinds {
		if kind == KindControl {
			t.special = append(t.special, uint32(id))
		}
	}
	slices.Sort(t.special)
	t.encoders.New = func() any { return &encoder{t: t, cache: make(map[string]span)} }
	return t, nil
}

// build sets the normalizer, the steps, the model and the decoder.
func (t *Tokenizer) build(d *Data) error {
	v, err := newVocabulary(d)
	if err != nil {
		return err
	}
	symbols := newFinder(d.userDefined(), false, nil)
	if d.SentencePiece != nil {
		t.kinds = d.Kinds
		if t.normalize, err = newPieceNormalizer(d, symbols); err != nil {
			return err
		}
	} else if t.normalize, err = newNormalizer(d.Normalizer); err != nil {
		return err
	}
	t.normal = newFinder(d.Added, true, t.normalize)
	t.normalizeAdded(d.Added)
	if t.steps, err = newStages(d.Steps); err != nil {
		return err
	}
	t.decoder = newDecoder(d)
	switch d.Model {
	case SentencePieceBPE:
		t.model = newScoredBPE(d, v, symbols)
	case SentencePieceUnigram, Unigram:
		t.model, err = newUnigram(d, v)
		return err
	default:
		if t.model, err = newBPE(d, v); err != nil {
			return err
		}
	}
	if d.Model != ByteLevelBPE {
		if words := v.words(d); words != nil {
			t.steps = append(t.steps, stage{cut: words})
		}
	}
	return nil
}

// normalizeAdded makes normalized added tokens decode to their normalized content, as
// Hugging Face does.
func (t *Tokenizer) normalizeAdded(added []Added) {
	shared := true
	for _, a := range added {
		if !a.Normalized || t.normalize == nil {
			continue
		}
		if text := t.normalize(a.Content); text != a.Content {
			if shared {
				t.tokens, shared = slices.Clone(t.tokens), false
			}
			t.tokens[a.ID] = []byte(text)
		}
	}
}

// userDefined returns the user-defined tokens of a sentencepiece model.
func (d *Data) userDefined() []Added {
	var symbols []Added
	for id, kind := range d.Kinds {
		if kind == KindUserDefined && d.SentencePiece != nil {
			symbols = append(symbols, Added{ID: uint32(id), Content: string(d.Tokens[id])})
		}
	}
	return symbols
}

// VocabSize returns the number of tokens. All ids are below it.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// BOS returns the id of the token that begins a sequence, or -1 if there is none.
func (t *Tokenizer) BOS() int { return t.bos }

// Start returns BOS if Encode puts it before a text with addSpecial, and -1 otherwise.
func (t *Tokenizer) Start() int {
	if added := t.Encode("", true); len(added) > 0 && added[0] == t.bos {
		return t.bos
	}
	return -1
}

// EOS returns the id of the token that ends a sequence, or -1 if there is none.
func (t *Tokenizer) EOS() int { return t.eos }

// IsSpecial reports whether id is the id of a special token.
func (t *Tokenizer) IsSpecial(id int) bool {
	if id < 0 || id >= len(t.tokens) {
		return false
	}
	_, ok := slices.BinarySearch(t.special, uint32(id))
	return ok
}

// Encode returns the ids of text. If addSpecial is set, it adds Data.Prefix and
// Data.Suffix. It recognizes special tokens that the text contains in either case. A
// vocabulary with byte tokens encodes invalid UTF-8 byte by byte; sentencepiece replaces
// each invalid byte by U+FFFD. Data.Unknown decides what becomes of characters without a
// token.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int {
	e := t.encoders.Get().(*encoder)
	e.ids = e.ids[:0]
	if addSpecial {
		e.ids = append(e.ids, t.prefix...)
	}
	t.raw.split(text, func(s string, first bool) {
		if t.normalize != nil {
			s = t.normalize(s)
		}
		t.normal.split(s, func(s string, start bool) { e.cut(s, first && start, t.steps) }, e.token)
	}, e.token)
	if addSpecial {
		e.ids = append(e.ids, t.suffix...)
	}
	ids := make([]int, len(e.ids))
	for i, id := range e.ids {
		ids[i] = int(id)
	}
	e.release()
	return ids
}

const (
	cacheWords = 1 << 14 // pieces in the cache of one encoder
	cacheBytes = 64      // length of the longest piece in a cache
	keepIDs    = 1 << 16 // capacity of the longest slices kept between calls
)

// An encoder is the scratch memory of one call of Encode. It keeps at most a few
// megabytes between calls.
type encoder struct {
	t      *Tokenizer
	ids    []uint32
	cache  map[string]span
	arena  []uint32 // ids of the pieces in cache
	merger merger
}

type span struct{ start, end uint32 }

func (e *encoder) release() {
	if cap(e.ids) > keepIDs {
		e.ids = nil
	}
	if cap(e.merger.symbols) > keepIDs || cap(e.merger.best) > keepIDs {
		e.merger = merger{}
	}
	e.t.encoders.Put(e)
}

func (e *encoder) token(id uint32) { e.ids = append(e.ids, id) }

// cut applies the remaining steps to s, which is not empty, and appends the tokens.
func (e *encoder) cut(s string, first bool, steps []stage) {
	if len(steps) == 0 {
		e.piece(s)
		return
	}
	cut := steps[0].cut
	switch {
	case steps[0].split != nil:
		steps[0].split(s, func(piece string) {
			e.cut(piece, first, steps[1:])
			first = false
		})
		return
	case cut == nil:
		e.cut(steps[0].change(s, first), first, steps[1:])
		return
	}
	for s != "" {
		n := cut(s)
		e.cut(s[:n], first, steps[1:])
		s, first = s[n:], false
	}
}

// piece appends the tokens of a piece.
func (e *encoder) piece(s string) {
	if p, ok := e.cache[s]; ok {
		e.ids = append(e.ids, e.arena[p.start:p.end]...)
		return
	}
	start := len(e.ids)
	e.ids = e.t.model.encode(e.ids, s, &e.merger)
	if len(s) > cacheBytes {
		return
	}
	if len(e.cache) == cacheWords {
		clear(e.cache)
		e.arena = e.arena[:0]
	}
	at := uint32(len(e.arena))
	e.arena = append(e.arena, e.ids[start:]...)
	e.cache[strings.Clone(s)] = span{at, uint32(len(e.arena))}
}
