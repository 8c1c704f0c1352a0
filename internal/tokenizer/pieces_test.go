package tokenizer

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pieceModels are the models that fixtures/gen/sentencepiece_models.py writes.
var pieceModels = []string{"llama", "llama-symbols", "bpe", "bpe-suffix", "unigram", "unigram-bytes", "unigram-plain"}

func parsePieces(t testing.TB, name string) *Data {
	t.Helper()
	d, err := ParseSentencePiece(read(t, testdata("sp-"+name+".model")))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

func openPieces(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := New(parsePieces(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return tok
}

func TestPiecesGolden(t *testing.T) {
	var texts []string
	readJSON(t, testdata("strings.json"), &texts)
	var decoded map[string][][2]json.RawMessage
	readJSON(t, testdata("pieces.json"), &decoded)
	for _, name := range pieceModels {
		tok := openPieces(t, name)
		var want [][]int
		readJSON(t, testdata("sp-"+name+".ids.json"), &want)
		for i, s := range texts {
			if got := tok.Encode(s, true); !slices.Equal(got, want[i]) {
				t.Errorf("%s: %q: got %v, want %v", name, s, got, want[i])
			}
		}
		if len(want) != len(texts) || len(decoded[name]) < 40 {
			t.Errorf("%s: ids for %d of %d strings, %d texts to decode", name, len(want), len(texts), len(decoded[name]))
		}
		for _, c := range decoded[name] {
			var ids []int
			var text string
			if err := json.Unmarshal(c[0], &ids); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(c[1], &text); err != nil {
				t.Fatal(err)
			}
			if got := string(tok.Decode(ids)); got != text {
				t.Errorf("%s: %v: got %q, want %q", name, ids, got, text)
			}
		}
	}
}

func TestPiecesRoles(t *testing.T) {
	for name, want := range map[string][4]int{"llama": {0, 1, 2, -1}, "unigram-plain": {0, -1, 2, 3}} {
		d := parsePieces(t, name)
		if got := [4]int{d.Unk, d.BOS, d.EOS, d.Pad}; got != want {
			t.Errorf("%s: unk, bos, eos, pad are %v, want %v", name, got, want)
		}
	}
	tok := openPieces(t, "llama")
	for id, want := range map[int]string{0: "<unk>", 1: "<s>", 3: "\x00", 3 + '\n': "\n"} {
		if b, ok := tok.Token(id); !ok || string(b) != want {
			t.Errorf("Token(%d) = %q, %v, want %q", id, b, ok, want)
		}
	}
	if !tok.IsSpecial(1) || tok.IsSpecial(0) || tok.IsSpecial(3) {
		t.Error("want exactly the control tokens to be special")
	}
	if got := string(tok.Decode(tok.Encode("\xff\x00 ok", false))); got != "\ufffd\x00 ok" {
		t.Errorf("invalid UTF-8 is decoded as %q", got)
	}
}

func TestPiecesRoundTrip(t *testing.T) {
	for _, name := range pieceModels {
		d := parsePieces(t, name)
		b, err := d.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeData(b)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := New(back)
		if err != nil {
			t.Fatal(err)
		}
		const text = "  Hello  world 12 \u6771x\u1234 "
		if got, want := tok.Encode(text, true), openPieces(t, name).Encode(text, true); !slices.Equal(got, want) {
			t.Errorf("%s: %v after a round trip, %v before", name, got, want)
		}
	}
}

// A Stream gives the same bytes as Decode, also after a prompt.
func TestStream(t *testing.T) {
	var texts []string
	readJSON(t, testdata("strings.json"), &texts)
	all := map[string]*Tokenizer{}
	for _, name := range pieceModels {
		all["sp-"+name] = openPieces(t, name)
	}
	for _, name := range variants {
		all[name] = open(t, testdata(name+".json"))
	}
	for name, tok := range all {
		for _, s := range texts {
			ids := tok.Encode(s, false)
			want := string(tok.Decode(ids))
			for _, cut := range []int{0, len(ids) / 2} {
				prompt := tok.AppendDecode(nil, ids[:cut], true)
				if string(prompt) != string(tok.Decode(ids[:cut])) {
					continue // Stream skips special tokens in the prompt
				}
				stream := tok.Stream(ids[:cut])
				for _, id := range ids[cut:] {
					prompt = append(prompt, stream.Add(id)...)
				}
				if prompt = append(prompt, stream.Flush()...); string(prompt) != want {
					t.Errorf("%s: %q after %d tokens: got %q, want %q", name, s, cut, prompt, want)
				}
			}
		}
	}
}

// Encode takes O(n log n) time, also for a text without spaces and for one of only spaces.
func TestLongPieceTexts(t *testing.T) {
	if testing.Short() {
		t.Skip("tries very many texts")
	}
	tokenizers := map[string]*Tokenizer{
		"sp-llama": openPieces(t, "llama"), "sp-unigram-plain": openPieces(t, "unigram-plain"),
		"llama2": open(t, testdata("llama2.json")), "unfused": open(t, testdata("unfused.json")),
	}
	for name, tok := range tokenizers {
		for _, unit := range []string{"a", " ", "\u6771\u4eac"} {
			if ids := tok.Encode(strings.Repeat(unit, 1<<18/len(unit)), false); len(ids) == 0 && unit != " " {
				t.Errorf("%s: 256 KiB of %q gives no ids", name, unit)
			}
		}
	}
}

func BenchmarkPieces(b *testing.B) {
	text := string(read(b, "../../fixtures/trained/heldout.txt"))
	unspaced := strings.ReplaceAll(text, " ", "")
	bench := func(name string, tok *Tokenizer) {
		for kind, s := range map[string]string{"text": text, "unspaced": unspaced} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.SetBytes(int64(len(s)))
				for b.Loop() {
					tok.Encode(s, false)
				}
			})
		}
	}
	for _, name := range []string{"llama", "unigram-plain"} {
		bench(name, openPieces(b, name))
	}
	for _, name := range []string{"llama2", "gemma", "unigram-bytes", "nfc"} {
		bench(name+".json", open(b, testdata(name+".json")))
	}
}

func TestPiecesFiles(t *testing.T) {
	files, err := filepath.Glob(testdata("sp-*.model"))
	if err != nil || len(files) != len(pieceModels) {
		t.Errorf("%d models in testdata, %d tested (%v)", len(files), len(pieceModels), err)
	}
}
