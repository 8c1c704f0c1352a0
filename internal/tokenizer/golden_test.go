package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// variants are the tokenizers that fixtures/gen/tokenizer_golden.py writes.
var variants = []string{"gpt2", "space", "digit", "digits", "raw", "nested", "llama3", "qwen2", "added", "gaps",
	"llama2", "mistral", "gemma", "metaspace", "holes", "unfused", "nfc", "unigram", "unigram-bytes"}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(read(t, name), v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func testdata(name string) string { return filepath.Join("testdata", name) }

func open(t testing.TB, path string) *Tokenizer {
	t.Helper()
	d, err := ParseJSON(read(t, path))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	tok, err := New(d)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return tok
}

func TestEncodeGolden(t *testing.T) {
	var texts []string
	readJSON(t, testdata("strings.json"), &texts)
	if len(texts) < 300 {
		t.Fatalf("%d strings, want at least 300", len(texts))
	}
	for _, name := range variants {
		var want [][]int
		readJSON(t, testdata(name+".ids.json"), &want)
		if len(want) != len(texts) {
			t.Fatalf("%s: %d answers for %d strings", name, len(want), len(texts))
		}
		tok := open(t, testdata(name+".json"))
		for i, s := range texts {
			if got := tok.Encode(s, false); !slices.Equal(got, want[i]) {
				t.Errorf("%s: %q: got %v, want %v", name, s, got, want[i])
			}
		}
	}
}

func TestEncodeAddsSpecial(t *testing.T) {
	var texts []string
	readJSON(t, testdata("strings.json"), &texts)
	var around map[string][][]int
	readJSON(t, testdata("around.json"), &around)
	for _, name := range variants {
		tok := open(t, testdata(name+".json"))
		for i, want := range around[name] {
			if got := tok.Encode(texts[i], true); !slices.Equal(got, want) {
				t.Errorf("%s: %q: got %v, want %v", name, texts[i], got, want)
			}
		}
	}
	for _, c := range []struct {
		name     string
		bos, eos int
	}{{"gpt2", -1, -1}, {"llama3", 1, -1}, {"nested", 1, 2}} {
		if tok := open(t, testdata(c.name+".json")); tok.BOS() != c.bos || tok.EOS() != c.eos {
			t.Errorf("%s: bos %d, eos %d, want %d and %d", c.name, tok.BOS(), tok.EOS(), c.bos, c.eos)
		}
	}
}

func TestDecodeGolden(t *testing.T) {
	var decoded map[string][][3]json.RawMessage
	readJSON(t, testdata("decode.json"), &decoded)
	for _, name := range variants {
		tok := open(t, testdata(name+".json"))
		if len(decoded[name]) == 0 {
			t.Fatalf("%s: decode.json has no ids", name)
		}
		for _, c := range decoded[name] {
			var ids []int
			var whole, part string
			for i, v := range []any{&ids, &whole, &part} {
				if err := json.Unmarshal(c[i], v); err != nil {
					t.Fatal(err)
				}
			}
			if got := string(tok.Decode(ids)); got != whole {
				t.Errorf("%s: %v: got %q, want %q", name, ids, got, whole)
			}
			if got := string(tok.AppendDecode(nil, ids, true)); got != part {
				t.Errorf("%s: %v without specials: got %q, want %q", name, ids, got, part)
			}
		}
	}
}

// lossless lists the variants that decode every text to itself, because their vocabulary
// has every byte and their added tokens strip nothing.
var lossless = []string{"gpt2", "digit", "raw", "nested", "llama3", "qwen2"}

func TestRoundTrip(t *testing.T) {
	var texts []string
	readJSON(t, testdata("strings.json"), &texts)
	for b := range 256 {
		texts = append(texts, string([]byte{byte(b)}), string([]byte{'a', byte(b), ' ', byte(b), byte(b)}))
	}
	texts = append(texts, "\xf0\x9f\x91", "\xed\xa0\x80", "\xc0\x80", "x\xe2\x80 y", "'\xc5")
	for _, name := range lossless {
		tok := open(t, testdata(name+".json"))
		for _, s := range texts {
			if got := string(tok.Decode(tok.Encode(s, false))); got != s {
				t.Errorf("%s: %q is decoded as %q", name, s, got)
			}
		}
	}
}

func TestToken(t *testing.T) {
	tok := open(t, testdata("added.json"))
	n := tok.VocabSize()
	if n != 412 {
		t.Errorf("VocabSize = %d, want 412", n)
	}
	for _, c := range []struct {
		id      int
		want    string
		special bool
	}{{0, "<|endoftext|>", true}, {3, "!", false}, {400, "<mask>", true}, {401, "<right>", false}, {408, "\u2192", false}} {
		if b, ok := tok.Token(c.id); !ok || string(b) != c.want || tok.IsSpecial(c.id) != c.special {
			t.Errorf("Token(%d) = %q, %v, special %v, want %q, true, %v", c.id, b, ok, tok.IsSpecial(c.id), c.want, c.special)
		}
	}
	for _, id := range []int{-1, n, 1 << 30} {
		if b, ok := tok.Token(id); ok || b != nil || tok.IsSpecial(id) {
			t.Errorf("Token(%d) = %q, %v, special %v", id, b, ok, tok.IsSpecial(id))
		}
	}
	if got := tok.Decode([]int{-1, 3, n}); string(got) != "!" {
		t.Errorf("Decode with ids out of range = %q, want \"!\"", got)
	}
}

func TestEncodeConcurrently(t *testing.T) {
	var texts []string
	readJSON(t, testdata("strings.json"), &texts)
	tok := open(t, testdata("llama3.json"))
	var want [][]int
	readJSON(t, testdata("llama3.ids.json"), &want)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i, s := range texts {
				if got := tok.Encode(s, false); !slices.Equal(got, want[i]) {
					t.Errorf("%q: got %v, want %v", s, got, want[i])
				}
			}
		})
	}
	wg.Wait()
}

// An encoder that clears its full cache gives the same ids and uses bounded memory.
func TestCacheIsBounded(t *testing.T) {
	tok := open(t, testdata("digit.json"))
	e := tok.encoders.New().(*encoder)
	piece := []byte("aaaaa")
	for range 3 * cacheWords {
		for i := 0; ; i++ { // the next word in base 26
			if piece[i]++; piece[i] <= 'z' {
				break
			}
			piece[i] = 'a'
		}
		e.ids = e.ids[:0]
		for range 2 {
			e.piece(string(piece))
		}
		if n := len(e.ids) / 2; !slices.Equal(e.ids[:n], e.ids[n:]) {
			t.Fatalf("%s: got %v, then %v from the cache", piece, e.ids[:n], e.ids[n:])
		}
	}
	if len(e.cache) > cacheWords || len(e.arena) > cacheWords*cacheBytes {
		t.Errorf("cache holds %d words, %d ids", len(e.cache), len(e.arena))
	}
}

func TestLongPieces(t *testing.T) {
	if testing.Short() {
		t.Skip("tries very many texts")
	}
	tok := open(t, testdata("raw.json"))
	for _, unit := range []string{"a", "ab", " ", "the", "\xff", "東"} {
		s := strings.Repeat(unit, 1<<19/len(unit)) // would take hours in quadratic time
		if got := string(tok.Decode(tok.Encode(s, false))); got != s {
			t.Errorf("512 KiB of %q is decoded as a different text", unit)
		}
	}
	added := open(t, testdata("added.json"))
	for _, unit := range []string{" ", "<", "<|", "<mask> ", " <both>", "xy", "    <right>"} {
		s := strings.Repeat(unit, 1<<19/len(unit))
		if ids := added.Encode(s, false); len(ids) == 0 {
			t.Errorf("512 KiB of %q gives no ids", unit)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	text := string(read(b, "../../fixtures/trained/heldout.txt"))
	for _, name := range []string{"digit", "llama3"} {
		b.Run(name, func(b *testing.B) {
			tok := open(b, testdata(name+".json"))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				tok.Encode(text, false)
			}
		})
	}
}
