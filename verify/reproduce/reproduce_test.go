package reproduce

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
)

// tiny returns a model whose tensors are zero.
func tiny(t *testing.T) *model.Model {
	t.Helper()
	m := &model.Model{
		Spec:      model.Spec{Hidden: 8, Heads: 1, KVHeads: 1, HeadDim: 8, FFN: 8, Vocab: 4, Context: 8, Blocks: 1, Schedule: []int{0}, NormEps: 1e-5, Tied: true, EOS: []int{1}, Rope: model.Rope{Base: 1e4}},
		Tensors:   map[string]*qtensor.Matrix{},
		Tokenizer: func() (*tokenizer.Data, error) { return nil, nil },
	}
	for _, s := range m.Spec.Slots() {
		x, err := qtensor.New(qtensor.Scheme{Kind: qtensor.F32}, s.Rows, s.Cols)
		if err != nil {
			t.Fatal(err)
		}
		m.Tensors[s.Name] = x
	}
	m.Provenance = model.Provenance{Architecture: "llama", Tool: "thimble 1", Recipe: "scheme: f32\n", Sources: []model.Source{{Name: "a\n", Bytes: 3, SHA256: make([]byte, 32)}}}
	return m
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name      string
		change    func(m *model.Model)
		first     string
		different int
		shows     []string
	}{
		{"nothing", func(*model.Model) {}, "", 0, []string{"identical: made from from again, all 11 tensors"}},
		{"the record", func(m *model.Model) { m.Provenance.Tool = "thimble 2" }, "", 0, []string{"identical", "  tool: was thimble 1, is thimble 2\n"}},
		{"two tensors", func(m *model.Model) { m.Tensors["norm"].Codes[3], m.Tensors["blocks.0.q"].Codes[0] = 1, 1 }, "blocks.0.q", 2,
			[]string{"different: made from from again, 2 of 11 tensors", "first     blocks.0.q", "none known"}},
		{"a missing tensor", func(m *model.Model) { delete(m.Tensors, "norm") }, "norm", 1, []string{"made now  absent"}},
		{"another source", func(m *model.Model) { m.Provenance.Sources[0].Bytes, m.Tensors["norm"].Codes[0] = 4, 1 }, "norm", 1,
			[]string{`"a\n" is another file: it had 3 bytes, 0000000000000000, and`}},
		{"other names", func(m *model.Model) { m.Provenance.Sources[0].Name, m.Tensors["norm"].Codes[0] = "b", 1 }, "norm", 1,
			[]string{"b is a source now", `"a\n" was a source`}},
		{"the version", func(m *model.Model) { m.Provenance.Tool, m.Tensors["norm"].Codes[0] = "thimble 2", 1 }, "norm", 1,
			[]string{"thimble 1 made the model, and this is thimble 2"}},
		{"the recipe", func(m *model.Model) { m.Provenance.Recipe, m.Tensors["norm"].Codes[0] = "scheme: f16\n", 1 }, "norm", 1,
			[]string{"recipe: was scheme: f32, is scheme: f16"}},
		{"the spec", func(m *model.Model) { m.Spec.NormEps = 1e-6 }, "", 0, []string{"different", "normeps: was 0.00001, is 0.000001"}},
		{"the sampling", func(m *model.Model) { m.Generation.TopK = 5 }, "", 0, []string{"different", "generation: was the most likely token, is top_k 5"}},
	} {
		made := tiny(t)
		c.change(made)
		var steps atomic.Int64
		r, err := Compare(t.Context(), tiny(t), made, func(done, total int64) { steps.Add(1) })
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		r.Model, r.From, r.Recorded, r.Made = "model", "from", "1", "2"
		text := strings.Join(strings.Fields(Text(r)), " ")
		for _, want := range c.shows {
			if !strings.Contains(text, strings.Join(strings.Fields(want), " ")) {
				t.Errorf("%s: no %q in\n%s", c.name, want, Text(r))
			}
		}
		first := ""
		if r.First != nil {
			first = r.First.Name
		}
		if first != c.first || r.Different != c.different || r.Tensors != 11 || steps.Load() != 11 || r.Identical != (c.shows[0][:9] == "identical") {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// rows is a source of the rows of codes.
type rows struct{ codes []byte }

func (s rows) Row(dst []byte, r int) { copy(dst, s.codes[r*len(dst):]) }
func (s rows) Release()              {}

// The digest is that of docs/FORMAT.md, also of a tensor that a file stores in another order.
func TestStoredOf(t *testing.T) {
	s, err := qtensor.ParseScheme("int4/g8/asym")
	if err != nil {
		t.Fatal(err)
	}
	m, err := qtensor.New(s, 2, 8)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for i, plane := range m.Planes() {
		for j := range plane {
			plane[j] = byte(16*i + j)
		}
		all = append(all, plane...)
	}
	want := Stored{"int4/g8/asym", fmt.Sprintf("%x", sha256.Sum256(all))}
	if got := storedOf(m); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	m.Source, m.Codes = rows{m.Codes}, nil
	m.Scales, m.Mins = nil, nil
	codes := fmt.Sprintf("%x", sha256.Sum256(all[:8]))
	if got := storedOf(m); got.SHA256 != codes {
		t.Errorf("%+v, want %s", got, codes)
	}
}

func TestSteps(t *testing.T) {
	sources := func(names ...string) (all []model.Source) {
		for _, name := range names {
			all = append(all, model.Source{Name: name})
		}
		return all
	}
	for _, c := range []struct {
		before, all []string
		sources     []model.Source
		known       int
		copied      bool
		want        string
	}{
		{nil, []string{"a"}, sources("w", "c"), 2, false, "[{a }]"},
		{nil, []string{"a"}, sources("w", "c"), 2, true, "[{a }]"},
		{nil, []string{"a"}, sources("w", "c", "q"), 2, true, "[{a q} { }]"},
		{nil, []string{"a", "b"}, sources("w", "c", "q"), 2, true, "[{a q} {b }]"},
		{nil, []string{"a", "b"}, sources("w", "c", "q", "r"), 2, true, "[{a q} {b r} { }]"},
		{[]string{"a"}, []string{"a", "b", "c"}, sources("w", "q", "r"), 2, false, "[{b r} {c }]"},
		{nil, []string{"a"}, sources("shards", "and", "more"), 9, false, "[{a }]"},
		{[]string{"a"}, []string{"a"}, sources("w"), 1, false, "does not continue"},
		{[]string{"b"}, []string{"a", "b"}, sources("w"), 1, false, "does not continue"},
		{nil, []string{"a", "b", "c"}, sources("w"), 1, false, "too few"},
		{nil, []string{"a", "b"}, sources("w", "../q"), 1, false, "source ../q has not the name"},
		{nil, []string{"a", "b"}, sources("w", ".."), 1, false, "source .. has not the name"},
		{nil, []string{"a", "b"}, sources("w", ""), 1, false, "has not the name"},
	} {
		got, err := Steps(c.before, c.all, c.sources, c.known, c.copied)
		if text := fmt.Sprint(got, err); !strings.Contains(text, c.want) || (err == nil) != (c.want[0] == '[') {
			t.Errorf("%v from %v: %s, want %s", c.all, c.before, text, c.want)
		}
	}
}
