package tokenizer

import (
	"slices"
	"strings"
	"sync"

	"thimble/internal/defect"
)

// A Tokenizer encodes and decodes. Its methods may be called concurrently.
type Tokenizer struct {
	tokens         [][]byte
	special        []uint32 // ascending
	raw, normal    *finder
	steps          []stage
	bpe            *bpe
	prefix, suffix []uint32
	bos, eos       int
	encoders       sync.Pool
}

// A stage is a Step that can be run.
type stage struct {
	cut cutter // nil puts a space in front
}

// New checks d and makes a Tokenizer of it. The Tokenizer keeps d.Tokens.
func New(d *Data) (*Tokenizer, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	if d.Model != ByteLevelBPE {
		return nil, defect.Unsupported("tokenizer", "model %q", d.Model)
	}
	m, err := newBPE(d)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{
		tokens: d.Tokens,
		raw:    newFinder(d.Added, false),
		normal: newFinder(d.Added, true),
		bpe:    m,
		prefix: slices.Clone(d.Prefix),
		suffix: slices.Clone(d.Suffix),
		bos:    d.BOS,
		eos:    d.EOS,
	}
	for _, a := range d.Added {
		if a.Special {
			t.special = append(t.special, a.ID)
		}
	}
	slices.Sort(t.special)
	for _, s := range d.Steps {
		t.steps = append(t.steps, stage{cut: cutters[s]})
	}
	t.encoders.New = func() any { return &encoder{t: t, cache: make(map[string]span)} }
	return t, nil
}

// VocabSize returns the number of tokens: ids are below it.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// BOS returns the id of the token that begins a sequence, -1 if there is none.
func (t *Tokenizer) BOS() int { return t.bos }

// EOS returns the id of the token that ends a sequence, -1 if there is none.
func (t *Tokenizer) EOS() int { return t.eos }

// IsSpecial reports whether id is that of a special token.
func (t *Tokenizer) IsSpecial(id int) bool {
	if id < 0 || id >= len(t.tokens) {
		return false
	}
	_, ok := slices.BinarySearch(t.special, uint32(id))
	return ok
}

// Token returns the bytes that id stands for, which the caller must not change.
func (t *Tokenizer) Token(id int) (b []byte, ok bool) {
	if id < 0 || id >= len(t.tokens) {
		return nil, false
	}
	return t.tokens[id], true
}

// Decode returns the bytes that ids stand for, special tokens as their text.
// Ids out of range stand for nothing.
func (t *Tokenizer) Decode(ids []int) []byte { return t.AppendDecode(nil, ids, false) }

// AppendDecode appends the bytes that ids stand for, without those of special
// tokens if skipSpecial is set.
func (t *Tokenizer) AppendDecode(dst []byte, ids []int, skipSpecial bool) []byte {
	for _, id := range ids {
		if b, ok := t.Token(id); ok && !(skipSpecial && t.IsSpecial(id)) {
			dst = append(dst, b...)
		}
	}
	return dst
}

// Encode returns the ids of text, with the ids that the tokenizer puts around
// one if addSpecial is set. Special tokens spelled in the text are recognized
// either way. Bytes that are not UTF-8 are encoded like any others; a byte the
// vocabulary has no token for is left out, as Hugging Face does.
func (t *Tokenizer) Encode(text string, addSpecial bool) []int {
	e := t.encoders.Get().(*encoder)
	e.ids = e.ids[:0]
	if addSpecial {
		e.ids = append(e.ids, t.prefix...)
	}
	t.raw.split(text, func(s string) { t.normal.split(s, e.text, e.token) }, e.token)
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
	cacheWords = 1 << 14 // pieces remembered by one encoder
	cacheBytes = 64      // longest piece remembered
	keepIDs    = 1 << 16 // scratch kept between calls
)

// An encoder is the scratch memory of one Encode: at most a few megabytes stay
// with it between calls.
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
	if cap(e.merger.symbols) > keepIDs {
		e.merger = merger{}
	}
	e.t.encoders.Put(e)
}

func (e *encoder) token(id uint32) { e.ids = append(e.ids, id) }

func (e *encoder) text(s string) { e.cut(s, e.t.steps) }

// cut takes s, which is not empty, through the steps that remain.
func (e *encoder) cut(s string, steps []stage) {
	if len(steps) == 0 {
		e.piece(s)
		return
	}
	cut := steps[0].cut
	if cut == nil {
		if s[0] != ' ' {
			s = " " + s
		}
		e.cut(s, steps[1:])
		return
	}
	for s != "" {
		n := cut(s)
		e.cut(s[:n], steps[1:])
		s = s[n:]
	}
}

// piece appends the tokens of a piece.
func (e *encoder) piece(s string) {
	if p, ok := e.cache[s]; ok {
		e.ids = append(e.ids, e.arena[p.start:p.end]...)
		return
	}
	start := len(e.ids)
	if id, ok := e.t.bpe.vocab[s]; ok && e.t.bpe.direct {
		e.ids = append(e.ids, id)
	} else {
		e.ids = e.t.bpe.merge(e.ids, s, &e.merger)
	}
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
