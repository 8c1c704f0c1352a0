package gguf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/format/formattest"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// specs are the smallest models of every architecture.
func specs() map[string]model.Spec {
	base := model.Spec{
		Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 16, FFN: 96, Vocab: 9, Context: 32, Blocks: 2, Schedule: []int{0, 1},
		NormEps: 1e-6, Rope: model.Rope{Base: 1e6}, BOS: 0, EOS: []int{1},
	}
	qwen2, qwen3, phi2, gemma3, llama4 := base, base, base, base, base
	qwen2.Bias.QKV, qwen2.Tied = true, true
	qwen2.Attention = []model.Attention{{}, {Window: 32}} // no longer than the context
	qwen3.QKNorm, qwen3.HeadDim = model.QKGain, 32
	phi2.Norm, phi2.Parallel, phi2.Ungated, phi2.Activation = model.NormLayer, true, true, model.GELUTanh
	phi2.Bias = model.Bias{QKV: true, O: true, FFN: true, Head: true}
	phi2.Rope.Dims = 6
	gemma3.Norm, gemma3.QKNorm, gemma3.PostNorm, gemma3.Activation = model.NormRMS1, model.QKGain, true, model.GELUTanh
	gemma3.EmbedScale, gemma3.AttnScale, gemma3.Tied, gemma3.HeadDim = 8, 0.5, true, 24
	gemma3.Rope.Scaling, gemma3.Rope.Factor, gemma3.Ropes = model.RopeLinear, 8, []model.Rope{{Base: 1e4}}
	gemma3.Blocks, gemma3.Schedule = 3, []int{0, 1, 2}
	gemma3.Attention = []model.Attention{{Window: 8, Rope: 1}, {}, {Window: 8, Rope: 1}}
	llama4.QKNorm, llama4.Rope.Pairs, llama4.Blocks, llama4.Schedule = model.QKBare, true, 4, []int{0, 1, 2, 3}
	llama4.Attention = []model.Attention{{}, {}, {}, {Rope: model.NoRope}}
	return map[string]model.Spec{"llama": base, "qwen2": qwen2, "qwen3": qwen3, "phi2": phi2, "gemma3": gemma3, "llama4": llama4}
}

// filled is a model with spec s and float32 matrices.
func filled(t testing.TB, s model.Spec) *model.Model {
	t.Helper()
	m := tiny(t, "f32")
	m.Spec, m.Tensors = s, map[string]*qtensor.Matrix{}
	for i, slot := range s.Slots() {
		m.Tensors[slot.Name] = formattest.Fill(qtensor.Scheme{Kind: qtensor.F32}, slot.Rows, slot.Cols, i)
	}
	return m
}

// What each architecture's loader in llama.cpp reads, and the hash of the file,
// which is the same on every machine.
var written = map[string]struct {
	sum     string
	keys    map[string]any
	tensors []string // of the last block, and outside the blocks
}{
	"llama": {"a92bdb98baac7de3fdd8f3f5200f85b885ebd653d59683d2e169a5a7f5947e19", map[string]any{"llama.attention.layer_norm_rms_epsilon": float32(1e-6), "llama.attention.key_length": uint32(16)},
		[]string{"attn_norm.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight", "ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight",
			"token_embd.weight", "output_norm.weight", "output.weight"}},
	"qwen2": {"bc468f85b69de006eba192e7971f05f5b12e19916f798687d1d785c80d2f25e2", map[string]any{"qwen2.attention.layer_norm_rms_epsilon": float32(1e-6), "qwen2.rope.dimension_count": uint32(16), "qwen2.attention.key_length": nil, "qwen2.attention.sliding_window": nil},
		[]string{"attn_norm.weight", "attn_q.weight", "attn_q.bias", "attn_k.weight", "attn_k.bias", "attn_v.weight", "attn_v.bias", "attn_output.weight",
			"ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight", "token_embd.weight", "output_norm.weight"}},
	"qwen3": {"5ab2db5716dfb8ad720215085cc254c1761d10b318b4a12cfafad8062ac093a2", map[string]any{"qwen3.attention.key_length": uint32(32), "qwen3.attention.value_length": uint32(32), "qwen3.rope.dimension_count": uint32(32)},
		[]string{"attn_norm.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_q_norm.weight", "attn_k_norm.weight", "attn_output.weight",
			"ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight", "token_embd.weight", "output_norm.weight", "output.weight"}},
	"phi2": {"9102fb579d0eaacdf94edc838feec761958e7835a8e86a302bb87c6815958e39", map[string]any{"phi2.attention.layer_norm_epsilon": float32(1e-6), "phi2.attention.layer_norm_rms_epsilon": nil, "phi2.rope.dimension_count": uint32(6)},
		[]string{"attn_norm.weight", "attn_norm.bias", "attn_q.weight", "attn_q.bias", "attn_k.weight", "attn_k.bias", "attn_v.weight", "attn_v.bias", "attn_output.weight", "attn_output.bias",
			"ffn_up.weight", "ffn_up.bias", "ffn_down.weight", "ffn_down.bias", "token_embd.weight", "output_norm.weight", "output_norm.bias", "output.weight", "output.bias"}},
	"gemma3": {"73f4ba5b121c4094896d63debc0bb4884a95a9d8eeb39a96fd2391af04b398bd", map[string]any{"gemma3.attention.sliding_window": uint32(8), "gemma3.attention.sliding_window_pattern": uint32(2), "gemma3.rope.freq_base": float32(1e6),
		"gemma3.rope.freq_base_swa": float32(1e4), "gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": float32(8), "gemma3.attention.key_length": uint32(24)},
		[]string{"attn_norm.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_q_norm.weight", "attn_k_norm.weight", "attn_output.weight", "post_attention_norm.weight",
			"ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight", "post_ffw_norm.weight", "token_embd.weight", "output_norm.weight"}},
	"llama4": {"01823380b33e847bd1cfb71f41d1f2b4e3d8019ed90bc3c6772d4defffa4959c", map[string]any{"llama4.expert_count": uint32(1), "llama4.expert_used_count": uint32(1), "llama4.interleave_moe_layer_step": uint32(0),
		"llama4.expert_feed_forward_length": uint32(96), "llama4.attention.sliding_window": nil},
		[]string{"attn_norm.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight", "ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight",
			"token_embd.weight", "output_norm.weight", "output.weight"}},
}

func TestArchitectures(t *testing.T) {
	for name, s := range specs() {
		want := written[name]
		_, data := write(t, filled(t, s))
		f := parse(t, data)
		if f.keys["general.architecture"] != name || f.keys[name+".block_count"] != uint32(s.Blocks) {
			t.Errorf("%s: architecture is %v", name, f.keys["general.architecture"])
		}
		for key, value := range want.keys {
			if got := f.keys[key]; got != value {
				t.Errorf("%s is %v, want %v", key, got, value)
			}
		}
		inside := 0
		for _, tensor := range want.tensors {
			if !strings.HasPrefix(tensor, "output") && !strings.HasPrefix(tensor, "token") {
				tensor = fmt.Sprintf("blk.%d.%s", s.Blocks-1, tensor)
				inside++
			}
			if _, ok := f.tensors[tensor]; !ok {
				t.Errorf("%s: there is no %s", name, tensor)
			}
		}
		if n := len(want.tensors) + (s.Blocks-1)*inside; len(f.tensors) != n {
			t.Errorf("%s: %d tensors, want %d", name, len(f.tensors), n)
		}
		if _, again := write(t, filled(t, s)); !bytes.Equal(data, again) {
			t.Errorf("%s: two runs differ", name)
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(data)); sum != want.sum {
			t.Errorf("%s: SHA-256 is %s, want %s", name, sum, want.sum)
		}
	}
}

// Rows are interleaved if llama.cpp rotates pairs and the model does not.
func TestInterleavedRows(t *testing.T) {
	for name, s := range specs() {
		for _, pairs := range []bool{false, true} {
			if s.Rope.Pairs = pairs; pairs && name != "llama" && name != "llama4" {
				continue // refused
			}
			m := filled(t, s)
			_, data := write(t, m)
			head := 0
			if (name == "llama" || name == "llama4") && !pairs {
				head = s.HeadDim
			}
			compare(t, name, parse(t, data).tensors["blk.1.attn_k.weight"].values(), interleavedRows(m.Tensors["blocks.1.k"], head))
		}
	}
}

// Gemma's gains have 1 added, and those of queries are multiplied by the scale of
// scores, 0.5, over that of llama.cpp's graph, the root of 1/24. Nothing else changes.
func TestGemmaValues(t *testing.T) {
	m := filled(t, specs()["gemma3"])
	_, data := write(t, m)
	f := parse(t, data)
	for source, name := range map[string]string{
		"blocks.1.attn_norm": "blk.1.attn_norm.weight", "blocks.1.attn_post": "blk.1.post_attention_norm.weight", "blocks.1.ffn_norm": "blk.1.ffn_norm.weight",
		"blocks.1.ffn_post": "blk.1.post_ffw_norm.weight", "blocks.1.k_norm": "blk.1.attn_k_norm.weight", "norm": "output_norm.weight", "blocks.1.q_norm": "blk.1.attn_q_norm.weight",
	} {
		want := interleavedRows(m.Tensors[source], 0)
		for i := range want {
			if want[i]++; source == "blocks.1.q_norm" {
				want[i] *= float32(0.5 * math.Sqrt(24))
			}
		}
		compare(t, name, f.tensors[name].values(), want)
	}
	compare(t, "v", f.tensors["blk.1.attn_v.weight"].values(), interleavedRows(m.Tensors["blocks.1.v"], 0))
}

// Every architecture and every name of a tensor is read back as it was written.
func TestBothDirections(t *testing.T) {
	for name, s := range specs() {
		a, err := choose("tiny", &s)
		if err != nil || a.name != name {
			t.Fatalf("%s: chose %v, %v", name, a, err)
		}
		asGGUF := a.asGGUF(&s)
		tensors := map[string]bool{}
		for _, slot := range asGGUF.Slots() {
			where, ok := a.place(&asGGUF, slot)
			if !ok {
				t.Errorf("%s: %s has no place", name, slot.Name)
			}
			tensors[where.name] = true
		}
		back, err := a.spec(a.describe(&asGGUF), func(name string) bool { return tensors[name] })
		if err != nil {
			t.Fatal(err)
		}
		back.BOS, back.EOS = asGGUF.BOS, asGGUF.EOS
		if name == "gemma3" && (back.NormEps != 1e-6 || !reflect.DeepEqual(back.Ropes, s.Ropes) || !reflect.DeepEqual(back.Attention, s.Attention)) {
			t.Errorf("gemma3 came back as %+v", back)
		}
		if diff := model.Differences(&asGGUF, &back); len(diff) > 0 || back.Check() != nil {
			t.Errorf("%s: %v came back different; %v", name, diff, back.Check())
		}
	}
}

// Keys are read that we do not write ourselves.
func TestKeysOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		arch   string
		change func(m *metadata)
		want   func(s *model.Spec) bool
	}{
		"defaults": {"llama", func(m *metadata) {
			m.kvHeads, m.keyLength, m.valueLength, m.ropeDims, m.ropeBase, m.vocab = nil, nil, nil, nil, nil, nil
			m.tokens = make([]string, 9)
		}, func(s *model.Spec) bool {
			return s.KVHeads == 4 && s.HeadDim == 16 && reflect.DeepEqual(s.Rope, model.Rope{Base: 10000}) && s.Vocab == 9
		}},
		"pattern": {"gemma3", func(m *metadata) { m.windowPeriod, m.localBase = nil, nil }, func(s *model.Spec) bool {
			return s.AttentionOf(1).Window == 8 && s.AttentionOf(2).Rope == 1 && s.Ropes[0].Base == 10000
		}},
		"flags": {"gemma3", func(m *metadata) { m.windowPeriod, m.windowPattern = nil, []bool{false, false, true} }, func(s *model.Spec) bool {
			return s.AttentionOf(0).Window == 0 && s.AttentionOf(2).Window == 8
		}},
		"no window": {"gemma3", func(m *metadata) { m.window = ptr(uint32(0)) }, func(s *model.Spec) bool { return s.Attention == nil && s.Ropes == nil }},
	} {
		a, _ := architectureNamed(c.arch)
		s := specs()[c.arch]
		asGGUF := a.asGGUF(&s)
		m := a.describe(&asGGUF)
		c.change(m)
		if got, err := a.spec(m, func(string) bool { return true }); err != nil || !c.want(&got) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for want, change := range map[string]func(m *metadata){
		"gemma3.block_count: the key is missing":                                      func(m *metadata) { m.blocks = nil },
		"gemma3.attention.value_length: 8 with keys of 24 is not supported":           func(m *metadata) { m.valueLength = ptr(uint32(8)) },
		`gemma3.rope.scaling.type: "longrope" is not supported`:                       func(m *metadata) { m.ropeScaling = "longrope" },
		"gemma3.attention.sliding_window_pattern: 1 entries for 3 blocks is not supp": func(m *metadata) { m.windowPattern = []bool{true} },
		"gemma3.attention.layer_norm_rms_epsilon: the key is missing":                 func(m *metadata) { m.eps = nil },
	} {
		a, _ := architectureNamed("gemma3")
		s := specs()["gemma3"]
		asGGUF := a.asGGUF(&s)
		m := a.describe(&asGGUF)
		change(m)
		if _, err := a.spec(m, func(string) bool { return true }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A model that llama.cpp almost computes is refused, and the error names the difference.
func TestNearMisses(t *testing.T) {
	for want, c := range map[string]struct {
		arch   string
		change func(s *model.Spec)
	}{
		"attention window of 8 (1 of 2 blocks) in GGUF's architecture qwen2 is not supported; with --context 8 the file": {"qwen2", func(s *model.Spec) { s.Attention[1].Window = 8 }},
		"attention in chunks of 8 (1 of 4 blocks) in GGUF's architecture llama4 is not supported; with --context 8":      {"llama4", func(s *model.Spec) { s.Attention[0].Chunk = 8 }},
		"no rotary embedding (2 of 4 blocks) in GGUF's architecture llama4 is not supported":                             {"llama4", func(s *model.Spec) { s.Attention[1].Rope = model.NoRope }},
		"context in GGUF's architecture llama4 is not supported; with --context 8191":                                    {"llama4", func(s *model.Spec) { s.Context = 8192 }},
		"embedscale in GGUF's architecture gemma3":                                                                       {"gemma3", func(s *model.Spec) { s.EmbedScale = 7 }},
		"activation in GGUF's architecture gemma3":                                                                       {"gemma3", func(s *model.Spec) { s.Activation = model.SiLU }},
		"rope.scaling in GGUF's architecture gemma3":                                                                     {"gemma3", func(s *model.Spec) { s.Ropes[0].Scaling, s.Ropes[0].Factor = model.RopeLinear, 2 }},
		"rope.dims in GGUF's architecture qwen3":                                                                         {"qwen3", func(s *model.Spec) { s.Rope.Dims = 8 }},
		"rope.pairs in GGUF's architecture phi2":                                                                         {"phi2", func(s *model.Spec) { s.Rope.Pairs = true }},
		"headdim in GGUF's architecture phi2":                                                                            {"phi2", func(s *model.Spec) { s.HeadDim = 32 }},
		"attnscale in GGUF's architecture phi2":                                                                          {"phi2", func(s *model.Spec) { s.AttnScale = 1 }},
		"tied in GGUF's architecture phi2":                                                                               {"phi2", func(s *model.Spec) { s.Tied = true }},
		"bias.head in GGUF's architecture phi2":                                                                          {"phi2", func(s *model.Spec) { s.Bias.Head = false }},
		"rope.scaling in GGUF's architecture phi2": {"phi2", func(s *model.Spec) {
			s.Rope.Scaling, s.Rope.Factor, s.Rope.LowFreq, s.Rope.HighFreq, s.Rope.Original = model.RopeLlama3, 8, 1, 4, 16
		}},
		"513 steps in GGUF (want at most 512) is not supported": {"llama", func(s *model.Spec) { s.Schedule = make([]int, 513); s.Blocks = 1 }},
	} {
		s := specs()[c.arch]
		c.change(&s)
		if _, err := choose("tiny", &s); !errors.Is(err, defect.ErrUnsupported) || !strings.HasPrefix(err.Error(), "tiny: "+want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Gemma 3 27B, of 62 blocks, divides scores by another root in llama.cpp.
func TestGemma27(t *testing.T) {
	s := specs()["gemma3"]
	s.Hidden, s.Heads, s.KVHeads, s.HeadDim, s.EmbedScale = 5376, 32, 16, 128, math.Sqrt(5376)
	s.Blocks, s.Schedule, s.Attention, s.Ropes = 62, model.InOrder(62, 1), nil, nil
	s.AttnScale = 1 / math.Sqrt(168)
	a, err := choose("tiny", &s)
	if err != nil {
		t.Fatal(err)
	}
	e := &writer{arch: a, spec: s, asGGUF: a.asGGUF(&s)}
	if x := e.editOf("blocks.0.q_norm"); x.times != 1 {
		t.Errorf("the gains of queries are multiplied by %v", x.times)
	}
}

// A shorter context is written, is noted, and removes windows.
func TestContext(t *testing.T) {
	s := specs()["llama"]
	s.Attention = []model.Attention{{Window: 8}, {Window: 8}}
	m := filled(t, s)
	w, err := newWriter(m, export.Options{Context: 8})
	if err != nil {
		t.Fatal(err)
	}
	if w.asGGUF.Context != 8 || !strings.Contains(strings.Join(w.notes, "\n"), "texts of up to 8 tokens, the model 32") {
		t.Errorf("context is %d, notes are %q", w.asGGUF.Context, w.notes)
	}
	for _, n := range []int{9, 33, -1} {
		if _, err := exporter.Plan(m, export.Options{Context: n}); err == nil {
			t.Errorf("a context of %d passed", n)
		}
	}
}

// Requantize is called for the tensor without a type, with the nearest scheme that
// has one, and its result is written as it is.
func TestRequantize(t *testing.T) {
	m := tiny(t, "int8/g32")
	odd := qtensor.Scheme{Kind: qtensor.Int, Bits: 3, Group: 64, Asym: true}
	m.Tensors["blocks.1.q"] = formattest.Fill(odd, 64, 64, 1)
	again := formattest.Fill(qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32, Asym: true}, 64, 64, 2)
	asked := []string{}
	e, err := exporter.Plan(m, export.Options{Requantize: func(_ context.Context, source string, to qtensor.Scheme) (*qtensor.Matrix, error) {
		asked = append(asked, fmt.Sprint(source, " ", to))
		return again, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	if err := e.Write(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"blocks.1.q int4/g32/asym"}; !slices.Equal(asked, want) || !strings.Contains(strings.Join(e.Notes, "\n"), "int3/g64/asym is rounded again to Q4_1 in 1 of") {
		t.Errorf("asked for %q, notes are %q", asked, e.Notes)
	}
	compare(t, "q", parse(t, data).tensors["blk.2.attn_q.weight"].values(), interleavedRows(again, 16))
}

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		from string
		cols int
		want string
		typ  string
	}{
		{"int2/row", 64, "int4/g32/sym", "Q4_0"}, {"int4/g32/asym", 64, "int4/g32/asym", "Q4_1"}, {"int4/g64/asym", 64, "int4/g32/asym", "Q4_1"},
		{"int4/g32/nl", 64, "int4/g32/nl", "IQ4_NL"}, {"int4/g64/nl", 64, "int4/g32/nl", "IQ4_NL"},
		{"int6/g16/s4", 256, "int6/g16/s4", "Q6_K"}, {"int6/g16/s4", 64, "int8/g32/sym", "Q8_0"},
		{"int5/g64", 64, "int5/g32/sym", "Q5_0"}, {"int5/row/asym", 64, "int5/g32/asym", "Q5_1"}, {"int6/g32", 64, "int8/g32/sym", "Q8_0"},
		{"int8/g32/asym", 64, "int8/g32/sym", "Q8_0"}, {"int4/g32", 72, "f16", "F16"}, {"bf16", 72, "bf16", "BF16"}, {"f32", 64, "f32", "F32"},
	} {
		s, err := qtensor.ParseScheme(c.from)
		if err != nil {
			t.Fatal(err)
		}
		got := exporter.Nearest(s, c.cols, model.Linear)
		if typ, _ := exporter.Kernel(got, 4); got.String() != c.want || typ != c.typ {
			t.Errorf("%s of %d columns is nearest to %v (%s), want %s (%s)", c.from, c.cols, got, typ, c.want, c.typ)
		}
	}
	q8, _ := qtensor.ParseScheme("int8/g32")
	if _, fast := exporter.Kernel(q8, 8); !fast {
		t.Error("8 rows of Q8_0 are slow")
	}
	if _, fast := exporter.Kernel(q8, 6); fast {
		t.Error("6 rows of Q8_0 are fast")
	}
}

// Check finds what would stop the export, or what it will ask for, before any work.
func TestCheck(t *testing.T) {
	if context, notes, err := exporter.Check(filled(t, specs()["phi2"])); err != nil || context != 0 || len(notes) > 0 {
		t.Errorf("context %d, %q, %v", context, notes, err)
	}
	s := specs()["llama"]
	s.Attention = []model.Attention{{Window: 8}, {}}
	if context, notes, err := exporter.Check(filled(t, s)); err != nil || context != 8 || len(notes) != 1 || !strings.Contains(notes[0], "--context 8") {
		t.Errorf("context %d, %q, %v", context, notes, err)
	}
	s = specs()["phi2"]
	s.Tied = true
	if _, _, err := exporter.Check(filled(t, s)); !errors.Is(err, defect.ErrUnsupported) {
		t.Errorf("error is %v", err)
	}
	m := filled(t, specs()["llama"])
	d, _ := m.Tokenizer()
	d.Suffix = []uint32{0}
	if _, _, err := exporter.Check(m); !errors.Is(err, defect.ErrUnsupported) {
		t.Errorf("error is %v", err)
	}
}
