package tokenizer

import (
	"fmt"
	"math"
	"slices"

	"thimble/internal/defect"
)

// check returns an error if d does not define a valid tokenizer.
func (d *Data) Check() error {
	n := len(d.Tokens)
	if n == 0 || n > MaxTokens {
		return corrupt("tokens", "%d tokens, want 1 to %d", n, MaxTokens)
	}
	for i, id := range d.Literal {
		if int(id) >= n || i > 0 && id <= d.Literal[i-1] {
			return corrupt("literal", "id %d is out of order or not below %d", id, n)
		}
	}
	for _, check := range []func() error{d.checkModel, d.checkScores, d.checkSentencePiece, d.checkRules, d.checkSteps, d.checkAdded} {
		if err := check(); err != nil {
			return err
		}
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
	for name, text := range map[string]string{"chat_template": d.ChatTemplate, "tool_template": d.ToolTemplate} {
		if len(text) > maxTemplate {
			return corrupt(name, "%d bytes exceed the limit of %d", len(text), maxTemplate)
		}
	}
	return nil
}

// checkModel checks that d has the fields that its model needs, and no others.
func (d *Data) checkModel() error {
	merges, scores, pieces := true, false, false
	switch d.Model {
	case ByteLevelBPE, BPE:
	case Unigram:
		merges, scores = false, true
	case SentencePieceBPE, SentencePieceUnigram:
		merges, scores, pieces = false, true, true
	default:
		return defect.Unsupported("tokenizer", "model %q", defect.Printable(d.Model))
	}
	switch {
	case !merges && (len(d.Merges) > 0 || d.IgnoreMerges):
		return corrupt("merges", "a %s model has none", d.Model)
	case scores && d.Scores == nil:
		return corrupt("scores", "a %s model needs them", d.Model)
	case pieces && (d.Kinds == nil || d.SentencePiece == nil):
		return corrupt("kinds", "a %s model needs them, and a normalizer of its own", d.Model)
	case !pieces && d.SentencePiece != nil:
		return corrupt("sentencepiece", "a %s model has no such normalizer", d.Model)
	case d.ByteFallback && d.Model == ByteLevelBPE:
		return corrupt("byte_fallback", "a %s model has none", d.Model)
	}
	switch d.Unknown {
	case UnknownDropped, UnknownEach, UnknownRun:
	default:
		return defect.Unsupported("tokenizer", "unknown tokens %q", defect.Printable(string(d.Unknown)))
	}
	if d.Unknown != UnknownDropped && d.Unk < 0 {
		return corrupt("unk", "the model needs an unknown token")
	}
	return nil
}

func (d *Data) checkScores() error {
	n := len(d.Tokens)
	if d.Scores != nil && len(d.Scores) != n {
		return corrupt("scores", "%d scores for %d tokens", len(d.Scores), n)
	}
	if d.Kinds != nil && len(d.Kinds) != n {
		return corrupt("kinds", "%d kinds for %d tokens", len(d.Kinds), n)
	}
	for id, score := range d.Scores {
		switch {
		case math.IsNaN(score) || math.Abs(score) > math.MaxFloat32:
			return corrupt("scores", "score %g of token %d is not finite", score, id)
		case d.SentencePiece != nil && float64(float32(score)) != score:
			return corrupt("scores", "score %g of token %d is not a float32", score, id)
		}
	}
	for id, t := range d.Tokens {
		if d.SentencePiece != nil && (len(t) == 0 || len(t) > MaxPiece) {
			return corrupt("tokens", "token %d has %d bytes, want 1 to %d", id, len(t), MaxPiece)
		}
	}
	for id, kind := range d.Kinds {
		if kind < KindNormal || kind > KindByte {
			return defect.Unsupported("tokenizer", "kind %d of token %d", kind, id)
		}
	}
	return nil
}

func (d *Data) checkSentencePiece() error {
	p := d.SentencePiece
	switch {
	case p == nil:
		return nil
	case len(p.Charsmap) > maxCharsmap:
		return corrupt("charsmap", "%d bytes exceed the limit of %d", len(p.Charsmap), maxCharsmap)
	case len(p.UnkSurface) > maxContent:
		return corrupt("unk_surface", "%d bytes exceed the limit of %d", len(p.UnkSurface), maxContent)
	case len(d.Normalizer) > 0 || len(d.Decoder) > 0:
		return corrupt("sentencepiece", "normalizer and decoder must have no rules")
	}
	return nil
}

// growth returns the factor by which a rule can lengthen a text, apart from a few bytes.
func (r Rule) growth() int {
	switch r.Op {
	case OpReplace:
		return max(1, (len(r.New)+len(r.Old)-1)/max(1, len(r.Old)))
	case OpReplacePattern:
		return len(r.New) + 1
	case OpLower, OpIdeographs:
		return 2
	case OpCharsmap:
		return 32
	case OpNFC, OpNFD, OpMarks:
		return 3 // U+0390
	case OpNFKC, OpNFKD:
		return 11 // U+FDFA
	}
	return 1
}

// decoderOrder is the order of the rules in a decoder.
var decoderOrder = map[Op]int{OpReplace: 0, OpDropFirst: 0, OpBytes: 1, OpStrip: 2}

func (d *Data) checkRules() error {
	for _, list := range []struct {
		name  string
		rules []Rule
		known []Op
	}{
		{"normalizer", d.Normalizer, []Op{OpNFC, OpNFD, OpNFKC, OpNFKD, OpPrepend, OpReplace, OpLower, OpAccents, OpTrimStart, OpTrimEnd, OpClean, OpIdeographs, OpMarks, OpReplacePattern, OpCharsmap}},
		{"decoder", d.Decoder, []Op{OpReplace, OpBytes, OpStrip, OpDropFirst}},
	} {
		if len(list.rules) > maxSteps {
			return corrupt(list.name, "%d rules, want at most %d", len(list.rules), maxSteps)
		}
		growth := 1
		for i, r := range list.rules {
			if growth *= r.growth(); growth > maxGrowth {
				return corrupt(list.name, "the rules can make a text more than %d times as long", maxGrowth)
			}
			switch {
			case i > 0 && list.name == "decoder" && decoderOrder[list.rules[i-1].Op] > decoderOrder[r.Op]:
				return defect.Unsupported("tokenizer", "rule %s of the decoder after %s", defect.Printable(string(r.Op)), defect.Printable(string(list.rules[i-1].Op)))
			case !slices.Contains(list.known, r.Op):
				return defect.Unsupported("tokenizer", "rule %q of the %s", defect.Printable(string(r.Op)), list.name)
			case r.Op != OpCharsmap && len(r.Old) > maxContent || len(r.Old) > 2*maxCharsmap || len(r.New) > maxContent:
				return corrupt(list.name, "a rule has texts of %d and %d bytes, want at most %d", len(r.Old), len(r.New), maxContent)
			case r.Old == "" && (r.Op == OpReplace || r.Op == OpStrip || r.Op == OpDropFirst):
				return corrupt(list.name, "rule %s has no text to replace", r.Op)
			}
		}
	}
	_, err := newNormalizer(d.Normalizer)
	return err
}

func (d *Data) checkSteps() error {
	if len(d.Steps) > maxSteps {
		return corrupt("steps", "%d steps, want at most %d", len(d.Steps), maxSteps)
	}
	letters := 0
	for _, s := range d.Steps {
		if s == StepLetters {
			letters++
		}
	}
	if letters > 1 || letters > 0 && d.Model != ByteLevelBPE {
		return corrupt("steps", "%d steps %q, want at most one, in a %s model", letters, StepLetters, ByteLevelBPE)
	}
	_, err := newStages(d.Steps)
	return err
}

func (d *Data) checkAdded() error {
	if len(d.Added) > MaxAdded {
		return corrupt("added_tokens", "%d entries, want at most %d", len(d.Added), MaxAdded)
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
