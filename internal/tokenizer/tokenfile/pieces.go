package tokenfile

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/spelling"
)

// asRules returns the tokenizer that a tokenizer.json can express in place of d, one of the two
// models of sentencepiece, as the converters of transformers make it (convert_slow_tokenizer.py):
// scores become an order of merges, and what sentencepiece does to a text becomes rules. It
// returns an error that wraps format.ErrUnsupported for what rules cannot do.
//
// Ids differ from those of sentencepiece where those of transformers do: where several merges that
// make the same piece overlap, and where a charsmap replaces a part of a grapheme.
func asRules(d *tokenizer.Data) (*tokenizer.Data, error) {
	s := d.SentencePiece
	out := newDraft(tokenizer.Unigram)
	bpe := d.Model == tokenizer.SentencePieceBPE
	if bpe {
		out.Model = tokenizer.BPE
	}
	out.Tokens, out.ByteFallback, out.Unknown = d.Tokens, d.ByteFallback, d.Unknown
	out.Prefix, out.Suffix, out.ChatTemplate, out.ToolTemplate = d.Prefix, d.Suffix, d.ChatTemplate, d.ToolTemplate
	out.BOS, out.EOS, out.Pad, out.Unk = d.BOS, d.EOS, d.Pad, d.Unk
	out.Added = slices.Clone(d.Added)
	var made []uint32 // the pieces that merges make
	for i, kind := range d.Kinds {
		id, text := uint32(i), string(d.Tokens[i])
		switch kind {
		case tokenizer.KindNormal:
			made = append(made, id)
		case tokenizer.KindUserDefined:
			if s.DummyPrefix || strings.Contains(text, spelling.Mark) && s.RemoveExtra {
				return nil, unsupportedPieces("user-defined symbols after a space that it adds")
			}
			out.add(tokenizer.Added{ID: id, Content: strings.ReplaceAll(text, spelling.Mark, " ")})
		case tokenizer.KindUnused:
			if utf8.RuneCountInString(text) > 1 && bpe {
				return nil, unsupportedPieces("unused pieces")
			}
		}
	}
	for _, id := range []int{d.BOS, d.EOS, d.Pad, d.Unk} { // transformers finds these in a text
		if id >= 0 {
			out.add(tokenizer.Added{ID: uint32(id), Content: string(d.Tokens[id]), Special: true})
		}
	}
	if bpe {
		out.Merges = mergesOf(d, made)
	} else {
		out.Unknown = tokenizer.UnknownRun
		for _, score := range d.Scores {
			out.Scores = append(out.Scores, readBack(score))
		}
	}
	if err := out.spaces(s); err != nil {
		return nil, err
	}
	return &out.Data, out.Check()
}

// readBack returns the number that Hugging Face reads from the digits of a score, which can differ
// from it by a unit in the last place, and from whose own digits it reads the same number.
func readBack(score float64) float64 {
	for range 8 {
		text, err := json.Marshal(score)
		if err != nil {
			return score
		}
		read := scoreOf(string(text))
		if read == score {
			break
		}
		score = read
	}
	return score
}

func unsupportedPieces(what string) error {
	return defect.Unsupported("tokenizer", "a sentencepiece model with %s as tokenizer.json", what)
}

// spaces sets the rules that do what s does to the spaces of a text, and undo it.
func (d *draft) spaces(s *tokenizer.SentencePiece) error {
	switch {
	case s.KeepSpaces:
		return unsupportedPieces("spaces that it keeps")
	case s.Suffix:
		return unsupportedPieces("a space that it adds after a text")
	}
	if len(s.Charsmap) > 0 {
		d.Normalizer = append(d.Normalizer, tokenizer.Rule{Op: tokenizer.OpCharsmap, Old: base64.StdEncoding.EncodeToString(s.Charsmap)})
	}
	if s.RemoveExtra {
		d.Normalizer = append(d.Normalizer, tokenizer.Rule{Op: tokenizer.OpReplacePattern, Old: `\A +| +\z`}, tokenizer.Rule{Op: tokenizer.OpReplacePattern, Old: " {2,}", New: " "})
	}
	d.Decoder = []tokenizer.Rule{{Op: tokenizer.OpReplace, Old: spelling.Mark, New: " "}, {Op: tokenizer.OpBytes}}
	if s.DummyPrefix {
		d.Normalizer = append(d.Normalizer, tokenizer.Rule{Op: tokenizer.OpPrepend, New: spelling.Mark})
		d.Decoder = append(d.Decoder, tokenizer.Rule{Op: tokenizer.OpStrip, Old: " "})
	}
	d.Normalizer = append(d.Normalizer, tokenizer.Rule{Op: tokenizer.OpReplace, Old: " ", New: spelling.Mark})
	return nil
}
