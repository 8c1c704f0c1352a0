package verify

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"thimble/convert"
)

// logProbs is what a row of a base file says, read plainly.
func logProbs(row []byte, vocab int) []float64 {
	scale := math.Float32frombits(binary.LittleEndian.Uint32(row))
	least := math.Float32frombits(binary.LittleEndian.Uint32(row[4:]))
	x := make([]float64, vocab)
	for i := range x {
		x[i] = float64(scale)*float64(binary.LittleEndian.Uint16(row[8+2*i:])) + float64(least)
	}
	return x
}

// A row holds each log-probability within half a step, and those further down
// than 16 at 16.
func TestBaseRow(t *testing.T) {
	check := func(fatal func(string, ...any), logits []float32) {
		row := appendBaseRow(nil, logits)
		if want := 8 + 2*len(logits) + len(logits)%2*2; len(row) != want || len(row) != baseWidth(len(logits)) {
			fatal("a row of %d logits has %d bytes, want %d", len(logits), len(row), want)
		}
		high, sum := math.Inf(-1), 0.0
		for _, v := range logits {
			high = max(high, float64(v))
		}
		for _, v := range logits {
			sum += math.Exp(float64(v) - high)
		}
		step := float64(math.Float32frombits(binary.LittleEndian.Uint32(row)))
		for i, got := range logProbs(row, len(logits)) {
			want := max(float64(logits[i])-high, -16) - math.Log(sum)
			if math.Abs(got-want) > 0.51*step+4e-6 {
				fatal("logit %d: %v became log p = %v, want %v within %v", i, logits[i], got, want, step/2)
			}
		}
	}
	for _, logits := range [][]float32{
		{1}, {1, 1}, {0, 0, 0}, {1, 2, 3}, {-40, 0, 40}, {math.MaxFloat32, -math.MaxFloat32, 0}, {1e-45, 0}, {1e-40, 0, 2e-40}, {3, 3 - 16, 3 - 17},
	} {
		check(t.Errorf, logits)
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t.Fatalf, rapid.SliceOfN(rapid.Float32Range(-30, 30), 1, 40).Draw(t, "logits"))
	})
}

// slowBase is the divergence as llama.cpp computes it: over the log-probabilities
// above -16, which are taken to sum to 1.
func slowBase(row []byte, got []float32) float64 {
	total := 0.0
	for _, v := range got {
		total += math.Exp(float64(v))
	}
	kl := 0.0
	for i, logP := range logProbs(row, len(got)) {
		if logP > -16 {
			kl += math.Exp(logP) * (logP - float64(got[i]) + math.Log(total))
		}
	}
	return kl
}

// halves cuts prompts as TextPrompts does.
func halves(prompts []Prompt) []Prompt {
	cut := make([]Prompt, len(prompts))
	for i, p := range prompts {
		cut[i] = Prompt{p.IDs, len(p.IDs) / 2, len(p.IDs) - 1}
	}
	return cut
}

// A base file of a model gives the figures of the model itself, but for 16 bits,
// and those of llama.cpp's formula.
func TestBaseRoundTrip(t *testing.T) {
	for _, vocab := range []int{64, 33} {
		ref, subject, all := noisy(7, vocab, 33, 33, 33)
		prompts := halves(all)
		path := filepath.Join(t.TempDir(), "base")
		seen := 0
		if err := WriteBase(t.Context(), path, ref, prompts, WriteOptions{Progress: func(done, total int) { seen = 100 * done / total }}); err != nil {
			t.Fatal(err)
		}
		file := open(t, path)
		if d := cmp.Diff(prompts, file.Prompts()); d != "" || file.Vocab() != vocab || seen != 100 {
			t.Errorf("vocabulary %d, %d%% seen, prompts %s", file.Vocab(), seen, d)
		}
		want, err := Run(t.Context(), ref, subject, prompts, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Run(t.Context(), file, subject, file.Prompts(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		slow, n := 0.0, 0
		data = data[20+4*33*3:]
		for _, p := range prompts {
			for at := p.From; at < p.To; at++ {
				slow += slowBase(data, subject.logits[p.IDs[0]][at])
				data, n = data[baseWidth(vocab):], n+1
			}
		}
		slow /= float64(n)
		for _, c := range []struct {
			name      string
			got, want float64
		}{
			{"kl_mean", float64(got.Metrics.KLMean), float64(want.Metrics.KLMean)},
			{"kl_mean by llama.cpp", float64(got.Metrics.KLMean), slow},
			{"kl_p99", float64(got.Metrics.KLP99), float64(want.Metrics.KLP99)},
			{"top1", float64(got.Metrics.Top1Agreement), float64(want.Metrics.Top1Agreement)},
			{"top5", float64(got.Metrics.Top5Agreement), float64(want.Metrics.Top5Agreement)},
			{"ppl", float64(got.Metrics.PPL), float64(want.Metrics.PPL)},
			// One of the next tokens, which are random, is cut off in the reference.
			{"ln ppl_reference / 1000", math.Log(float64(got.Metrics.PPLReference)) / 1000, math.Log(float64(want.Metrics.PPLReference)) / 1000},
		} {
			if !near(c.got, c.want, 5e-5) {
				t.Errorf("vocabulary %d: %s is %v, want %v", vocab, c.name, c.got, c.want)
			}
		}
		if m := got.Metrics; m.MaxAbs.Known() || m.CosineMin.Known() || m.KLHidden.Known() || len(got.Notes) != 1 {
			t.Errorf("what a base file does not say is known: %+v, %q", m, got.Notes)
		}
		if _, err := Run(t.Context(), file, subject, all, Options{}); err == nil || !strings.Contains(err.Error(), "holds positions 16 to 31 of each chunk, not 0") {
			t.Errorf("positions without rows: %v", err)
		}
		file.StartWith(-1)
		file.StartWith(vocab - 1)
		if ids := file.Prompts()[2].IDs; ids[0] != vocab-1 || ids[1] != prompts[2].IDs[1] {
			t.Errorf("StartWith gives %v", ids)
		}
	}
}

// What was cut off counts for nothing, for a choice that is there too.
func TestBaseCut(t *testing.T) {
	want := []float32{20, 19, 1, 0, -100}
	p := &basePrompt{&recorded{from: 0, to: 1, coded: appendBaseRow(nil, want)}, "base", 5}
	got := []float32{19, 19, -5, 30, -200}
	s, err := p.compare(new(lane), 0, got, 4)
	if err != nil {
		t.Fatal(err)
	}
	if s.top1 || s.reference.ID != 0 || s.model.ID != 3 || s.model.PReference.Known() || s.top5 != true {
		t.Errorf("%+v", s)
	}
	a, b := 1/(1+math.Exp(-1)), 1/(1+math.Exp(1))
	lse := 30 + math.Log(1+2*math.Exp(-11)+math.Exp(-35)+math.Exp(-230))
	if kl := a*(math.Log(a)-(19-lse)) + b*(math.Log(b)-(19-lse)); math.Abs(s.kl-kl) > 1e-3 {
		t.Errorf("kl is %v, want %v", s.kl, kl)
	}
	if math.Abs(s.refNLL-(16+math.Log(1+math.Exp(-1)))) > 1e-3 {
		t.Errorf("-log p of a token that was cut off is %v", s.refNLL)
	}
}

// testdata/llama.base was written by llama-perplexity (ggml 0.25.3) from the
// exported fixture: -f heldout.txt -c 16 -b 16 --chunks 2 --kl-divergence-base.
// It multiplies bfloat16 by activations rounded to bfloat16.
func TestBaseFromLlama(t *testing.T) {
	m, err := convert.Open("../fixtures/trained", convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := NewSubject(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := open(t, "testdata/llama.base")
	r, err := Run(t.Context(), file, s, file.Prompts(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if k := r.Metrics.KLMean; r.Metrics.Tokens != 14 || !(k < 3e-5) || r.Metrics.Top1Agreement != 1 || math.Abs(float64(r.Metrics.PPLRatio)-1) > 0.005 {
		t.Errorf("%+v", r.Metrics)
	}
	// Ours of the same tokens has their header.
	path := filepath.Join(t.TempDir(), "base")
	if err := WriteBase(t.Context(), path, s, file.Prompts(), WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile("testdata/llama.base")
	if err != nil {
		t.Fatal(err)
	}
	rows := baseHeader + 4*32
	if len(ours) != len(theirs) || string(ours[:rows]) != string(theirs[:rows]) {
		t.Errorf("ours has %d bytes, theirs %d; or the headers differ", len(ours), len(theirs))
	}
	for n := range 14 {
		at := rows + n*baseWidth(1024)
		a, b := logProbs(ours[at:], 1024), logProbs(theirs[at:], 1024)
		for i := range a {
			if math.Abs(a[i]-b[i]) > 0.15 {
				t.Fatalf("row %d, token %d: ours %v, theirs %v", n, i, a[i], b[i])
			}
		}
	}
}

func TestBaseErrors(t *testing.T) {
	ref, subject, all := noisy(7, 6, 8, 8)
	dir := t.TempDir()
	path := filepath.Join(dir, "base")
	if err := WriteBase(t.Context(), path, ref, halves(all), WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[at:], v)
			return b
		}
	}
	rows := baseHeader + 4*16
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"header", func(b []byte) []byte { return b[:19] }, "ends in its header, after 19 bytes"},
		{"context", set(8, 2), "n_ctx: is 2, want 3 to 16777216"},
		{"negative context", set(8, 1<<31), "n_ctx: is -2147483648, want 3 to 16777216"},
		{"vocabulary", set(12, 0), "n_vocab: is 0, want 1 to 4194304"},
		{"chunks", set(16, 0), "n_chunk: is 0, want 1 or more"},
		{"many chunks", set(16, math.MaxInt32), "holds 2 chunks of 8 tokens, the header says 2147483647: was writing it interrupted?"},
		{"all large", func(b []byte) []byte { return set(16, math.MaxInt32)(set(12, 1<<22)(set(8, 1<<24)(b))) }, "the header says 2147483647"},
		{"short", func(b []byte) []byte { return b[:len(b)-1] }, "holds 1.989 chunks of 8 tokens, the header says 2: was writing it interrupted?"},
		{"long", func(b []byte) []byte { return append(b, 0) }, "holds 2.011 chunks"},
		{"token", set(baseHeader+4*9, 6), "tokens: token id 6 at position 1 of chunk 1 is outside the vocabulary of 6"},
		{"negative token", set(baseHeader, math.MaxUint32), "tokens: token id -1 at position 0 of chunk 0"},
		{"nan", set(rows, 0x7fc00000), "prompt 0: position 4: %s: chunk 0: position 4: the scale is NaN"},
		{"negative scale", set(rows, 0xbf800000), "position 4: the scale is -1 and"},
		{"infinite", set(rows+baseWidth(6)+4, 0xff800000), "position 5: the scale is "},
		{"sum", set(rows+4, math.Float32bits(-3)), "position 4: all tokens together have a probability of "},
	} {
		file := filepath.Join(dir, c.name)
		if err := os.WriteFile(file, c.change(append([]byte{}, good...)), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenReference(file)
		if err == nil {
			_, err = Run(t.Context(), r, subject, r.Prompts(), Options{})
			r.Close()
		}
		if want := strings.ReplaceAll(c.want, "%s", file); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v\nwant %s", c.name, err, want)
		}
	}
	if err := WriteBase(t.Context(), filepath.Join(dir, "no"), ref, all, WriteOptions{}); err == nil || !strings.Contains(err.Error(), "prompt 0: a base file holds chunks of one length") {
		t.Errorf("all positions: %v", err)
	}
}

// Whatever the bytes, a base file is read or refused.
func FuzzBase(f *testing.F) {
	data, err := os.ReadFile("testdata/llama.base")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:baseHeader])
	f.Add(append([]byte(baseMagic), 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &Reference{path: "base"}
		if err := r.readBase(data); err != nil {
			return
		}
		for i, p := range r.Prompts() {
			prompt := &basePrompt{&r.prompts[i], "base", r.vocab}
			for at := p.From; at < p.To; at++ {
				if s, err := prompt.compare(new(lane), at, make([]float32, r.vocab), -1); err == nil && !(s.kl >= 0) {
					t.Errorf("position %d: kl is %v", at, s.kl)
				}
			}
		}
	})
}
