package reference

import (
	"encoding/binary"
	"math"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// logProbs decodes a row of a base file in the plainest way.
func logProbs(row []byte, vocab int) []float64 {
	scale := math.Float32frombits(binary.LittleEndian.Uint32(row))
	least := math.Float32frombits(binary.LittleEndian.Uint32(row[4:]))
	x := make([]float64, vocab)
	for i := range x {
		x[i] = float64(scale)*float64(binary.LittleEndian.Uint16(row[8+2*i:])) + float64(least)
	}
	return x
}

// A row holds each log-probability within half a step. Those more than 16 below the
// largest are stored as 16 below.
func TestBaseRow(t *testing.T) {
	check := func(fatal func(string, ...any), logits []float32) {
		row := appendKLDBaseRow(nil, logits)
		if want := 8 + 2*len(logits) + len(logits)%2*2; len(row) != want || len(row) != kldBaseWidth(len(logits)) {
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

// Tokens that were cut off do not count, even if the model chooses one of them.
func TestBaseCut(t *testing.T) {
	want := []float32{20, 19, 1, 0, -100}
	p := &kldBasePrompt{path: "base", vocab: 5, from: 0, to: 1, coded: appendKLDBaseRow(nil, want)}
	got := []float32{19, 19, -5, 30, -200}
	s, err := p.Compare(new(Scratch), 0, got, 4)
	if err != nil {
		t.Fatal(err)
	}
	if s.Top1 || s.Reference.ID != 0 || s.Model.ID != 3 || s.Model.PReference.Known() || s.Top5 != true {
		t.Errorf("%+v", s)
	}
	a, b := 1/(1+math.Exp(-1)), 1/(1+math.Exp(1))
	lse := 30 + math.Log(1+2*math.Exp(-11)+math.Exp(-35)+math.Exp(-230))
	if kl := a*(math.Log(a)-(19-lse)) + b*(math.Log(b)-(19-lse)); math.Abs(s.KL-kl) > 1e-3 {
		t.Errorf("kl is %v, want %v", s.KL, kl)
	}
	if math.Abs(s.RefNLL-(16+math.Log(1+math.Exp(-1)))) > 1e-3 {
		t.Errorf("-log p of a token that was cut off is %v", s.RefNLL)
	}
}

// Any bytes are read as a base file or refused without a panic.
func FuzzBase(f *testing.F) {
	data, err := os.ReadFile("testdata/llama.base")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:kldBaseHeader])
	f.Add(append([]byte(kldBaseMagic), 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &File{path: "base"}
		if err := r.readKLDBase(data); err != nil {
			return
		}
		for i, p := range r.Prompts() {
			for at := p.From; at < p.To; at++ {
				if s, err := r.prompts[i].Compare(new(Scratch), at, make([]float32, r.form.Vocab), -1); err == nil && !(s.KL >= 0) {
					t.Errorf("position %d: kl is %v", at, s.KL)
				}
			}
		}
	})
}
