package metric

import (
	"bytes"
	"fmt"
	"math"
	"testing"
)

// What AppendScores writes has the same bits when it is read, NaN and samples included.
func TestScoresStored(t *testing.T) {
	x, estimate := NewSample(0.1, 0.01, 2, 0.5, []float64{0.3, 0.2})
	full := Score{
		KL: estimate, Spare: 1, Hidden: math.Inf(1), Sample: x, Partial: true, Top1: true, Top5: true, MaxAbs: 2, Cosine: 3, NLL: 4, RefNLL: 5,
		Rounding: Rounding{6, 7}, Logits: Moments{8, 9, 10}, Reference: Choice{ID: 11, PReference: 0.12, PModel: 0.13}, Model: Choice{ID: 14, PReference: Unknown, PModel: 0.16},
	}
	predicted := Unmeasured()
	want := []Score{full, predicted, {Top5: true, Sample: new(Sample)}}
	b := AppendScores([]byte("x"), want)[1:]
	got, err := ParseScores(b, 3, 15)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(AppendScores(nil, got), b) {
		t.Error("the scores are not the same")
	}
	for i := range want { // pointers differ
		if (got[i].Sample == nil) != (want[i].Sample == nil) || got[i].Sample != nil && *got[i].Sample != *want[i].Sample {
			t.Errorf("sample %d is %v", i, got[i].Sample)
		}
		got[i].Sample, want[i].Sample = nil, nil
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for n := range b {
		if _, err := ParseScores(b[:n], 3, 15); err == nil {
			t.Errorf("%d of %d bytes are accepted", n, len(b))
		}
	}
	for _, n := range []int{-1, 0, 2, 4, math.MaxInt} {
		if _, err := ParseScores(b, n, 15); err == nil {
			t.Errorf("%d scores are accepted as 3", n)
		}
	}
	if _, err := ParseScores(b, 3, 14); err == nil {
		t.Error("a token outside the vocabulary is accepted")
	}
}

func FuzzParseScores(f *testing.F) {
	f.Add(AppendScores(nil, make([]Score, 2)), 2)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if scores, err := ParseScores(b, n, 10); err == nil && len(AppendScores(nil, scores)) != len(b) {
			t.Errorf("%d scores of %d bytes", len(scores), len(b))
		}
	})
}
