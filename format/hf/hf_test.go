package hf

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/format/export"
	"thimble/format/formattest"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

func TestSafetensors(t *testing.T) {
	formattest.RunExporter(t, formattest.ExporterTarget{
		Exporter: Exporter{&plain},
		Schemes:  []qtensor.Scheme{{Kind: qtensor.F32}, {Kind: qtensor.F16}},
	})
}

func TestMLX(t *testing.T) {
	formattest.RunExporter(t, formattest.ExporterTarget{
		Exporter: Exporter{&mlx},
		Schemes:  []qtensor.Scheme{{Kind: qtensor.Int, Bits: 3, Group: 32}, {Kind: qtensor.Int, Bits: 4, Group: 64, Asym: true}},
		Without:  qtensor.Scheme{Kind: qtensor.Int, Bits: 7, Group: 32},
	})
}

func TestCompressedTensors(t *testing.T) {
	formattest.RunExporter(t, formattest.ExporterTarget{
		Exporter: Exporter{&compressed},
		Schemes:  []qtensor.Scheme{{Kind: qtensor.BF16}},
		Without:  qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32, Asym: true},
	})
}

// written exports m and opens the folder as a checkpoint.
func written(t *testing.T, f *form, m *model.Model) (*model.Model, string) {
	t.Helper()
	p, err := Exporter{f}.Plan(m, export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out")
	if err := p.Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	got, err := convert.Open(path, convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { got.Close() })
	return got, path
}

// sameModel compares the Spec of an exported model, and every value to the bit, with the
// original.
func sameModel(t *testing.T, got, want *model.Model) {
	t.Helper()
	unrolled := want.Spec.Unrolled()
	for _, f := range model.Differences(&unrolled, &got.Spec) {
		t.Errorf("%s differs: %+v, want %+v", f.Name, got.Spec, unrolled)
	}
	if got.Spec.BOS != want.Spec.BOS || !slices.Equal(got.Spec.EOS, want.Spec.EOS) {
		t.Errorf("bos %d and eos %d, want %d and %d", got.Spec.BOS, got.Spec.EOS, want.Spec.BOS, want.Spec.EOS)
	}
	for _, slot := range unrolled.Slots() {
		x, y := want.Tensors[want.Spec.StoredName(slot.Name)], got.Tensors[slot.Name]
		var rx, ry qtensor.Reader
		a, b := make([]float32, slot.Cols), make([]float32, slot.Cols)
		for r := range slot.Rows {
			rx.Row(a, x, r)
			ry.Row(b, y, r)
			for i := range a {
				if math.Float32bits(a[i]) != math.Float32bits(b[i]) && (a[i] != 0 || b[i] != 0) {
					t.Fatalf("%s: row %d, column %d is %v, want %v", slot.Name, r, i, b[i], a[i])
				}
			}
		}
	}
}

// Every fixture that a model_type of the table computes comes back with the same Spec, and the
// type of its checkpoint.
func TestArchitectures(t *testing.T) {
	for name, modelType := range map[string]string{
		"llama-tied": "llama", "llama-biases": "llama", "llama-linear": "llama", "llama3-rope": "llama", "ragged": "llama",
		"mobilellm": "llama", "mobilellm-ls": "llama", "trained": "llama", "mistral": "mistral", "qwen2": "qwen2", "qwen3": "qwen3",
		"gemma3": "gemma3_text", "phi": "phi", "architectures/smollm3": "smollm3", "architectures/gemma": "gemma", "architectures/gemma2": "gemma2",
		"architectures/granite": "granite", "architectures/olmo2": "olmo2", "architectures/rope-yarn": "llama", "architectures/ministral": "qwen2",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, err := convert.Open(filepath.Join("../../fixtures", name), convert.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer want.Close()
			got, _ := written(t, &plain, want)
			if got.Provenance.Architecture != modelType && name != "architectures/ministral" {
				t.Errorf("written as %s, want %s", got.Provenance.Architecture, modelType)
			}
			sameModel(t, got, want)
		})
	}
}

// What no model_type computes is refused, with the feature's name.
func TestUnsupported(t *testing.T) {
	m := formattest.Model(t, qtensor.Scheme{Kind: qtensor.F32})
	m.Spec.QKNorm = model.QKBare
	_, err := Exporter{&plain}.Plan(m, export.Options{})
	if err == nil || !strings.Contains(err.Error(), "query and key norm bare in a model_type that safetensors writes (the closest is llama)") {
		t.Error(err)
	}
}

// integerModel returns a model whose layers have a scheme each, in turn.
func integerModel(t *testing.T, embed qtensor.Scheme, schemes ...qtensor.Scheme) *model.Model {
	t.Helper()
	m := formattest.Model(t, qtensor.Scheme{Kind: qtensor.BF16})
	i := 0
	for _, slot := range m.Spec.Slots() {
		switch slot.Role {
		case model.Linear:
			m.Tensors[slot.Name] = formattest.Fill(schemes[i%len(schemes)], slot.Rows, slot.Cols, i)
			i++
		case model.Embedding:
			m.Tensors[slot.Name] = formattest.Fill(embed, slot.Rows, slot.Cols, i)
		}
	}
	return m
}

// The codes and scales that the reader of MLX and of compressed-tensors finds are those of the
// model, and a symmetric scheme has the bias -2^(bits-1) times its scale.
func TestIntegersAreMoved(t *testing.T) {
	var affine []qtensor.Scheme
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		affine = append(affine, qtensor.Scheme{Kind: qtensor.Int, Bits: bits, Group: 32}, qtensor.Scheme{Kind: qtensor.Int, Bits: bits, Group: 64, Asym: true})
	}
	int4, int8 := qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32}, qtensor.Scheme{Kind: qtensor.Int, Bits: 8}
	uneven := int4
	uneven.Uneven = true
	for _, c := range []struct {
		form    *form
		embed   qtensor.Scheme
		schemes []qtensor.Scheme
	}{
		{&mlx, affine[0], affine},
		{&mlx, qtensor.Scheme{Kind: qtensor.F16}, affine[:1]},
		{&compressed, qtensor.Scheme{Kind: qtensor.BF16}, []qtensor.Scheme{int4}},
		{&compressed, qtensor.Scheme{Kind: qtensor.BF16}, []qtensor.Scheme{int4, int8}},
		{&mlx, uneven, []qtensor.Scheme{uneven}}, // as 8 bits, with the same values
		{&compressed, qtensor.Scheme{Kind: qtensor.BF16}, []qtensor.Scheme{uneven}},
	} {
		want := integerModel(t, c.embed, c.schemes...)
		got, _ := written(t, c.form, want)
		sameModel(t, got, want)
		for _, slot := range want.Spec.Slots() {
			x, y := want.Tensors[slot.Name], got.Tensors[slot.Name]
			if x.Scheme.Float() {
				continue
			}
			if y.Scheme.Kind != qtensor.Int || y.Scheme.Bits != x.Scheme.Even().Bits {
				t.Fatalf("%s: %s is read as %v, want %v", c.form.format.Name, slot.Name, y.Scheme, x.Scheme)
			}
			var rx, ry qtensor.Reader
			for r := range x.Rows {
				codes, scales, mins := rx.Codes(x, r)
				other, otherScales, otherMins := ry.Codes(y, r)
				if !slices.Equal(codes, other) || !slices.Equal(scales, otherScales) || x.Scheme.Asym && !slices.Equal(mins, otherMins) {
					t.Fatalf("%s: other integers in row %d of %s", c.form.format.Name, r, slot.Name)
				}
				for g, min := range otherMins {
					if exact := -float32(x.Scheme.Zero()) * qtensor.FromFloat16(scales[g]); !x.Scheme.Asym && y.Scheme.Asym && qtensor.FromFloat16(min) != exact {
						t.Fatalf("%s: the bias of group %d is %v, want %v", slot.Name, g, qtensor.FromFloat16(min), exact)
					}
				}
			}
		}
	}
}

// Weights of more than a shard are in several files, none larger than a shard unless one tensor
// is, with an index of all tensors; the entries of a matrix stay together. They read back.
func TestShards(t *testing.T) {
	want := integerModel(t, qtensor.Scheme{Kind: qtensor.BF16}, qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32})
	const size = 12000
	p, err := Exporter{&mlx}.Plan(want, export.Options{ShardSize: size})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out")
	if err := p.Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(path, indexFile))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Metadata map[string]int64  `json:"metadata"`
		Files    map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		t.Fatal(err)
	}
	total, in := int64(0), map[string]int64{} // bytes of tensors
	for _, x := range p.Tensors {
		total += x.Bytes
		in[index.Files[x.Name]] += x.Bytes
		for _, part := range []string{"scales", "biases"} {
			module := strings.TrimSuffix(x.Name, "weight")
			if !x.To.Float() && index.Files[module+part] != index.Files[x.Name] {
				t.Errorf("%s%s is in another file than its codes", module, part)
			}
		}
	}
	weights, _ := want.Size()
	if index.Metadata["total_size"] != total || index.Metadata["total_parameters"] != weights || len(in) < 3 || in[""] != 0 {
		t.Errorf("the index is %s, want %d bytes of %d weights", text, total, weights)
	}
	for name, bytes := range in {
		if !strings.HasSuffix(name, fmt.Sprintf("-of-%05d.safetensors", len(in))) || bytes > size && bytes != p.Tensors[0].Bytes {
			t.Errorf("%s has %d bytes of tensors, want at most %d", name, bytes, size)
		}
	}
	got, err := convert.Open(path, convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	sameModel(t, got, want)
}

// A scale whose bias is not a float16 number is an error that names the tensor.
func TestLargeScale(t *testing.T) {
	m := integerModel(t, qtensor.Scheme{Kind: qtensor.BF16}, qtensor.Scheme{Kind: qtensor.Int, Bits: 8, Group: 32})
	x := m.Tensors["blocks.1.o"]
	large, _ := qtensor.ToFloat16(600)
	le.PutUint16(x.Scales, large)
	p, err := Exporter{&mlx}.Plan(m, export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(t.Context(), filepath.Join(t.TempDir(), "out")); err == nil || !strings.Contains(err.Error(), "blocks.1.o: row 0: the scale 600 times 128") {
		t.Error(err)
	}
}

// Each width is in the config: the common one for all, the others by the names of modules.
func TestQuantizationConfig(t *testing.T) {
	int4, int8 := qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32}, qtensor.Scheme{Kind: qtensor.Int, Bits: 8, Group: 64}
	m := integerModel(t, qtensor.Scheme{Kind: qtensor.BF16}, int4, int4, int4, int4, int4, int4, int8)
	for _, c := range []struct {
		form *form
		want []string
	}{
		{&mlx, []string{`"bits":4,"group_size":32,"model.layers.0.mlp.down_proj":{"bits":8,"group_size":64},"model.layers.1.mlp.down_proj":{"bits":8,"group_size":64}`}},
		{&compressed, []string{`"ignore":["lm_head"]`, `"targets":["model.layers.0.mlp.down_proj","model.layers.1.mlp.down_proj"]`, `"strategy":"group"`, `"quant_method":"compressed-tensors"`}},
	} {
		_, path := written(t, c.form, m)
		text, err := os.ReadFile(filepath.Join(path, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		flat, _ := json.Marshal(v)
		for _, want := range c.want {
			if !strings.Contains(string(flat), want) {
				t.Errorf("%s: config.json is %s, want %s", c.form.format.Name, flat, want)
			}
		}
	}
	m = integerModel(t, qtensor.Scheme{Kind: qtensor.BF16}, int4, int8)
	p, err := Exporter{&compressed}.Plan(m, export.Options{})
	if err != nil || !strings.Contains(strings.Join(p.Notes, "\n"), "blocks.0.q is int4/g32/sym and blocks.0.k is int8/g64/sym") {
		t.Errorf("notes %q, error %v", p.Notes, err)
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		form *form
		from string
		cols int
		role model.Role
		want string
	}{
		{&mlx, "int4/g32", 96, model.Linear, "int4/g32/sym"},
		{&mlx, "int4/g64/asym", 96, model.Linear, "int4/g32/asym"},
		{&mlx, "int7/g128", 256, model.Embedding, "int8/g128/sym"},
		{&mlx, "int8/row", 576, model.Linear, "int8/g64/sym"},
		{&mlx, "int4/g16", 64, model.Linear, "int4/g32/sym"},
		{&mlx, "int4/g32", 72, model.Linear, "f16"},
		{&compressed, "int4/g128", 576, model.Linear, "int4/g64/sym"},
		{&compressed, "int3/g32/asym", 64, model.Linear, "int4/g32/sym"},
		{&compressed, "int6/row", 64, model.Linear, "int8/row/sym"},
		{&compressed, "int4/g16", 128, model.Linear, "int4/g32/sym"},
		{&compressed, "int4/g32", 72, model.Linear, "int4/row/sym"},
		{&compressed, "int8/g32", 64, model.Embedding, "f16"},
		{&compressed, "bf16", 64, model.Embedding, "bf16"},
		{&plain, "int3/g24", 72, model.Linear, "int3/g24/sym"},
	} {
		s, err := qtensor.ParseScheme(c.from)
		if err != nil {
			t.Fatal(err)
		}
		e := Exporter{c.form}
		if got := e.Nearest(s, c.cols, c.role); got.String() != c.want {
			t.Errorf("%s: nearest to %s in %d columns is %v, want %s", c.form.format.Name, c.from, c.cols, got, c.want)
		} else if again := e.Nearest(got, c.cols, c.role); again != got {
			t.Errorf("%s: nearest to %v is %v", c.form.format.Name, got, again)
		}
	}
}
