package onnx

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/format/formattest"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

func integers(bits, group int, asym bool) qtensor.Scheme {
	return qtensor.Scheme{Kind: qtensor.Int, Bits: bits, Group: group, Asym: asym}
}

func TestExporter(t *testing.T) {
	formattest.RunExporter(t, formattest.ExporterTarget{
		Exporter: Exporter{},
		Schemes:  []qtensor.Scheme{{Kind: qtensor.BF16}, integers(4, 32, false), integers(8, 0, true)},
		Without:  integers(5, 32, false),
	})
}

// wide is the Spec of a small model of Llama's kind.
func wide() model.Spec {
	return model.Spec{
		Hidden: 64, Heads: 2, KVHeads: 1, HeadDim: 32, FFN: 128, Vocab: 7, Context: 32, Blocks: 2,
		Schedule: model.InOrder(2, 1), NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: 1, EOS: []int{2},
	}
}

// filled returns a model with Spec s whose matrices are stored in scheme.
func filled(t *testing.T, s model.Spec, scheme qtensor.Scheme) *model.Model {
	t.Helper()
	m := formattest.Model(t, scheme)
	m.Spec, m.Tensors = s, map[string]*qtensor.Matrix{}
	for i, slot := range s.Slots() {
		stored := scheme
		if slot.Role == model.Vector {
			stored = qtensor.Scheme{Kind: qtensor.F32}
		}
		m.Tensors[slot.Name] = formattest.Fill(stored, slot.Rows, slot.Cols, i)
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	return m
}

// exported writes m and returns the graph and the data file.
func exported(t *testing.T, m *model.Model) (graph, data []byte) {
	t.Helper()
	p, err := Exporter{}.Plan(m, export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "out")
	if err := p.Write(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	for i, file := range []string{GraphFile, DataFile} {
		b, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		*[]*[]byte{&graph, &data}[i] = b
	}
	return graph, data
}

// Every feature gives a graph whose values are computed before they are used, with the
// operators that compute the feature.
func TestFeatures(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *model.Spec)
		ops    string // in the graph of this model, and not in that of wide
	}{
		"tied":        {func(s *model.Spec) { s.Tied = true }, ""},
		"shared":      {func(s *model.Spec) { s.Schedule = model.InOrder(2, 2) }, ""},
		"biases":      {func(s *model.Spec) { s.Bias = model.Bias{QKV: true, O: true, FFN: true, Head: true} }, ""},
		"layer norm":  {func(s *model.Spec) { s.Norm = model.NormLayer }, "LayerNormalization"},
		"gain norm":   {func(s *model.Spec) { s.Norm = model.NormGain }, "LayerNormalization"},
		"post norm":   {func(s *model.Spec) { s.PostNorm, s.NoPreNorm = true, true }, ""},
		"parallel":    {func(s *model.Spec) { s.Parallel, s.Norm = true, model.NormLayer }, "LayerNormalization"},
		"two norms":   {func(s *model.Spec) { s.Parallel, s.TwoNorms = true, true }, ""},
		"ungated":     {func(s *model.Spec) { s.Ungated, s.Activation = true, model.ReLU2 }, "Relu"},
		"gelu":        {func(s *model.Spec) { s.Activation = model.GELUTanh }, "Gelu"},
		"head norm":   {func(s *model.Spec) { s.QKNorm = model.QKHead }, ""},
		"qwen3":       {func(s *model.Spec) { s.QKNorm = model.QKGain }, ""},
		"rotated":     {func(s *model.Spec) { s.QKNorm, s.QKRotated = model.QKGain, true }, "RotaryEmbedding"},
		"wide norm":   {func(s *model.Spec) { s.QKNorm = model.QKWide }, ""},
		"layer heads": {func(s *model.Spec) { s.QKNorm = model.QKLayer }, "LayerNormalization"},
		"partly":      {func(s *model.Spec) { s.Rope.Dims = 8 }, "RotaryEmbedding"},
		"positions": {func(s *model.Spec) {
			s.Positions, s.EmbedNorm = s.Context, true
			s.Attention = []model.Attention{{Rope: model.NoRope}, {Rope: model.NoRope}}
		}, ""},
		"scales": {func(s *model.Spec) {
			s.EmbedScale, s.ResidScale, s.LogitScale, s.LogitCap, s.AttnCap, s.AttnScale = 2, .5, 3, 30, 50, .25
		}, "Tanh"},
	} {
		t.Run(name, func(t *testing.T) {
			s := wide()
			c.change(&s)
			graph, data := exported(t, filled(t, s, integers(4, 32, true)))
			g := readGraph(t, graph, data)
			if n := 2 + 2*len(s.Schedule); len(g.inputs) < n || len(g.outputs) != n-1 {
				t.Errorf("inputs %v, outputs %v", g.inputs, g.outputs)
			}
			if c.ops != "" && !slices.ContainsFunc(g.nodes, func(n readNode) bool { return n.op == c.ops }) {
				t.Errorf("there is no %s", c.ops)
			}
			attend := g.find(t, "step.0.attention")
			if got := attend.attributes["scale"]; got != float32(s.ScoreScale()) {
				t.Errorf("scores are multiplied by %v", got)
			}
		})
	}
}

// A window shorter than the context, rotation of pairs and layers without rotation are
// attributes of attention.
func TestAttention(t *testing.T) {
	s := wide()
	s.Rope.Pairs, s.Attention = true, []model.Attention{{Window: 8}, {Window: 32, Rope: model.NoRope}}
	graph, data := exported(t, filled(t, s, qtensor.Scheme{Kind: qtensor.F32}))
	g := readGraph(t, graph, data)
	first, second := g.find(t, "step.0.attention"), g.find(t, "step.1.attention")
	for _, c := range []struct {
		node *readNode
		name string
		want any
	}{
		{first, "local_window_size", int64(8)}, {first, "do_rotary", int64(1)}, {first, "rotary_interleaved", int64(1)}, {first, "num_heads", int64(2)},
		{first, "kv_num_heads", int64(1)}, {second, "local_window_size", int64(-1)}, {second, "do_rotary", nil},
	} {
		if got := c.node.attributes[c.name]; got != c.want {
			t.Errorf("%s of %v is %v, want %v", c.name, c.node.outputs[0], got, c.want)
		}
	}
	cos := g.initializers[first.inputs[7]]
	at := func(position, i int) float64 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(cos.data[4*(position*16+i):])))
	}
	for _, p := range []struct{ position, i int }{{0, 0}, {1, 0}, {31, 3}, {17, 15}} {
		want := math.Cos(float64(p.position) * math.Pow(10000, -float64(p.i)/16))
		if math.Abs(at(p.position, p.i)-want) > 1e-5 {
			t.Errorf("the cosine of position %d, frequency %d is %v, want %v", p.position, p.i, at(p.position, p.i), want)
		}
	}
}

// What MatMulNBits makes of codes, scales and minimums is what the model stores.
func TestValues(t *testing.T) {
	for _, scheme := range []qtensor.Scheme{integers(4, 32, false), integers(8, 16, true), integers(2, 64, true), integers(8, 0, false), integers(4, 0, true)} {
		t.Run(scheme.String(), func(t *testing.T) {
			m := filled(t, wide(), scheme)
			graph, data := exported(t, m)
			g := readGraph(t, graph, data)
			for _, source := range []string{model.Name(0, model.Q), model.Name(1, model.Down), model.Head} {
				x := m.Tensors[source]
				var read qtensor.Reader
				want := make([]float32, x.Cols)
				for r := range x.Rows {
					read.Row(want, x, r)
					for c, w := range want {
						if got := weight(g, source, scheme, x.Cols, r, c); math.Abs(got-float64(w)) > 1e-6*math.Abs(got) {
							t.Fatalf("%s: row %d, column %d is %v, want %v", source, r, c, got, w)
						}
					}
				}
			}
			node := g.nodes[slices.IndexFunc(g.nodes, func(n readNode) bool { return n.op == "MatMulNBits" })]
			if node.attributes["bits"] != int64(scheme.Bits) || node.attributes["K"] != int64(64) || node.attributes["N"] != int64(64) {
				t.Errorf("attributes %v", node.attributes)
			}
		})
	}
}

// weight returns an element of the matrix source: the code in the bits that MatMulNBits reads,
// less half the range, times the scale, plus the offset.
func weight(g *readModel, source string, s qtensor.Scheme, cols, r, c int) float64 {
	half := func(name string, i int) float64 {
		return float64(qtensor.FromFloat16(binary.LittleEndian.Uint16(g.initializers[name].data[2*i:])))
	}
	codes := g.initializers[source+".codes"].data
	bit := (r*cols + c) * s.Bits
	zero := float64(int(1) << (s.Bits - 1))
	code := float64(codes[bit/8] >> (bit % 8) & byte(1<<s.Bits-1))
	group := r*s.Groups(cols) + c/s.Columns(cols)
	d := half(source+".scales.float16", group)
	v := (code - zero) * d
	if s.Asym {
		v += half(source+".mins.float16", group) + zero*d
	}
	return v
}

// A tied head reads the codes of the embedding.
func TestTied(t *testing.T) {
	s := wide()
	s.Tied = true
	graph, data := exported(t, filled(t, s, integers(8, 32, false)))
	g := readGraph(t, graph, data)
	rows, codes := g.initializers["embed.rows"], g.initializers["embed.codes"]
	if rows.offset < 0 || rows.offset != codes.offset || len(rows.data) != len(codes.data) {
		t.Errorf("the rows are at %d, the codes at %d", rows.offset, codes.offset)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *model.Spec)
		want   string
	}{
		"alibi":   {func(s *model.Spec) { s.Alibi = 8 }, "ALiBi in ONNX is not supported"},
		"laurel":  {func(s *model.Spec) { s.Laurel = 4 }, "learned residual of rank 4 in ONNX is not supported"},
		"gates":   {func(s *model.Spec) { s.Sparsity = []float64{0.5, 0} }, "sparse gates (1 of 2 blocks) in ONNX is not supported"},
		"chunk":   {func(s *model.Spec) { s.Attention = []model.Attention{{Chunk: 16}, {}} }, "with --context 16 the files"},
		"conv":    {func(s *model.Spec) { s.Attention = []model.Attention{{Conv: 3}, {}} }, "short convolution of 3 (1 of 2 blocks) in ONNX"},
		"experts": {func(s *model.Spec) { s.Experts = model.Experts{Count: 4, Used: 2, FFN: 32} }, "4 experts of width 32"},
		"temperature": {func(s *model.Spec) { s.Temperature = model.Temperature{Beta: .1, Length: 9, Shift: 1} },
			"attention temperature from position 8 in ONNX is not supported; with --context 8"},
		"heads": {func(s *model.Spec) { s.HeadDim = 12 }, "heads 12 wide in ONNX"},
	} {
		s := wide()
		c.change(&s)
		m := filled(t, s, qtensor.Scheme{Kind: qtensor.F32})
		if _, err := (Exporter{}).Plan(m, export.Options{}); !errors.Is(err, defect.ErrUnsupported) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		context, _, err := Exporter{}.Check(m)
		if usable := strings.Contains(c.want, "--context"); usable != (err == nil) || usable != (context > 0) {
			t.Errorf("%s: Check returns a context of %d and %v", name, context, err)
		}
		if context > 0 {
			if _, err := (Exporter{}).Plan(m, export.Options{Context: context}); err != nil {
				t.Errorf("%s, with the context that Check returns: %v", name, err)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	f16 := qtensor.Scheme{Kind: qtensor.F16}
	for _, c := range []struct {
		s    qtensor.Scheme
		cols int
		want qtensor.Scheme
	}{
		{integers(4, 32, false), 64, integers(4, 32, false)},
		{integers(2, 16, true), 64, integers(2, 16, true)},
		{integers(8, 0, true), 576, integers(8, 0, true)},    // blocks of 64
		{integers(4, 48, true), 96, integers(4, 48, true)},   // blocks of 16
		{integers(4, 24, false), 96, integers(4, 32, false)}, // a block would be 8
		{integers(3, 32, true), 64, integers(4, 32, true)},
		{integers(5, 32, true), 64, integers(8, 32, false)},
		{integers(6, 32, false), 80, integers(8, 16, false)},
		{integers(4, 64, false), 96, integers(4, 32, false)}, // the last group is short
		{integers(4, 32, false), 72, f16},
		{qtensor.Q6_K.Foreign(), 256, integers(8, 32, false)},
		{qtensor.Scheme{Kind: qtensor.BF16}, 7, qtensor.Scheme{Kind: qtensor.BF16}},
	} {
		if got := (Exporter{}).Nearest(c.s, c.cols, model.Linear); got != c.want {
			t.Errorf("the nearest to %v in %d columns is %v, want %v", c.s, c.cols, got, c.want)
		}
	}
}

// Matrices in the blocks of GGUF have the codes of their native schemes.
func TestForeign(t *testing.T) {
	m := filled(t, wide(), integers(4, 32, false))
	name := model.Name(0, model.Q)
	want, wantData := exported(t, m)
	x := m.Tensors[name]
	y := &qtensor.Matrix{Scheme: qtensor.Q4_0.Foreign(), Rows: x.Rows, Cols: x.Cols}
	var read qtensor.Reader
	for r := range x.Rows {
		codes, scales, _ := read.Codes(x, r)
		for g, d := range scales {
			y.Codes = qtensor.Q4_0.Append(y.Codes, codes[32*g:], d, 0)
		}
	}
	m.Tensors[name] = y
	got, gotData := exported(t, m)
	if !slices.Equal(got, want) || !slices.Equal(gotData, wantData) {
		t.Error("Q4_0 and int4/g32 give different files")
	}
}

// The same model gives the same bytes on every machine.
func TestGolden(t *testing.T) {
	s := wide()
	s.Tied = true
	h := sha256.New()
	for _, scheme := range []qtensor.Scheme{integers(4, 32, true), {Kind: qtensor.BF16}} {
		graph, data := exported(t, filled(t, s, scheme))
		h.Write(graph)
		h.Write(data)
	}
	if got, want := fmt.Sprintf("%x", h.Sum(nil)), "73461f636a0eca3f73e4feced1da27b70e1f7ec135448285bda6bb8ea6bdb09b"; got != want {
		t.Errorf("the files have the hash %s, want %s", got, want)
	}
}
