package metric

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The first numbers of the reference implementation (Vigna, splitmix64.c).
func TestSplitMix(t *testing.T) {
	s := SplitMix(1234567)
	for _, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := s.Next(); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	var seen [7]int
	for range 7000 {
		seen[s.Below(7)]++
	}
	for i, n := range seen {
		if n < 850 || n > 1150 {
			t.Errorf("%d came %d times of 7000", i, n)
		}
	}
}

func TestTailShare(t *testing.T) {
	for _, c := range []struct {
		n    int
		want float64
	}{{2, 0}, {10, 0.0085506}, {40, 0.0202575}, {100000, 0.024998}} {
		if got := tailShare(c.n); math.Abs(got-c.want) > 1e-5 {
			t.Errorf("%d prompts leave out %.6f, want %.6f", c.n, got, c.want)
		}
	}
	for freedom, want := range map[int]float64{1: 12.7062, 8: 2.3060, 9: 2.26216, 30: 2.04227, 1000: 1.96234} {
		if got := studentQuantile(freedom); math.Abs(got-want) > 5e-4 {
			t.Errorf("Student's t with %d: %.5f, want %.5f", freedom, got, want)
		}
	}
}

// drawPrompts returns prompts whose divergences are distributed like those of real
// texts: skewed to the right, and correlated within a prompt. Their mean over all
// texts is 1.
func drawPrompts(random *rand.Rand, n int) [][]Score {
	prompts := make([][]Score, n)
	for i := range prompts {
		own := math.Exp(0.4*random.NormFloat64() - 0.08)
		prompts[i] = make([]Score, 20)
		for at := range prompts[i] {
			s := Unmeasured()
			s.KL = own * random.ExpFloat64()
			s.Top1 = random.Float64() < 0.9
			prompts[i][at] = s
		}
	}
	return prompts
}

// Of 400 intervals, each from different prompts, about 95 % contain the true mean.
func TestIntervalCoverage(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, prompts := range []int{8, 32} {
		kl, top1 := 0, 0
		const times = 400
		for i := range times {
			for _, in := range Bootstrap(drawPrompts(random, prompts), &Summary{
				KLMean: 1, Top1Agreement: 0.9, Top5Agreement: Unknown, PPL: Unknown, PPLReference: Unknown, PPLRatio: Unknown,
			}, uint64(i)) {
				switch {
				case in.Metric == "kl_mean" && in.Low <= 1 && 1 <= in.High:
					kl++
				case in.Metric == "top1_agreement" && in.Low <= 0.9 && 0.9 <= in.High:
					top1++
				}
			}
		}
		t.Logf("%d prompts: kl_mean %.1f%%, top1_agreement %.1f%%", prompts, 100*float64(kl)/times, 100*float64(top1)/times)
		for _, hits := range []int{kl, top1} {
			if share := float64(hits) / times; share < 0.9 || share > 0.99 {
				t.Errorf("%d prompts: %.1f%% of the intervals hold what they should", prompts, 100*share)
			}
		}
	}
}

func TestMeanInterval(t *testing.T) {
	if _, _, ok := MeanInterval([]float64{1}, 0, 1, 0); ok {
		t.Error("one item has an interval")
	}
	// None of 30 wrong: up to 11.6 % may be (Clopper and Pearson).
	if low, high, _ := MeanInterval(slices.Repeat([]float64{1}, 30), 0, 1, 0); math.Abs(low-0.8843) > 1e-4 || high != 1 {
		t.Errorf("all right: %v to %v", low, high)
	}
	if low, high, _ := MeanInterval(make([]float64, 30), -1, 1, 0); math.Abs(low+0.1157) > 1e-4 || low != -high {
		t.Errorf("no change: %v to %v", low, high)
	}
	if testing.Short() {
		return // how often it holds the truth is the same on every machine
	}
	random := rand.New(rand.NewPCG(1, 2))
	held := 0
	const times = 400
	for i := range times {
		x := make([]float64, 60)
		for k := range x {
			if random.Float64() < 0.7 {
				x[k] = 1
			}
		}
		if low, high, _ := MeanInterval(x, 0, 1, uint64(i)); low <= 0.7 && 0.7 <= high {
			held++
		}
	}
	if t.Logf("%d of %d intervals hold the truth", held, times); held < times*91/100 || held > times*98/100 {
		t.Errorf("%d of %d intervals hold the truth", held, times)
	}
}
