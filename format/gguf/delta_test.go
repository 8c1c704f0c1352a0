package gguf

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/format/formattest"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// deltaSpecs are the smallest models of the architectures with the delta rule or state spaces, of
// gemma4 and of gemma3n.
func deltaSpecs() map[string]model.Spec {
	of := fourBlocks
	delta := func(s *model.Spec) {
		s.Norm, s.QKNorm, s.AttnGate, s.Rope.Dims = model.NormRMS1, model.QKGain, true, 4
		s.Delta = model.Delta{KeyHeads: 2, ValueHeads: 6, KeyDim: 32, ValueDim: 32}
		rule := model.Attention{Delta: 3, Rope: model.NoRope}
		s.Attention = []model.Attention{rule, rule, rule, {}}
	}
	mixture := func(s *model.Spec) {
		s.Experts = model.Experts{Count: 4, Used: 2, FFN: 32, Normalized: true, Shared: 48, SharedGate: true}
	}
	return map[string]model.Spec{
		"qwen35":    of(delta),
		"qwen35moe": of(func(s *model.Spec) { delta(s); mixture(s) }),
		"qwen3next": of(func(s *model.Spec) {
			delta(s)
			mixture(s)
			s.Attention[1], s.Attention[3] = s.Attention[3], s.Attention[1] // not every fourth
		}),
		"granitehybrid": of(func(s *model.Spec) {
			scan := model.Attention{Scan: 3, Rope: model.NoRope}
			s.Attention = []model.Attention{scan, {Rope: model.NoRope}, scan, scan}
			s.Scan = model.Scan{Heads: 8, HeadDim: 16, State: 32, Groups: 2, ConvBias: true}
			s.EmbedScale, s.ResidScale, s.AttnScale, s.LogitScale = 12, 0.5, 0.125, 0.25
		}),
		"gemma4": of(func(s *model.Spec) {
			gemma4Graph(s)
			s.OutScale, s.LogitCap, s.Layer.Width, s.Tied = true, 30, 32, true
			s.Rope = model.Rope{Base: 1e6, Scaling: model.RopeFactors, Factors: slices.Repeat([]float64{1, model.MaxRopeFactor}, 6)}
			s.Ropes = []model.Rope{{Base: 1e4}}
			local, global := model.Attention{Window: 8, Rope: 1}, model.Attention{HeadDim: 24, KVHeads: 1}
			s.Attention = []model.Attention{local, global, local, global}
			s.Attention[2].Back, s.Attention[3].Back = 2, 2
			s.FFNs = []int{96, 96, 192, 192}
		}),
		"gemma3n": of(func(s *model.Spec) {
			gemma3nGraph(s)
			s.Tied, s.Sparsity, s.Ropes = true, slices.Repeat([]float64{0.95}, 4), []model.Rope{{Base: 1e4}}
			s.Attention = []model.Attention{{Window: 8, Rope: 1}, {}, {Window: 8, Rope: 1}, {}}
		}),
	}
}

// writtenAs returns a file of m in the named architecture.
func writtenAs(t testing.TB, name string, m *model.Model) []byte {
	t.Helper()
	a, _ := architectureNamed(name)
	w, err := a.writer(m, export.Options{}, m.Spec)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := w.write(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Each model is exported to its architecture and read back as the same computation, with the
// same matrices. The logarithm of the decay is rounded.
func TestDelta(t *testing.T) {
	for name, s := range deltaSpecs() {
		chosen, err := choose("tiny", &s)
		if err != nil || chosen.name != name && name != "qwen3next" {
			t.Errorf("%s is written as %+v, %v", name, chosen, err)
			continue
		}
		a, _ := architectureNamed(name)
		m := filled(t, s)
		got := opened(t, writtenAs(t, name, m))
		want := a.asGGUF(&s)
		if d := model.Differences(&want, &got.Spec); d != nil {
			t.Errorf("%s: %s is %q, want %q", name, d[0].Name, d[0].Value(&got.Spec, 0), d[0].Value(&want, 0))
			continue
		}
		plus1 := &writer{spec: s, asGGUF: want}
		for _, slot := range s.Slots() {
			a, b := values(got.Tensors[slot.Name]), values(m.Tensors[slot.Name])
			if e := plus1.editOf(slot.Name); !isDecay(slot.Kind()) {
				for i := range b {
					b[i] = e.of(b[i])
				}
			}
			for i := range b {
				if isDecay(slot.Kind()) && math.Abs(float64(a[i]-b[i])) < 3e-7 {
					a[i] = b[i]
				}
			}
			compare(t, name+" "+slot.Name, a, b)
		}
	}
}

// The tensors are where llama.cpp's loaders and graphs look for them.
func TestDeltaTensors(t *testing.T) {
	s := deltaSpecs()["qwen35"]
	m := filled(t, s)
	_, data := write(t, m)
	f := parse(t, data)
	row := func(name string, r int) []float32 {
		cols := m.Tensors[name].Cols
		return values(m.Tensors[name])[r*cols:][:cols]
	}
	tensor := func(name string, r, cols int) []float32 { return f.tensors[name].values()[r*cols:][:cols] }
	// Value head 1 of the file is the first one of the second key head: head 3 of the model.
	compare(t, "value head 1", tensor("blk.0.attn_qkv.weight", 128+32+5, 64), row("blocks.0.delta_in", 128+3*32+5))
	compare(t, "key head 1", tensor("blk.0.attn_qkv.weight", 64+32+5, 64), row("blocks.0.delta_in", 64+32+5))
	compare(t, "convolution", tensor("blk.0.ssm_conv1d.weight", 128+32+5, 3), row("blocks.0.delta_conv", 0)[3*(128+3*32+5):][:3])
	compare(t, "gate", tensor("blk.0.attn_gate.weight", 32+5, 64), row("blocks.0.delta_gate", 3*32+5))
	compare(t, "alpha", tensor("blk.0.ssm_alpha.weight", 1, 64), row("blocks.0.delta_a", 3))
	compare(t, "output", tensor("blk.0.ssm_out.weight", 7, 192)[32:64], row("blocks.0.delta_out", 7)[3*32:4*32])
	compare(t, "dt", f.tensors["blk.0.ssm_dt.bias"].values()[1:2], row("blocks.0.delta_dt", 0)[3:4])
	compare(t, "decay", f.tensors["blk.0.ssm_a"].values()[1:2], []float32{float32(-math.Exp(float64(row("blocks.0.delta_decay", 0)[3])))})
	// A head of queries, then its gates.
	compare(t, "queries of head 1", tensor("blk.3.attn_q.weight", 32+5, 64), row("blocks.3.q", 16+5))
	compare(t, "gates of head 1", tensor("blk.3.attn_q.weight", 48+5, 64), row("blocks.3.attn_gate", 16+5))
	for key, want := range map[string]any{
		"ssm.conv_kernel": uint32(3), "ssm.inner_size": uint32(192), "ssm.state_size": uint32(32), "ssm.time_step_rank": uint32(6), "ssm.group_count": uint32(2),
		"full_attention_interval": uint32(4), "rope.dimension_count": uint32(4),
	} {
		if got := f.keys["qwen35."+key]; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
}

// In files of qwen3next, each key head has the rows that make the rates of its value heads, then
// those of their decays, and value heads keep their order.
func TestQwen3NextTensors(t *testing.T) {
	s := deltaSpecs()["qwen3next"]
	m := filled(t, s)
	data := writtenAs(t, "qwen3next", m)
	ba := parse(t, data).tensors["blk.0.ssm_ba.weight"].values()
	b, a := values(m.Tensors["blocks.0.delta_b"]), values(m.Tensors["blocks.0.delta_a"])
	half := 3 * 64
	compare(t, "ssm_ba", ba, slices.Concat(b[:half], a[:half], b[half:], a[half:]))
	compare(t, "ssm_out", parse(t, data).tensors["blk.0.ssm_out.weight"].values(), values(m.Tensors["blocks.0.delta_out"]))
}

// Blocks of 32 columns move with their heads. Heads narrower than a block are refused by name.
func TestColumnsOfHeads(t *testing.T) {
	for _, scheme := range []qtensor.Scheme{{Kind: qtensor.Int, Bits: 4, Group: 32, Asym: true}, {Kind: qtensor.Int, Bits: 8, Group: 32}, {Kind: qtensor.BF16}} {
		m := filled(t, deltaSpecs()["qwen35"])
		name := "blocks.0.delta_out"
		m.Tensors[name] = formattest.Fill(scheme, 64, 192, 1)
		_, data := write(t, m)
		got := opened(t, data).Tensors[name]
		compare(t, fmt.Sprint(scheme), values(got), values(m.Tensors[name]))
		if native, ok := got.Scheme.Native(); !scheme.Float() && (!ok || native != scheme) {
			t.Errorf("%v came back as %v", scheme, got.Scheme)
		}
	}
	s := deltaSpecs()["qwen35"]
	s.Delta.KeyDim, s.Delta.ValueDim, s.Delta.KeyHeads, s.Delta.ValueHeads = 16, 16, 2, 4
	m := filled(t, s)
	m.Tensors["blocks.0.delta_out"] = formattest.Fill(qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32}, 64, 64, 1)
	want := "tiny: blocks.0.delta_out: GGUF has its heads, 16 columns each, in another order, and int4/g32/sym in blocks of 32 columns, which is not supported; quantize with --set 'blocks.*.delta_out=f16', which has no blocks"
	if _, err := newWriter(m, export.Options{}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// Files of other programs may lack keys, or divide the pairs in another way.
func TestDeltaKeysOfOthers(t *testing.T) {
	a, _ := architectureNamed("qwen35")
	s := deltaSpecs()["qwen35"]
	asGGUF := a.asGGUF(&s)
	has := func(name string) bool { return true }
	for want, change := range map[string]func(m *metadata){
		"":             func(m *metadata) { m.deltaBlocks = nil },
		"every fourth": func(m *metadata) { m.deltaBlocks, m.deltaPeriod = nil, nil },
		"sections":     func(m *metadata) { m.ropeSections = []int32{11, 11, 10, 0} },
		"qwen35.rope.dimension_sections: [1 0 0 1] for 2 pairs of rotated dimensions is not supported": func(m *metadata) { m.ropeSections = []int32{1, 0, 0, 1} },
		"qwen35.rope.dimension_sections: [] for 2 pairs of rotated dimensions is not supported":        func(m *metadata) { m.ropeSections = nil },
		"qwen35.ssm.inner_size: 96 in architecture qwen35 is not supported":                            func(m *metadata) { m.deltaInner = ptr(uint32(96)) },
		"qwen35.attention.recurrent_layers: 1 entries for 4 blocks is not supported":                   func(m *metadata) { m.deltaBlocks = []bool{true} },
		"qwen35.ssm.state_size: the key is missing":                                                    func(m *metadata) { m.deltaState = nil },
	} {
		m := a.describe(&asGGUF)
		change(m)
		got, err := a.spec(m, has)
		if err == nil {
			err = a.unused(m, &got)
		}
		if strings.Contains(want, ":") {
			if err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got.Attention, s.Attention) || got.Delta != s.Delta {
			t.Errorf("%s: %+v, %v", want, got, err)
		}
	}
}

// Checkpoints have keys and values that no block uses, and so may files.
func TestUnusedKeys(t *testing.T) {
	s := deltaSpecs()["gemma4"]
	if got, want := unusedKeys(&s), []string{"blk.2.attn_k.weight", "blk.2.attn_v.weight", "blk.2.attn_k_norm.weight", "blk.3.attn_k.weight", "blk.3.attn_v.weight", "blk.3.attn_k_norm.weight"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What llama.cpp's graphs compute differently is refused by name.
func TestDeltaNearMisses(t *testing.T) {
	for want, c := range map[string]struct {
		arch   string
		change func(s *model.Spec)
	}{
		"normeps in GGUF's architecture qwen35":             {"qwen35", func(s *model.Spec) { s.NormEps = 1e-5 }},
		"scan.minstep in GGUF's architecture granitehybri":  {"granitehybrid", func(s *model.Spec) { s.Scan.MinStep = 0.1 }},
		"scan.convbias in GGUF's architecture granitehyb":   {"granitehybrid", func(s *model.Spec) { s.Scan.ConvBias = false }},
		"scan.norm in GGUF's architecture granitehybrid":    {"granitehybrid", func(s *model.Spec) { s.Scan.Norm = model.ScanNormed }},
		"scales.scanout in GGUF's architecture granitehyb":  {"granitehybrid", func(s *model.Spec) { s.Scales.ScanOut = 2 }},
		"state space (Mamba2) with a convolution of 3 (3 o": {"granitehybrid", func(s *model.Spec) { s.Scan.HeadDim = 8 }},
		"delta.valuedim in GGUF's architecture qwen35":      {"qwen35", func(s *model.Spec) { s.Delta.ValueDim = 64 }},
		"layer.vocab in GGUF's architecture gemma4":         {"gemma4", func(s *model.Spec) { s.Layer.Vocab = 1000 }},
		"sparse gates (3 of 4 blocks) in GGUF's architec":   {"gemma3n", func(s *model.Spec) { s.Sparsity[3] = 0 }},
		"learned residual of rank 32 in GGUF's architect":   {"gemma3n", func(s *model.Spec) { s.Laurel = 32 }},
		"logits capped at 20 in GGUF's architecture gemm":   {"gemma3n", func(s *model.Spec) { s.LogitCap = 20 }},
		"keys and values of earlier blocks (2 of 4 block":   {"gemma3n", func(s *model.Spec) { s.Attention[2].Back, s.Attention[3].Back = 2, 2 }},
		"keys and values of earlier blocks (1 of 4 block":   {"gemma4", func(s *model.Spec) { s.Attention[2].Back = 0 }},
	} {
		s := deltaSpecs()[c.arch]
		c.change(&s)
		if _, err := choose("tiny", &s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Blocks that predict further tokens are left out, and a note says so. llama.cpp's converter
// writes them, and the gate of the shared expert as a matrix of one row.
func TestFilesOfLlamaCpp(t *testing.T) {
	m := filled(t, deltaSpecs()["qwen35moe"])
	_, data := write(t, m)
	d := draftOf(t, data)
	d.set("qwen35moe.block_count", 5)
	d.set("qwen35moe.nextn_predict_layers", 1)
	d.set("qwen35moe.attention.recurrent_layers", nil)
	for i := range d.tensors {
		if x := &d.tensors[i]; strings.HasSuffix(x.name, "ffn_gate_inp_shexp.weight") {
			x.dims = append(x.dims, 1)
		}
	}
	d.tensors = append(d.tensors, draftTensor{name: "blk.4.nextn.eh_proj.weight", dims: []uint64{32, 2}, data: make([]byte, 256)})
	got := opened(t, d.bytes())
	if got.Spec.Blocks != 4 || !slices.Contains(got.Notes, "1 block for the prediction of further tokens: left out") || len(got.Spec.Attention) != 4 {
		t.Errorf("%d blocks, %q", got.Spec.Blocks, got.Notes)
	}
	d.tensors[len(d.tensors)-1].name = "blk.5.nextn.eh_proj.weight"
	refusedFile(t, d.bytes(), "blk.5.nextn.eh_proj.weight: this tensor in architecture qwen35moe is not supported")
	d.set("qwen35moe.nextn_predict_layers", 5)
	refusedFile(t, d.bytes(), "qwen35moe.nextn_predict_layers: 5 of 5 blocks is not supported")
}
