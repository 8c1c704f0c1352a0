package model

import (
	"errors"
	"math"
	"strings"
	"testing"

	"thimble/internal/defect"
	"thimble/internal/qtensor"
)

func tiny() Spec {
	return Spec{
		Hidden: 8, Heads: 4, KVHeads: 2, HeadDim: 4, FFN: 12, Vocab: 20, Context: 64, Blocks: 2, Schedule: InOrder(2, 2),
		NormEps: 1e-5, Rope: Rope{Base: 10000}, BOS: -1, EOS: []int{2},
	}
}

func TestSpecCheck(t *testing.T) {
	good := tiny()
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, breakIt := range map[string]func(*Spec){
		"hidden is 0, want 1 to 1048576":                  func(s *Spec) { s.Hidden = 0 },
		"vocab is 99999999, want 1 to 4194304":            func(s *Spec) { s.Vocab = 99999999 },
		"4 heads are not divisible by 3 kv heads":         func(s *Spec) { s.KVHeads = 3 },
		"head dim 5 is odd, rotary embedding needs pairs": func(s *Spec) { s.HeadDim = 5 },
		"norm epsilon is -1, want 0 to 1":                 func(s *Spec) { s.NormEps = -1 },
		"bos id 20 is outside the vocabulary of 20":       func(s *Spec) { s.BOS = 20 },
		"eos id -1 is outside the vocabulary of 20":       func(s *Spec) { s.EOS = []int{-1} },
		"step 1 runs block 2, want at most 1":             func(s *Spec) { s.Schedule = []int{0, 2} },
		"schedule runs 1 of 2 blocks":                     func(s *Spec) { s.Schedule = []int{0, 0} },
		"steps is 0, want 1 to 4096":                      func(s *Spec) { s.Schedule = nil },
		"rope base is 0, want a positive number":          func(s *Spec) { s.Rope.Base = 0 },
		`rope: scaling "ntk" is not supported`:            func(s *Spec) { s.Rope.Scaling = "ntk" },
		"rope factor is 0, want a positive number":        func(s *Spec) { s.Rope.Scaling = RopeLinear },
		"rope frequency factors are 4 and 1, want 0 < low < high": func(s *Spec) {
			s.Rope = Rope{Base: 1e4, Scaling: RopeLlama3, Factor: 8, LowFreq: 4, HighFreq: 1, Original: 32}
		},
		"rope original length is 0, want 1 to 16777216": func(s *Spec) {
			s.Rope = Rope{Base: 1e4, Scaling: RopeLlama3, Factor: 8, LowFreq: 1, HighFreq: 4, Original: 0}
		},
		"attention is given for 1 of 2 blocks":                                   func(s *Spec) { s.Attention = []Attention{{}} },
		"window of block 1 is -1, want 0 to 16777216":                            func(s *Spec) { s.Attention = []Attention{{}, {Window: -1}} },
		`norm: "batch" is not supported`:                                         func(s *Spec) { s.Norm = "batch" },
		`qknorm: "gain" with norm "layer" is not supported`:                      func(s *Spec) { s.Norm, s.QKNorm = NormLayer, QKGain },
		`activation: "relu6" is not supported`:                                   func(s *Spec) { s.Activation = "relu6" },
		"rope rotates 3 dimensions, want an even number up to head dim 4":        func(s *Spec) { s.Rope.Dims = 3 },
		"rope rotates 6 dimensions, want an even number up to head dim 4":        func(s *Spec) { s.Rope.Dims = 6 },
		"postnorm: the combination with parallel is not supported":               func(s *Spec) { s.PostNorm, s.Parallel = true, true },
		"scales of embedding and attention are -1 and 0, want positive numbers":  func(s *Spec) { s.EmbedScale = -1 },
		"scales of embedding and attention are 0 and NaN, want positive numbers": func(s *Spec) { s.AttnScale = math.NaN() },
		"block 1 uses rope 1, want -1 to 0":                                      func(s *Spec) { s.Attention = []Attention{{}, {Rope: 1}} },
		"rope base is -1, want a positive number":                                func(s *Spec) { s.Ropes = []Rope{{Base: -1}} },
		"chunk of block 0 is -1, want 0 to 16777216":                             func(s *Spec) { s.Attention = []Attention{{Chunk: -1}, {}} },
		"1025 additional ropes, want at most 1024":                               func(s *Spec) { s.Ropes = make([]Rope, 1025) },
		`qknorm: "l1" is not supported`:                                          func(s *Spec) { s.QKNorm = "l1" },
		"1024 heads of 2048 are wider than 1048576":                              func(s *Spec) { s.Heads, s.KVHeads, s.HeadDim = 1024, 1, 2048 },
	} {
		s := tiny()
		breakIt(&s)
		if err := s.Check(); err == nil || err.Error() != want {
			t.Errorf("Check: %v, want %q", err, want)
		}
	}
}

func TestUnsupported(t *testing.T) {
	s := tiny()
	s.Rope.Scaling = "ntk"
	if err := s.Check(); !errors.Is(err, defect.ErrUnsupported) {
		t.Errorf("%v is not ErrUnsupported", err)
	}
}

func zeroModel(t *testing.T, s Spec) *Model {
	m := &Model{Path: "tiny", Spec: s, Tensors: map[string]*qtensor.Matrix{}}
	for _, slot := range s.Slots() {
		w, err := qtensor.New(qtensor.Scheme{Kind: qtensor.BF16}, slot.Rows, slot.Cols)
		if err != nil {
			t.Fatal(err)
		}
		m.Tensors[slot.Name] = w
	}
	return m
}

func TestModelCheck(t *testing.T) {
	s := tiny()
	s.Bias = Bias{QKV: true, O: true, FFN: true}
	if err := zeroModel(t, s).Check(); err != nil {
		t.Fatal(err)
	}
	for want, breakIt := range map[string]func(*Model){
		"tiny: blocks.1.down: tensor is missing, want shape (8, 12)":                 func(m *Model) { delete(m.Tensors, "blocks.1.down") },
		"tiny: blocks.0.q: shape is (8, 8), the config requires (16, 8)":             func(m *Model) { m.Tensors["blocks.0.q"] = m.Tensors["blocks.0.k"] },
		"tiny: blocks.2.q: unexpected tensor, the config does not require it":        func(m *Model) { m.Tensors["blocks.2.q"] = m.Tensors["blocks.0.q"] },
		"tiny: norm: bf16: codes take 3 bytes, shape (1, 8) needs 16":                func(m *Model) { m.Tensors["norm"].Codes = make([]byte, 3) },
		"tiny: norm: scheme is int8/row/sym, a vector is stored as f32, f16 or bf16": func(m *Model) { m.Tensors["norm"].Scheme = qtensor.Scheme{Kind: qtensor.Int, Bits: 8} },
	} {
		m := zeroModel(t, s)
		breakIt(m)
		var corrupt *defect.CorruptError
		if err := m.Check(); !errors.As(err, &corrupt) || err.Error() != want {
			t.Errorf("Check: %v, want %q", err, want)
		}
	}
}

// The blocks run an ungated feed-forward layer in parallel with attention and have
// every bias.
func TestSlotsOfParallelBlocks(t *testing.T) {
	s := tiny()
	s.Blocks, s.Schedule, s.Norm, s.Parallel, s.Ungated, s.Tied = 1, []int{0}, NormLayer, true, true, true
	s.Bias = Bias{QKV: true, O: true, FFN: true, Head: true}
	var names []string
	for _, slot := range s.Slots() {
		names = append(names, strings.TrimPrefix(slot.Name, "blocks.0."))
	}
	want := "embed attn_norm attn_norm.bias q q.bias k k.bias v v.bias o o.bias up up.bias down down.bias norm norm.bias head.bias"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("slots are %s, want %s", got, want)
	}
}

func TestTiedModelHasNoHead(t *testing.T) {
	s := tiny()
	untied := len(s.Slots())
	s.Tied = true
	if got := len(s.Slots()); got != untied-1 {
		t.Errorf("tied model has %d tensors, untied %d", got, untied)
	}
	m := zeroModel(t, s)
	if got := m.HeadName(); got != Embed {
		t.Errorf("HeadName of a tied model is %q, want %q", got, Embed)
	}
}

// Equal compares every field.
func TestEqual(t *testing.T) {
	s, same := tiny(), tiny()
	s.Attention, same.Attention = []Attention{{}, {Window: 3}}, []Attention{{}, {Window: 3}}
	if !s.Equal(&same) {
		t.Error("Equal is false for equal specs")
	}
	for i, change := range []func(*Spec){
		func(s *Spec) { s.Schedule = InOrder(2, 1) },
		func(s *Spec) { s.EOS = nil },
		func(s *Spec) { s.Attention[1].Window++ },
		func(s *Spec) { s.QKNorm = QKGain },
		func(s *Spec) { s.Bias.Head = true },
		func(s *Spec) { s.Ropes = []Rope{{Base: 5}} },
		func(s *Spec) { s.EmbedScale = 8 },
		func(s *Spec) { s.Parallel = true },
		func(s *Spec) { s.Rope.Dims = 2 },
	} {
		other := tiny()
		other.Attention = []Attention{{}, {Window: 3}}
		if change(&other); s.Equal(&other) {
			t.Errorf("Equal ignores change %d", i)
		}
	}
}

func TestFirst(t *testing.T) {
	for _, c := range []struct {
		a    Attention
		want []int // for positions 0, 1, ...
	}{
		{Attention{}, []int{0, 0, 0, 0, 0, 0, 0, 0}},
		{Attention{Window: 3}, []int{0, 0, 0, 1, 2, 3, 4, 5}},
		{Attention{Chunk: 3}, []int{0, 0, 0, 3, 3, 3, 6, 6}},
		{Attention{Window: 2, Chunk: 3}, []int{0, 0, 1, 3, 3, 4, 6, 6}},
	} {
		for pos, want := range c.want {
			if got := c.a.First(pos); got != want {
				t.Errorf("%+v: First(%d) = %d, want %d", c.a, pos, got, want)
			}
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"blocks.*.down", "blocks.7.down", true}, {"blocks.1?.q", "blocks.12.q", true}, {"blocks.1?.q", "blocks.1.q", false},
		{"blocks.*.q", "blocks.0.q.bias", false}, {"*", "embed", true}, {"*", "blocks.0.q", false}, {"blocks.[02].*", "blocks.2.gate", true},
	} {
		if got, err := Match(c.pattern, c.name); got != c.want || err != nil {
			t.Errorf("Match(%q, %q) = %v, %v, want %v", c.pattern, c.name, got, err, c.want)
		}
	}
	if _, err := Match("blocks.[.q", "embed"); err == nil {
		t.Error("Match accepts a malformed pattern")
	}
}

func TestSplitName(t *testing.T) {
	for _, kind := range []string{Q, AttnNorm, V + BiasSuffix} {
		if b, k, ok := SplitName(Name(17, kind)); b != 17 || k != kind || !ok {
			t.Errorf("%s is %s of block %d, %t", Name(17, kind), k, b, ok)
		}
	}
	for _, name := range []string{Embed, Norm, Head + BiasSuffix, "", "blocks", "blocks.", "blocks.3", "blocks.x.q", "blocks.-1.q", "blocks.+3.q", "blocks.03.q", "blocks.99999999999999999999.q"} {
		if b, k, ok := SplitName(name); ok {
			t.Errorf("%q is %q of block %d", name, k, b)
		}
	}
}
