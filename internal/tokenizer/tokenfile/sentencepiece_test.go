package tokenfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/tokenfile/wire"
)

// field encodes a field of bytes.
func field(number int, b []byte) []byte {
	out := binary.AppendUvarint(nil, uint64(number)<<3|wire.Length)
	return append(binary.AppendUvarint(out, uint64(len(b))), b...)
}

func numberField(number int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3), v)
}

func piece(text string, score float32, kind byte) []byte {
	b := append(field(1, []byte(text)), 2<<3|wire.Fixed32)
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(score))
	return field(1, append(b, numberField(3, uint64(kind))...))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// small returns a complete model of about 200 bytes.
func small(kind uint64) []byte {
	return join(piece("<unk>", 0, tokenizer.KindUnknown), piece("<s>", 0, tokenizer.KindControl), piece("\u2581", -1, tokenizer.KindNormal), piece("a", -2, tokenizer.KindNormal),
		piece("b", -2, tokenizer.KindNormal), piece("ab", -0.5, tokenizer.KindUnused), piece("\u2581ab", -0.25, tokenizer.KindNormal), piece("bb", -3, tokenizer.KindUserDefined),
		field(2, join(numberField(3, kind), numberField(24, 0), field(44, []byte("?")), numberField(4, 8))), field(3, join(field(1, []byte("x")), numberField(4, 0))))
}

func TestParseSentencePieceErrors(t *testing.T) {
	unk := piece("<unk>", 0, tokenizer.KindUnknown)
	bpe := field(2, numberField(3, 2))
	for _, c := range []struct {
		name        string
		b           []byte
		unsupported bool
		want        string
	}{
		{"small", small(2), false, ``},
		{"unigram", small(1), false, ``},
		{"empty", nil, false, `no piece is the unknown token`},
		{"two unknown", join(unk, piece("<u>", 0, tokenizer.KindUnknown), bpe), false, `pieces 0 and 1 are both unknown tokens, want one`},
		{"words", join(unk, field(2, numberField(3, 3))), true, `model_type 3 (want 1 for unigram or 2 for BPE)`},
		{"tag", []byte{0x80}, false, `unterminated varint`},
		{"field 0", []byte{0}, false, `field number 0`},
		{"unknown field", join(unk, field(9, nil)), true, `field 9 of ModelProto`},
		{"unknown field of a piece", field(1, numberField(7, 1)), true, `field 7 of pieces[0]`},
		{"unknown field of the trainer", field(2, numberField(60, 1)), true, `field 60 of TrainerSpec`},
		{"a group", join(unk, []byte{4<<3 | 3}), false, `wire type 3`},
		{"wrong type", numberField(1, 3), false, `wire type 0, want 2`},
		{"longer than the file", []byte{1<<3 | 2, 5, 1}, false, `field of 5 bytes, 1 are left`},
		{"2^63 bytes", []byte{1<<3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, false, `bytes, 0 are left`},
		{"short float", field(1, []byte{2<<3 | wire.Fixed32, 0}), false, `field of 4 bytes, 1 are left`},
		{"not UTF-8", piece("\xff", 0, tokenizer.KindNormal), false, `text is not UTF-8`},
		{"empty piece", piece("", 0, tokenizer.KindNormal), false, `a piece of 0 bytes`},
		{"long piece", piece(strings.Repeat("x", tokenizer.MaxPiece+1), 0, tokenizer.KindNormal), false, `a piece of 65537 bytes`},
		{"kind", piece("x", 0, 7), false, `pieces[0]: type 7`},
		{"a byte", piece("<0xGG>", 0, tokenizer.KindByte), false, `byte piece "<0xGG>", want the form <0x0A>`},
		{"no bytes", join(unk, field(2, join(numberField(3, 2), numberField(35, 1)))), false, `no piece for byte 0x00`},
		{"NaN", join(unk, piece("x", float32(math.NaN()), tokenizer.KindNormal), bpe), false, `score NaN of token 1`},
		{"denormalizer", join(unk, bpe, field(5, field(2, []byte("x")))), true, `a denormalizer`},
		{"type of 2^40", field(2, numberField(3, 1<<40)), false, `is not an int32`},
	} {
		_, err := ParseSentencePiece(c.b)
		checkError(t, err, c.unsupported, c.want)
	}
	d, err := ParseSentencePiece(join(unk, piece("x", 0, tokenizer.KindNormal), piece("x", 0, tokenizer.KindNormal), bpe))
	if err == nil {
		_, err = tokenizer.New(d)
	}
	checkError(t, err, false, `token 2, "x", is a duplicate`)
}

// Fields may come in any order and twice, and skipped fields have no effect.
func TestParseSentencePieceInert(t *testing.T) {
	want, err := ParseSentencePiece(small(2))
	if err != nil {
		t.Fatal(err)
	}
	b := join(field(4, []byte("self test")), field(2, join(numberField(3, 7), field(1, []byte("in.txt")), []byte{10<<3 | wire.Fixed32, 0, 0, 0, 0}, numberField(53, 0))), small(2))
	got, err := ParseSentencePiece(b)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := want.MarshalBinary()
	if y, err := got.MarshalBinary(); err != nil || !bytes.Equal(x, y) {
		t.Errorf("got a different tokenizer, %v", err)
	}
}

// ParseSentencePiece rejects a truncated file, unless it ends between pieces, where it is a
// valid model with fewer pieces. A flipped bit causes no panic.
func TestSentencePieceDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("tries very many texts")
	}
	good := small(2)
	ends := map[int]bool{} // offsets between fields, where a file may end
	for m := wire.New("", "", good); m.Next() != 0; m.Bytes() {
		ends[int(m.Offset())] = true
	}
	for n := range good {
		if _, err := ParseSentencePiece(good[:n]); err == nil && !ends[n] {
			t.Errorf("ParseSentencePiece accepts the first %d of %d bytes", n, len(good))
		}
		for bit := range 8 {
			b := slices.Clone(good)
			b[n] ^= 1 << bit
			exercise(t, b)
		}
	}
	for _, name := range []string{"bpe", "unigram-bytes"} {
		good := read(t, testdata("sp-"+name+".model"))
		for i := 0; i < len(good); i += 97 {
			b := slices.Clone(good)
			b[i] ^= byte(1 + i%255)
			exercise(t, b)
		}
	}
}

// exercise parses a file and, if that succeeds, uses the result in all ways.
func exercise(t *testing.T, b []byte) {
	t.Helper()
	d, err := ParseSentencePiece(b)
	if err != nil {
		if strings.Contains(err.Error(), "\n") {
			t.Fatalf("error has more than one line: %q", err)
		}
		return
	}
	tok, err := tokenizer.New(d)
	if err != nil {
		return
	}
	const text = "  ab abb\u2581b \t\u6771\xff \uff21\ufb01e\u0301x"
	ids := tok.Encode(text, true)
	tok.Decode(ids)
	for _, id := range ids {
		tok.Token(id)
	}
	if enc, err := d.MarshalBinary(); err != nil {
		t.Fatal(err)
	} else if back, err := tokenizer.DecodeData(enc); err != nil {
		t.Fatal(err)
	} else if again, err := tokenizer.New(back); err != nil || !slices.Equal(again.Encode(text, true), ids) {
		t.Fatalf("ids change in a round trip: %v", err)
	}
	ParseModel(Files{Model: b})
}

func FuzzParseSentencePiece(f *testing.F) {
	f.Add(small(1))
	f.Add(small(2))
	rule := append(binary.LittleEndian.AppendUint32(nil, 4), 0, 0, 0, 0, 'x', 0)
	f.Add(join(small(2), field(3, field(2, rule))))
	f.Fuzz(func(t *testing.T, b []byte) { exercise(t, b) })
}

func TestParseModelErrors(t *testing.T) {
	model := read(t, "../../../fixtures/mobilellm-facebook/tokenizer.model")
	for _, c := range []struct {
		files       Files
		unsupported bool
		want        string
	}{
		{Files{}, false, ``},
		{Files{Config: []byte(`{"add_bos_token":null,"legacy":true}`)}, false, ``},
		{Files{Config: []byte(`{"add_bos_token":"yes"}`)}, false, `add_bos_token: want true or false, found a string`},
		{Files{Config: []byte(`{"legacy":1}`)}, false, `legacy: want true or false`},
		{Files{Config: []byte(`{"extra_special_tokens":["<x>"],"pad_token":"<nowhere>"}`)}, false, ``},
		{Files{Config: []byte(`{"tokenizer_class":"XLNetTokenizer"}`)}, true, `tokenizer_class XLNetTokenizer without tokenizer.json`},
		{Files{Config: []byte(`{"added_tokens_decoder":{"x":{"content":"<x>"}}}`)}, false, `"x" is not a token id`},
		{Files{Config: []byte(`{"added_tokens_decoder":{"999":{"content":"<x>"}}}`)}, false, `<x>: listed as id 999`},
		{Files{Config: []byte(`{"added_tokens_decoder":{"384":{"content":"<x>","special":7}}}`)}, false, `special: want true or false`},
		{Files{Config: []byte(`{"added_tokens_decoder":{"384":{"content":""}}}`)}, false, ``},
		{Files{Added: []byte(`{"<x>":"y"}`)}, false, `want a token id`},
		{Files{Added: []byte(`[]`)}, false, `found an array, want an object`},
		{Files{Specials: []byte(`{`)}, false, `special_tokens_map.json`},
	} {
		c.files.Model = model
		_, err := ParseModel(c.files)
		checkError(t, err, c.unsupported, c.want)
	}
}

// The effect of each file. fixtures/gen/tokenizer_diff.py compares ParseLlama with
// transformers 5.23.
func TestParseModel(t *testing.T) {
	files := Files{
		Model:    read(t, testdata("sp-llama-symbols.model")),
		Config:   []byte(`{"bos_token":"<mask>","add_eos_token":true}`),
		Added:    []byte(`{"<im>":701,"<pad>":700}`),
		Specials: []byte(`{"pad_token":{"content":"<pad>","lstrip":false},"bos_token":"<s>"}`),
	}
	d, err := ParseModel(files)
	if err != nil {
		t.Fatal(err)
	}
	if got := [4]int{d.BOS, d.EOS, d.Pad, d.Unk}; got != [4]int{1, 2, 700, 0} {
		t.Errorf("bos, eos, pad, unk are %v", got)
	}
	tok, err := tokenizer.New(d)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int{
		"<pad> <im><user>": {1, 700, 607, 701, 6, 2}, "": {1, 2}, "<mask>": {1, 3, 2},
	} {
		if got := tok.Encode(text, true); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	if !tok.IsSpecial(700) || tok.IsSpecial(701) || tok.IsSpecial(6) || !tok.IsSpecial(3) {
		t.Error("want exactly the control pieces and the named tokens to be special")
	}
	if d.Kinds[700] != tokenizer.KindControl || d.Kinds[701] != tokenizer.KindUserDefined || len(d.Scores) != len(d.Tokens) {
		t.Errorf("kinds of the added tokens are %v, %d scores", d.Kinds[700:], len(d.Scores))
	}
	files.Config = []byte(`{"added_tokens_decoder":{"1":{"content":"<s>","special":true,"normalized":true}},"add_bos_token":false}`)
	if d, err = ParseModel(files); err != nil || len(d.Tokens) != 700 || !d.Added[0].Normalized || d.Prefix != nil {
		t.Errorf("with added_tokens_decoder: %v, %d tokens", err, len(d.Tokens))
	}
}

// The merge with the best score comes first, whatever the ids (Mistral).
func TestMergesByScore(t *testing.T) {
	b := join(piece("<unk>", 0, tokenizer.KindUnknown), piece("\u2581", -9, tokenizer.KindNormal), piece("a", -9, tokenizer.KindNormal), piece("b", -9, tokenizer.KindNormal),
		piece("aa", -2, tokenizer.KindNormal), piece("ab", -1, tokenizer.KindNormal))
	for i := range 256 {
		b = join(b, piece(fmt.Sprintf("<0x%02X>", i), 0, tokenizer.KindByte))
	}
	b = join(b, field(2, join(numberField(3, 2), numberField(35, 1))), field(3, numberField(4, 0)))
	d, err := ParseModel(Files{Model: b, Config: []byte(`{"add_prefix_space":false}`)})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(d)
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode("aab", false); !slices.Equal(got, []int{2, 5}) {
		t.Errorf("got %v, want a and ab", got)
	}
}
