package tokenizer

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// The functions whose names begin with slow are simple implementations of what the package
// does fast.

// alternatives lists the alternatives of each pattern in order, in the syntax of RE2. It
// lacks \s+(?!\S), because RE2 has no lookahead. W means white, because \s of RE2 is ASCII
// only.
var alternatives = map[Step][]string{
	StepGPT2: {`'s|'t|'re|'ve|'m|'ll|'d`, ` ?\p{L}+`, ` ?\p{N}+`, ` ?[^W\p{L}\p{N}]+`},
	StepLlama3: {`(?i:'s|'t|'re|'ve|'m|'ll|'d)`, `[^\r\n\p{L}\p{N}]?\p{L}+`, `\p{N}{1,3}`,
		` ?[^W\p{L}\p{N}]+[\r\n]*`, `[W]*[\r\n]+`},
	StepQwen2: {`(?i:'s|'t|'re|'ve|'m|'ll|'d)`, `[^\r\n\p{L}\p{N}]?\p{L}+`, `\p{N}`,
		` ?[^W\p{L}\p{N}]+[\r\n]*`, `[W]*[\r\n]+`},
	StepDigit:  {`\p{N}`, `[^\p{N}]+`},
	StepDigits: {`\p{N}+`, `[^\p{N}]+`},

	StepWords:      {`▁[^▁]*`, `[^▁]+`},
	StepAfterSpace: {`[^ ]* `, `[^ ]+`},
}

const white = `\x09-\x0d\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}`

func slowCutter(s Step) cutter {
	var res []*regexp.Regexp
	for _, a := range alternatives[s] {
		res = append(res, regexp.MustCompile(`^(?:`+strings.ReplaceAll(a, "W", white)+`)`))
	}
	blank := regexp.MustCompile(`^[` + white + `]+`)
	return func(s string) int {
		for _, re := range res {
			if m := re.FindString(s); m != "" {
				return len(m)
			}
		}
		m := blank.FindString(s)
		if _, last := utf8.DecodeLastRuneInString(m); m != s && last < len(m) { // \s+(?!\S)
			return len(m) - last
		}
		return len(m)
	}
}

// text draws characters whose properties are the same in Go's tables and in newer versions
// of Unicode.
var text = rapid.StringOf(rapid.SampledFrom([]rune("aAbst'SLlRreEvVmMdDſ01239²Ⅷ٣  \t\n\r\n\u00a0\u2003\u3000\u0085.,!<>é東あ́ा👍‍▁\x00\u200b�")))

func TestCutTwin(t *testing.T) {
	for step, cut := range cutters {
		slow := slowCutter(step)
		rapid.Check(t, func(t *rapid.T) {
			for s := text.Draw(t, "text"); s != ""; {
				got, want := cut(s), slow(s)
				if got != want {
					t.Fatalf("%s: %q: first piece is %q, want %q", step, s, s[:got], s[:want])
				}
				s = s[got:]
			}
		})
	}
}

// Every cutter covers every character, alone and before another one.
func TestCutAdvances(t *testing.T) {
	if testing.Short() {
		t.Skip("tries very many texts")
	}
	for step, cut := range cutters {
		for r := rune(0); r <= utf8.MaxRune; r++ {
			if s := string(r) + "a"; cut(s) < 1 || cut(s[:len(s)-1]) != len(s)-1 && r != utf8.RuneError {
				t.Fatalf("%s: a piece of %d bytes from %q", step, cut(s), s)
			}
		}
	}
}

// slowMerge applies the merge with the lowest rank, leftmost first, until none is left.
func slowMerge(m *bpe, piece string) (ids []uint32) {
	for _, b := range []byte(piece) {
		if id := m.one[b]; id >= 0 {
			ids = append(ids, uint32(id))
		}
	}
	for {
		best, at := uint32(noRank), 0
		for i := 0; i+1 < len(ids); i++ {
			if r, ok := m.rank.of(ids[i], ids[i+1]); ok && r < best {
				best, at = r, i
			}
		}
		if best == noRank {
			return ids
		}
		ids = slices.Replace(ids, at, at+2, m.merged[best])
	}
}

func TestMergeTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &Data{Model: ByteLevelBPE, Tokens: [][]byte{[]byte("a"), []byte("b"), []byte("c")}, BOS: -1, EOS: -1, Pad: -1, Unk: -1}
		have := map[string]bool{"a": true, "b": true, "c": true}
		for range rapid.IntRange(0, 30).Draw(t, "merges") { // any pair at any rank, even twice
			id := rapid.IntRange(0, len(d.Tokens)-1)
			l, r := id.Draw(t, "left"), id.Draw(t, "right")
			made := string(d.Tokens[l]) + string(d.Tokens[r])
			if len(made) > 12 {
				continue
			}
			if !have[made] {
				d.Tokens = append(d.Tokens, []byte(made))
				have[made] = true
			}
			d.Merges = append(d.Merges, uint32(l), uint32(r))
		}
		v, err := newVocabulary(d)
		if err != nil {
			t.Fatal(err)
		}
		m, err := newBPE(d, v)
		if err != nil {
			t.Fatal(err)
		}
		piece := rapid.StringMatching(`[abcd]{0,60}`).Draw(t, "piece") // d has no token
		if got, want := m.encode(nil, piece, new(merger)), slowMerge(m, piece); !slices.Equal(got, want) {
			t.Fatalf("%q: got %v, want %v", piece, got, want)
		}
	})
}

func TestLongestTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		contents := rapid.SliceOfNDistinct(rapid.StringMatching(`[ab<]{1,5}`), 0, 12, rapid.ID[string]).Draw(t, "tokens")
		var added []Added
		for i, c := range contents {
			added = append(added, Added{ID: uint32(i), Content: c})
		}
		s, best := rapid.StringMatching(`[ab<]{0,8}`).Draw(t, "text"), ""
		for _, c := range contents {
			if strings.HasPrefix(s, c) && len(c) > len(best) {
				best = c
			}
		}
		got := ""
		if a := newFinder(added, false, nil).longest(s); a != nil {
			got = a.Content
		}
		if got != best {
			t.Fatalf("%q: longest of %q is %q, want %q", s, contents, got, best)
		}
	})
}

func TestCharBuffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.SliceOf(rapid.SliceOfN(rapid.SampledFrom([]byte("a\xe6\x9d\xb1\xf0\x9f\x91\x8d\xc3\xa9\xff")), 0, 4)).Draw(t, "tokens")
		var s charBuffer
		var in, out []byte
		for _, token := range tokens {
			in = append(in, token...)
			out = append(out, s.add(token)...)
			held := in[len(out):]
			if len(held) > 0 && (!utf8.RuneStart(held[0]) || utf8.FullRune(held)) {
				t.Fatalf("add holds back %q of %q", held, in)
			}
			if r := out[max(0, len(out)-3):]; utf8.Valid(in) && !utf8.Valid(out) {
				t.Fatalf("add cuts a character: %q", r)
			}
		}
		if out = append(out, s.flush()...); string(out) != string(in) {
			t.Fatalf("got %q, want %q", out, in)
		}
		if again := s.flush(); len(again) > 0 {
			t.Fatalf("a second flush returns %q", again)
		}
	})
}
