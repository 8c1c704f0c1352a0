package tokenfile

import (
	"bytes"
	"fmt"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/spelling"
)

// finishVocab fills in d.Tokens from the vocabulary. It checks that the ids, with those of
// the added tokens, are unique, and that most ids have a token (OpenAI's tokenizers leave some
// out).
func (d *document) finishVocab() error {
	n := len(d.vocab)
	d.ids = make(map[string]uint32, n)
	for _, e := range d.vocab {
		d.ids[e.token] = uint32(e.id)
	}
	for _, f := range d.added {
		content, _ := f.m["content"].(string)
		if _, ok := d.ids[content]; !ok && content != "" {
			n++
		}
	}
	most := 2*n + 1024
	for _, e := range d.vocab {
		if n = max(n, e.id+1); n > most {
			return defect.Corrupt(jsonFile, "model.vocab", "token %q has id %d, far above the number of tokens", defect.Printable(e.token), e.id)
		}
	}
	d.Tokens = make([][]byte, n)
	size := 0
	for _, e := range d.vocab {
		size += len(e.token)
	}
	arena := make([]byte, 0, size)
	for _, e := range d.vocab {
		if d.Tokens[e.id] != nil {
			return defect.Corrupt(jsonFile, "model.vocab", "id %d is given twice, the second time to %q", e.id, defect.Printable(e.token))
		}
		at := len(arena)
		var producible bool
		if arena, producible = d.appendToken(arena, e.token); !producible {
			d.Literal = append(d.Literal, uint32(e.id))
		}
		d.Tokens[e.id] = arena[at:len(arena):len(arena)]
	}
	return nil
}

// appendToken appends the bytes for d.Tokens of a token in the file's vocabulary, and
// reports whether the model can produce that token.
func (d *draft) appendToken(dst []byte, token string) ([]byte, bool) {
	if d.Model == tokenizer.ByteLevelBPE {
		return spelling.AppendBytes(dst, token)
	}
	return append(dst, token...), true
}

// finishAdded fills in the added tokens. Hugging Face ignores the ids that the file lists
// for them: a token in the vocabulary keeps its id, and a new token gets the next id.
func (d *document) finishAdded() error {
	next := uint32(len(d.vocab))
	d.vocabulary = len(d.vocab)
	for _, f := range d.added {
		a := tokenizer.Added{
			Content:    f.str("content"),
			Special:    f.boolean("special"),
			SingleWord: f.boolean("single_word"),
			LStrip:     f.boolean("lstrip"),
			RStrip:     f.boolean("rstrip"),
			Normalized: f.boolean("normalized"),
		}
		listed := uint32(f.id("id", f.take("id"), tokenizer.MaxTokens))
		if err := f.done(); err != nil {
			return err
		}
		if a.Content == "" {
			d.noteEmpty(f.path)
			continue
		}
		if d.letters && a.Normalized && (a.SingleWord || a.LStrip || a.RStrip) {
			return defect.Unsupported(jsonFile+": "+f.path, "an added token that is normalized by ByteLevel and looks at the space around it")
		}
		id, ok := d.ids[a.Content]
		if !ok {
			if id = next; int(id) == len(d.Tokens) { // above an id that the vocabulary leaves out
				d.Tokens = append(d.Tokens, nil)
			}
			if int(id) > len(d.Tokens) || d.Tokens[id] != nil {
				return defect.Corrupt(jsonFile, f.path, "id %d of %q is taken", id, defect.Printable(a.Content))
			}
			d.Tokens[id] = []byte(a.Content)
			d.Literal = append(d.Literal, id)
			d.ids[a.Content] = id
		}
		if listed != id {
			d.moved = append(d.moved, fmt.Sprintf("%s as %d instead of %d", defect.Printable(a.Content), listed, id))
		}
		a.ID, next = id, max(next, id+1)
		if old := d.addedAs(a.Content); old != nil { // listed twice: the last counts
			*old = a
			continue
		}
		d.append(a)
	}
	d.noteMoved(jsonFile)
	for id, t := range d.Tokens {
		if t == nil { // an id without a token: no text gives it
			d.Tokens[id] = []byte{}
			d.Literal = append(d.Literal, uint32(id))
		}
	}
	slices.Sort(d.Literal)
	return nil
}

// noteEmpty notes an added token without a text, which Hugging Face's library ignores.
func (d *draft) noteEmpty(where string) {
	d.Notes = append(d.Notes, fmt.Sprintf("%s: an added token without a text is ignored, as in transformers", where))
}

// finishMerges fills in d.Merges. It reads the merges directly from the file, because
// there may be 300,000 of them.
func (d *document) finishMerges() error {
	if !d.hasMerges {
		return nil
	}
	if d.scores != nil {
		return defect.Unsupported(jsonFile, "merges in a Unigram model")
	}
	s := d.s.At(d.merges)
	made := []byte{} // the text of the token that the current merge makes
	id := func(token []byte) error {
		n, ok := d.ids[string(token)]
		if !ok {
			return s.Fail("merge %d: %q is not in the vocabulary", len(d.Merges)/2, defect.Printable(string(token)))
		}
		d.Merges, made = append(d.Merges, n), append(made, token...)
		return nil
	}
	whole := func() error {
		if _, ok := d.ids[string(made)]; !ok {
			return s.Fail("merge %d makes %q, which is not a token", len(d.Merges)/2-1, defect.Printable(string(made)))
		}
		made = made[:0]
		return nil
	}
	half := func(int) error {
		token, err := s.Bytes()
		if err != nil {
			return err
		}
		return id(token)
	}
	return s.Array(func(int) error {
		if s.Kind() == '[' {
			before := len(d.Merges)
			if err := s.Array(half); err != nil {
				return err
			}
			if len(d.Merges) != before+2 {
				return s.Fail("a merge must have two tokens")
			}
			return whole()
		}
		pair, err := s.Bytes()
		if err != nil || bytes.HasPrefix(pair, []byte("#version")) { // Hugging Face skips this line of merges.txt
			return err
		}
		left, right, _ := bytes.Cut(pair, []byte(" "))
		if err := id(left); err != nil {
			return err
		}
		if err := id(right); err != nil {
			return err
		}
		return whole()
	})
}
