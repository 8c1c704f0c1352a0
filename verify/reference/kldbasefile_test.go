package reference_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/convert"
	"thimble/verify"
	"thimble/verify/reference"
	"thimble/verify/reference/referencetest"
)

// slowBase computes the divergence as llama.cpp does: over the log-probabilities above
// -16, which it takes to sum to 1.
func slowBase(row []byte, got []float32) float64 {
	total := 0.0
	for _, v := range got {
		total += math.Exp(float64(v))
	}
	kl := 0.0
	for i, logP := range reference.LogProbs(row, len(got)) {
		if logP > -16 {
			kl += math.Exp(logP) * (logP - float64(got[i]) + math.Log(total))
		}
	}
	return kl
}

// halves cuts prompts as TextPrompts does.
func halves(prompts []reference.Prompt) []reference.Prompt {
	cut := make([]reference.Prompt, len(prompts))
	for i, p := range prompts {
		cut[i] = reference.Prompt{p.IDs, len(p.IDs) / 2, len(p.IDs) - 1}
	}
	return cut
}

// A base file of a model gives the figures of the model itself, except for rounding to
// 16 bits, and those of llama.cpp's formula.
func TestBaseRoundTrip(t *testing.T) {
	for _, vocab := range []int{64, 33} {
		ref, subject, all := referencetest.Noisy(7, vocab, 33, 33, 33)
		prompts := halves(all)
		path := filepath.Join(t.TempDir(), "base")
		seen := 0
		if err := reference.WriteKLDBase(t.Context(), path, ref, prompts, reference.WriteOptions{Progress: func(done, total int) { seen = 100 * done / total }}); err != nil {
			t.Fatal(err)
		}
		file := referencetest.Open(t, path)
		if d := cmp.Diff(prompts, file.Prompts()); d != "" || file.Form().Vocab != vocab || seen != 100 {
			t.Errorf("vocabulary %d, %d%% seen, prompts %s", file.Form().Vocab, seen, d)
		}
		want, err := verify.Run(t.Context(), reference.FromScorer(ref), subject, prompts, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := verify.Run(t.Context(), file, subject, file.Prompts(), verify.Options{})
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
				slow += slowBase(data, subject.Logits[p.IDs[0]][at])
				data, n = data[reference.KLDBaseWidth(vocab):], n+1
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
			if !reference.Near(c.got, c.want, 5e-5) {
				t.Errorf("vocabulary %d: %s is %v, want %v", vocab, c.name, c.got, c.want)
			}
		}
		if m := got.Metrics; m.MaxAbs.Known() || m.CosineMin.Known() || m.KLHidden.Known() || len(got.Notes) != 1 {
			t.Errorf("what a base file does not say is known: %+v, %q", m, got.Notes)
		}
		if _, err := verify.Run(t.Context(), file, subject, all, verify.Options{}); err == nil || !strings.Contains(err.Error(), "holds positions 16 to 31 of each chunk, not 0") {
			t.Errorf("positions without rows: %v", err)
		}
		file.StartWith(-1)
		file.StartWith(vocab - 1)
		if ids := file.Prompts()[2].IDs; ids[0] != vocab-1 || ids[1] != prompts[2].IDs[1] {
			t.Errorf("StartWith gives %v", ids)
		}
	}
}

// testdata/llama.base was written by llama-perplexity (ggml 0.25.3) from the
// exported fixture: -f heldout.txt -c 16 -b 16 --chunks 2 --kl-divergence-base.
// It multiplies bfloat16 by activations rounded to bfloat16.
func TestBaseFromLlama(t *testing.T) {
	m, err := convert.Open("../../fixtures/trained", convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := reference.NewScorer(m, reference.Arithmetic{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := referencetest.Open(t, "testdata/llama.base")
	r, err := verify.Run(t.Context(), file, s, file.Prompts(), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if k := r.Metrics.KLMean; r.Metrics.Tokens != 14 || !(k < 3e-5) || r.Metrics.Top1Agreement != 1 || math.Abs(float64(r.Metrics.PPLRatio)-1) > 0.005 {
		t.Errorf("%+v", r.Metrics)
	}
	// Thimble's file for the same tokens has the same header.
	path := filepath.Join(t.TempDir(), "base")
	if err := reference.WriteKLDBase(t.Context(), path, s, file.Prompts(), reference.WriteOptions{}); err != nil {
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
	rows := reference.KLDBaseHeader + 4*32
	if len(ours) != len(theirs) || string(ours[:rows]) != string(theirs[:rows]) {
		t.Errorf("ours has %d bytes, theirs %d; or the headers differ", len(ours), len(theirs))
	}
	for n := range 14 {
		at := rows + n*reference.KLDBaseWidth(1024)
		a, b := reference.LogProbs(ours[at:], 1024), reference.LogProbs(theirs[at:], 1024)
		for i := range a {
			if math.Abs(a[i]-b[i]) > 0.15 {
				t.Fatalf("row %d, token %d: ours %v, theirs %v", n, i, a[i], b[i])
			}
		}
	}
}

func TestBaseErrors(t *testing.T) {
	ref, subject, all := referencetest.Noisy(7, 6, 8, 8)
	dir := t.TempDir()
	path := filepath.Join(dir, "base")
	if err := reference.WriteKLDBase(t.Context(), path, ref, halves(all), reference.WriteOptions{}); err != nil {
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
	rows := reference.KLDBaseHeader + 4*16
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
		{"token", set(reference.KLDBaseHeader+4*9, 6), "tokens: token id 6 at position 1 of chunk 1 is outside the vocabulary of 6"},
		{"negative token", set(reference.KLDBaseHeader, math.MaxUint32), "tokens: token id -1 at position 0 of chunk 0"},
		{"nan", set(rows, 0x7fc00000), "prompt 0: position 4: %s: chunk 0: position 4: the scale is NaN"},
		{"negative scale", set(rows, 0xbf800000), "position 4: the scale is -1 and"},
		{"infinite", set(rows+reference.KLDBaseWidth(6)+4, 0xff800000), "position 5: the scale is "},
		{"sum", set(rows+4, math.Float32bits(-3)), "position 4: all tokens together have a probability of "},
	} {
		file := filepath.Join(dir, c.name)
		if err := os.WriteFile(file, c.change(append([]byte{}, good...)), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := reference.Open(file)
		if err == nil {
			_, err = verify.Run(t.Context(), r, subject, r.Prompts(), verify.Options{})
			r.Close()
		}
		if want := strings.ReplaceAll(c.want, "%s", file); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v\nwant %s", c.name, err, want)
		}
	}
	if err := reference.WriteKLDBase(t.Context(), filepath.Join(dir, "no"), ref, all, reference.WriteOptions{}); err == nil || !strings.Contains(err.Error(), "prompt 0: a base file holds chunks of one length") {
		t.Errorf("all positions: %v", err)
	}
}
