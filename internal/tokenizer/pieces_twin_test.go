package tokenizer

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// slowScored implements bpe_model.cc without a queue: of all adjacent parts whose
// concatenation is a token, it merges those with the highest score, leftmost first.
func slowScored(d *Data, s string) (ids []uint32) {
	parts, frozen := slowParts(d, s)
	for at := slowBest(d, parts, frozen); at >= 0; at = slowBest(d, parts, frozen) {
		parts = slices.Replace(parts, at, at+2, parts[at]+parts[at+1])
	}
	unknown := false
	for _, p := range parts {
		id := slowFind(d, p)
		if id < 0 {
			if !unknown {
				ids = append(ids, uint32(d.Unk))
			}
			unknown = true
			continue
		}
		ids, unknown = append(ids, uint32(id)), false
	}
	return ids
}

func slowFind(d *Data, text string) int {
	return slices.IndexFunc(d.Tokens, func(t []byte) bool { return string(t) == text })
}

// slowParts splits s into user-defined tokens and single characters. frozen has the end
// position in s of each user-defined token.
func slowParts(d *Data, s string) (parts []string, frozen map[int]bool) {
	frozen = map[int]bool{}
	for rest := s; rest != ""; {
		longest := ""
		for id, t := range d.Tokens {
			if d.Kinds[id] == KindUserDefined && strings.HasPrefix(rest, string(t)) && len(t) > len(longest) {
				longest = string(t)
			}
		}
		if longest == "" {
			_, n := utf8.DecodeRuneInString(rest)
			longest = rest[:n]
		} else {
			frozen[len(s)-len(rest)+len(longest)] = true
		}
		parts, rest = append(parts, longest), rest[len(longest):]
	}
	return parts, frozen
}

// slowBest returns the index of the part that merges next with its successor, or -1.
func slowBest(d *Data, parts []string, frozen map[int]bool) int {
	best, at := math.Inf(-1), -1
	end := 0
	for i := 0; i+1 < len(parts); i++ {
		end += len(parts[i])
		if frozen[end] || frozen[end+len(parts[i+1])] {
			continue
		}
		id := slowFind(d, parts[i]+parts[i+1])
		if id >= 0 && d.Kinds[id] != KindControl && d.Kinds[id] != KindUnknown && d.Scores[id] > best {
			best, at = d.Scores[id], i
		}
	}
	return at
}

// drawPieces draws a small model over a, b, c and d.
func drawPieces(t *rapid.T, model string) *Data {
	d := &Data{Model: model, Tokens: [][]byte{[]byte("<unk>"), []byte("<s>")}, Scores: []float64{0, 0}, Kinds: []byte{KindUnknown, KindControl},
		BOS: -1, EOS: -1, Pad: -1, Unk: 0, Unknown: UnknownRun, SentencePiece: &SentencePiece{}}
	for _, text := range rapid.SliceOfNDistinct(rapid.StringMatching(`[abcd]{1,4}`), 0, 25, rapid.ID[string]).Draw(t, "pieces") {
		kind := KindNormal
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			kind = KindUserDefined
		}
		d.Tokens, d.Kinds = append(d.Tokens, []byte(text)), append(d.Kinds, kind)
		d.Scores = append(d.Scores, float64(rapid.SampledFrom([]float32{-0.5, -1, -1.3, -2, -2, -3.7, -5}).Draw(t, "score")))
	}
	return d
}

func TestScoredTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawPieces(t, SentencePieceBPE)
		tok, err := New(d)
		if err != nil {
			t.Fatal(err)
		}
		s := rapid.StringMatching(`[abcde]{0,40}`).Draw(t, "text")
		var want []int
		for _, id := range slowScored(d, s) {
			want = append(want, int(id))
		}
		if got := tok.Encode(s, false); !slices.Equal(got, want) {
			t.Fatalf("%q: got %v, want %v", s, got, want)
		}
	})
}

// The sum of the scores is the largest of all ways to cut the text, as computed by dynamic
// programming over all tokens.
func TestUnigramTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawPieces(t, Unigram)
		d.Kinds, d.SentencePiece, d.Unknown = nil, nil, UnknownEach
		for id := range d.Scores { // so that the order of additions has no effect
			d.Scores[id] = math.Round(d.Scores[id]*4) / 4
		}
		tok, err := New(d)
		if err != nil {
			t.Fatal(err)
		}
		worst := slices.Min(d.Scores) - unkPenalty
		s := rapid.StringMatching(`[abcde]{0,12}`).Draw(t, "text")
		best := make([]float64, len(s)+1)
		for end := 1; end <= len(s); end++ {
			best[end] = best[end-1] + worst
			if slices.ContainsFunc(d.Tokens, func(t []byte) bool { return string(t) == s[end-1:end] }) {
				best[end] = math.Inf(-1)
			}
			for id, piece := range d.Tokens {
				if at := end - len(piece); strings.HasSuffix(s[:end], string(piece)) {
					best[end] = max(best[end], best[at]+d.Scores[id])
				}
			}
		}
		sum, text := 0.0, ""
		at := 0
		for _, id := range tok.Encode(s, false) {
			if id == 0 {
				sum, text, at = sum+worst, text+s[at:at+1], at+1
				continue
			}
			sum, text, at = sum+d.Scores[id], text+string(d.Tokens[id]), at+len(d.Tokens[id])
		}
		if text != s || sum != best[len(s)] {
			t.Fatalf("%q: tokens of %q have the sum %v, want %v", s, text, sum, best[len(s)])
		}
	})
}

// Encoding word by word gives the same ids as encoding the whole text.
func TestWords(t *testing.T) {
	var texts []string
	readJSON(t, testdata("strings.json"), &texts)
	for _, name := range []string{"llama2", "mistral", "gemma"} {
		tok := open(t, testdata(name+".json"))
		last := len(tok.steps) - 1
		if tok.steps[last].cut == nil || tok.steps[last].cut("ab\u2581\u2581c") != 2 {
			t.Fatalf("%s: the last step does not cut into words", name)
		}
		whole := open(t, testdata(name+".json"))
		whole.steps = whole.steps[:last]
		for _, s := range texts {
			if got, want := tok.Encode(s, false), whole.Encode(s, false); !slices.Equal(got, want) {
				t.Errorf("%s: %q: got %v, want %v", name, s, got, want)
			}
		}
	}
	d := &Data{Model: BPE, Tokens: [][]byte{[]byte("a"), []byte("b"), []byte(mark), []byte("b" + mark), []byte("b" + mark + mark + "a")}}
	v, err := newVocabulary(d)
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]string{"a_a": "a|_a", "b_a": "b_a", "b__a_b_a": "b__a|_b_a", "__": "__", "a_": "a|_", "_b_": "_b_"} {
		var parts []string
		for rest := strings.ReplaceAll(s, "_", mark); rest != ""; {
			n := v.words(d)(rest)
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		if got := strings.ReplaceAll(strings.Join(parts, "|"), mark, "_"); got != want {
			t.Errorf("%s: cut into %s, want %s", s, got, want)
		}
	}
}

// For characters in every version of Unicode, the forms equal those of golang.org/x/text,
// except that x/text inserts U+034F into a sequence of more than 30 marks.
func TestFormTwin(t *testing.T) {
	texts := rapid.StringOfN(rapid.SampledFrom([]rune("aeoA e\u00e9\u1e69\u0301\u0323\u0307\u0327\u0345\u0308\u212b\ufb01\uff21\uac01\u1100\u1161\u11a8\u0958\u0f73\u2126\u00bd\u0340\u1112\u6771\U0001d15e")), 0, 25, -1)
	for op, f := range forms {
		rapid.Check(t, func(t *rapid.T) {
			s := texts.Draw(t, "text")
			if got, want := f.normalize(s), f.normal.String(s); got != want {
				t.Fatalf("%s: %+q: got %+q, want %+q", op, s, got, want)
			}
		})
	}
	long := "e" + strings.Repeat("\u0323\u0301", 100)
	if got, want := forms[OpNFC].normalize(long), "\u1eb9"+strings.Repeat("\u0323", 99)+strings.Repeat("\u0301", 100); got != want {
		t.Errorf("200 marks: got %+q", got)
	}
	if got := forms[OpNFC].normalize("e\u0301\xff"); got != "e\u0301\xff" {
		t.Errorf("a text with invalid UTF-8 becomes %+q", got)
	}
}

// The forms leave characters after Unicode 9 unchanged, as tokenizers 0.23.3 does.
func TestFormsOfLaterCharacters(t *testing.T) {
	for _, c := range []struct {
		op       Op
		in, want string
	}{
		{OpNFKC, "\U0001078a", "\U0001078a"}, {OpNFD, "a\u0345\u1ac0", "a\u0345\u1ac0"}, {OpNFC, "\U00011935\U00011930", "\U00011935\U00011930"},
		{OpNFC, "e\u1ac0\u0301", "e\u1ac0\u0301"}, {OpNFKC, "\uff21e\u0301", "A\u00e9"},
	} {
		if got := forms[c.op].normalize(c.in); got != c.want {
			t.Errorf("%s: %+q: got %+q, want %+q", c.op, c.in, got, c.want)
		}
	}
	if norm.NFD.String("a\u0345\u1ac0") == "a\u0345\u1ac0" {
		t.Error("x/text does not know U+1AC0, so this test shows nothing")
	}
}

func TestCharsmap(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{[]byte{1, 0, 0}, `3 bytes, want at least 4`}, {[]byte{0, 0, 0, 0, 0}, `a trie of 0 bytes`}, {[]byte{4, 0, 0, 0, 0, 0, 0, 0}, `a trie of 4 bytes, 4 bytes are left`},
		{[]byte{3, 0, 0, 0, 0, 0, 0, 0}, `a trie of 3 bytes`}, {[]byte{0xff, 0xff, 0xff, 0xff, 0}, `a trie of 4294967295 bytes`},
		{[]byte{4, 0, 0, 0, 0, 0, 0, 0, 'x'}, `the last text is not terminated`}, {[]byte{4, 0, 0, 0, 0, 0, 0, 0, 0}, ``},
		{append(append([]byte{4, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 9)...), append(bytes.Repeat([]byte("x"), 300), 0)...), `a text of 300 bytes, want at most 256`},
	} {
		_, err := newCharsmap(c.b)
		checkError(t, err, false, c.want)
	}
	m, err := newCharsmap(parsePieces(t, "unigram").SentencePiece.Charsmap)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{"\ufb01x": "fi", "e\u0301": "\u00e9", "\u3000": " ", "x": "", "\uac00": "", "\t": " "} {
		if n, text := m.longest(in); string(text) != want || (n == 0) != (want == "") {
			t.Errorf("%+q: %d bytes become %+q, want %+q", in, n, text, want)
		}
	}
}
