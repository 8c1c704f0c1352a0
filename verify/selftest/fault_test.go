package selftest

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/format"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
	"thimble/verify/reference"
)

func openFixture(t testing.TB, name string) *model.Model {
	t.Helper()
	path := filepath.Join("../../fixtures", name)
	open := func() (*model.Model, error) { return convert.Open(path, convert.Options{}) }
	if filepath.Ext(name) == ".gguf" {
		open = func() (*model.Model, error) { return format.Open(path) }
	}
	m, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// someIDs returns n ids without a pattern, in which neighbours differ.
func someIDs(n, vocab int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = (i*i*7 + 3*i + 5) % vocab
	}
	return ids
}

func targetOf(t testing.TB, name string) *faultTarget {
	m := openFixture(t, name)
	s, err := newFaultTarget(t.Context(), m, someIDs(48, m.Spec.Vocab))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inject makes a fault in s.
func inject(t testing.TB, s *faultTarget, name string) *injected {
	t.Helper()
	for _, f := range faults {
		if f.name != name {
			continue
		}
		in, why := f.inject(s)
		if in == nil {
			t.Fatalf("%s does not apply to %s: %s", name, s.m.Path, why)
		}
		return in
	}
	t.Fatalf("there is no fault %q", name)
	return nil
}

// allLogits returns the logits of m for ids, row after row.
func allLogits(t testing.TB, m *model.Model, ids []int) []float32 {
	t.Helper()
	s, err := reference.NewScorer(m, reference.Arithmetic{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Score(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, len(ids)*m.Spec.Vocab)
	if err := l.Logits(t.Context(), x, 0, len(ids)); err != nil {
		t.Fatal(err)
	}
	return x
}

func values(m *qtensor.Matrix) [][]float32 {
	all := make([][]float32, m.Rows)
	var read qtensor.Reader
	for r := range all {
		all[r] = make([]float32, m.Cols)
		read.Row(all[r], m, r)
	}
	return all
}

// Each fault leaves a complete model, changes only what it is meant to change, and
// does not modify the target.
func TestFaultsChangeWhatTheySay(t *testing.T) {
	changes := map[string]string{ // tensors, by kind
		"q and k exchanged": "k q", "q and k interleaved": "k q", "scales one group off": "down", "nibble flipped": "down",
		"matrix transposed": "o", "block skipped": "down o", "token ids shifted": "embed", "norms exchanged": "attn_norm ffn_norm",
		"rope theta": "", "norm epsilon": "", "window truncated": "", "position off by one": "", "kv cache entry reused": "",
	}
	for _, name := range []string{"trained", "llama-sharded", "qwen3", "gguf/trained-q4_k_m.gguf"} {
		s := targetOf(t, name)
		before := maps.Clone(s.m.Tensors)
		spec := s.m.Spec
		logits := allLogits(t, s.m, s.ids)
		for fault, want := range changes {
			in := inject(t, s, fault)
			if err := in.model.Check(); err != nil {
				t.Errorf("%s, %s: %v", name, fault, err)
			}
			base := s.m
			if in.base != nil {
				base = in.base
			}
			var changed []string
			for tensor, w := range base.Tensors {
				if !w.SameValues(in.model.Tensors[tensor]) {
					changed = append(changed, tensor[strings.LastIndex(tensor, ".")+1:])
				}
			}
			slices.Sort(changed)
			if got := strings.Join(changed, " "); got != want {
				t.Errorf("%s, %s: %q changed, want %q", name, fault, got, want)
			}
			if want == "" && in.cacheFault == nil && in.model.Spec.Equal(&spec) {
				t.Errorf("%s, %s: the spec did not change", name, fault)
			}
		}
		if !maps.Equal(before, s.m.Tensors) || !s.m.Spec.Equal(&spec) || !slices.Equal(logits, allLogits(t, s.m, s.ids)) {
			t.Errorf("%s: the target has changed", name)
		}
	}
}

func TestRowsOfQueriesAndKeys(t *testing.T) {
	s := targetOf(t, "llama-sharded") // 4 heads on 2
	q, k := values(s.m.Tensors["blocks.1.q"]), values(s.m.Tensors["blocks.1.k"])
	if s.block != 1 {
		t.Fatalf("faults are made in block %d", s.block)
	}
	in := inject(t, s, "q and k exchanged")
	fused := slices.Concat(values(in.model.Tensors["blocks.1.k"]), values(in.model.Tensors["blocks.1.q"]))
	for r, row := range slices.Concat(q, k) {
		if !slices.Equal(row, fused[r]) {
			t.Fatalf("row %d of q and k is not row %d of k and q", r, r)
		}
	}
	in = inject(t, s, "q and k interleaved")
	for r, row := range values(in.model.Tensors["blocks.1.q"]) {
		dim := s.m.Spec.HeadDim
		if i := r % dim; !slices.Equal(row, q[r-i+i/2+i%2*dim/2]) {
			t.Fatalf("row %d is another", r)
		}
	}
	s = targetOf(t, "phi") // heads of 20, of which 8 turn
	q = values(s.m.Tensors["blocks.1.q"])
	order := []int{0, 4, 1, 5, 2, 6, 3, 7}
	for r, row := range values(inject(t, s, "q and k interleaved").model.Tensors["blocks.1.q"]) {
		if i := r % 20; i < 8 && !slices.Equal(row, q[r-i+order[i]]) || i >= 8 && !slices.Equal(row, q[r]) {
			t.Fatalf("phi: row %d is another", r)
		}
	}
}

func TestTransposed(t *testing.T) {
	s := targetOf(t, "llama-sharded")
	w, x := values(s.m.Tensors["blocks.1.o"]), values(inject(t, s, "matrix transposed").model.Tensors["blocks.1.o"])
	if len(w) != len(w[0]) {
		t.Fatal("o is not square")
	}
	for r := range w {
		for c := range w {
			if x[r][c] != w[c][r] {
				t.Fatalf("(%d, %d) is not (%d, %d)", r, c, c, r)
			}
		}
	}
	s = targetOf(t, "llama-biases") // 56 x 80
	w, x = values(s.m.Tensors["blocks.1.o"]), values(inject(t, s, "matrix transposed").model.Tensors["blocks.1.o"])
	i := 0
	for c := range w[0] {
		for r := range w {
			if x[i/len(w[0])][i%len(w[0])] != w[r][c] {
				t.Fatalf("value %d of the transpose is not (%d, %d)", i, r, c)
			}
			i++
		}
	}
}

func TestScalesShifted(t *testing.T) {
	in := inject(t, targetOf(t, "trained"), "scales one group off")
	var a, b qtensor.Reader
	right, wrong := in.base.Tensors["blocks.6.down"], in.model.Tensors["blocks.6.down"]
	for r := range right.Rows {
		codes, scale, _ := a.Codes(right, r)
		codes2, scale2, _ := b.Codes(wrong, r)
		if !slices.Equal(codes, codes2) || !slices.Equal(scale[1:], scale2[:len(scale)-1]) {
			t.Fatalf("row %d: scales %v became %v", r, scale, scale2)
		}
	}
}

func TestNibbleFlipped(t *testing.T) {
	for name, bits := range map[string]int{"trained": 4, "gguf/trained-q4_k_m.gguf": 0} {
		s := targetOf(t, name)
		in := inject(t, s, "nibble flipped")
		base := s.m
		if in.base != nil {
			base = in.base
		}
		w := in.model.Tensors["blocks.6.down"]
		if bits != 0 && w.Scheme.Bits != bits {
			t.Errorf("%s: flipped in %v", name, w.Scheme)
		}
		right, wrong := values(base.Tensors["blocks.6.down"]), values(w)
		changed := 0
		for r := range right {
			for c, v := range right[r] {
				if v != wrong[r][c] {
					changed++
					if r != in.want.Channel || c != s.outlierColumn {
						t.Errorf("%s: (%d, %d) changed, want (%d, %d)", name, r, c, in.want.Channel, s.outlierColumn)
					}
				}
				if c == s.outlierColumn && abs(v) > abs(right[in.want.Channel][c]) {
					t.Errorf("%s: the weight of row %d is larger", name, r)
				}
			}
		}
		if changed != 1 {
			t.Errorf("%s: %d weights changed", name, changed)
		}
	}
}

// flipNibble picks the column with the largest inputs.
func TestOutlierColumn(t *testing.T) {
	s := targetOf(t, "trained")
	changed := withTensors(s.m, nil)
	up := writable(s.m.Tensors["blocks.6.up"])
	row := values(up)[7]
	for i := range row {
		row[i] *= 1000
	}
	if err := up.SetFloats(7, row); err != nil {
		t.Fatal(err)
	}
	changed.Tensors["blocks.6.up"] = up
	if s, err := newFaultTarget(t.Context(), changed, s.ids); err != nil || s.block != 6 || s.outlierColumn != 7 {
		t.Errorf("%v, %v", s, err)
	}
}

func TestBiasDropped(t *testing.T) {
	for name, want := range map[string]string{"phi": "blocks.1.", "llama-biases": "blocks.1.", "qwen2": "blocks.1."} {
		s := targetOf(t, name)
		in := inject(t, s, "bias dropped")
		if !strings.HasPrefix(in.want.Tensor, want) || !strings.HasSuffix(in.want.Tensor, model.BiasSuffix) {
			t.Errorf("%s: the place is %q", name, in.want.Tensor)
		}
		for tensor, w := range s.m.Tensors {
			if same := w.SameValues(in.model.Tensors[tensor]); same == (tensor == in.want.Tensor) {
				t.Errorf("%s: %s is the same: %v", name, tensor, same)
			}
		}
		if x := values(in.model.Tensors[in.want.Tensor])[0]; slices.ContainsFunc(x, func(v float32) bool { return v != 0 }) {
			t.Errorf("%s: %s is %v", name, in.want.Tensor, x)
		}
	}
}

// A model that skips a block computes the same as a model without that block.
func TestBlockSkipped(t *testing.T) {
	for _, name := range []string{"trained", "gemma3", "phi", "llama-biases"} {
		s := targetOf(t, name)
		without := withSpec(s.m, func(spec *model.Spec) {
			spec.Blocks, spec.Schedule = spec.Blocks-1, spec.Schedule[:spec.Blocks-1]
			if len(spec.Attention) > 0 {
				spec.Attention = slices.Delete(spec.Attention, s.block, s.block+1)
			}
		})
		without.Tensors = map[string]*qtensor.Matrix{}
		for _, slot := range without.Spec.Slots() {
			tensor := slot.Name
			for b := s.block; b < without.Spec.Blocks; b++ {
				if kind, ok := strings.CutPrefix(tensor, model.Name(b, "")); ok {
					tensor = model.Name(b+1, kind)
					break
				}
			}
			without.Tensors[slot.Name] = s.m.Tensors[tensor]
		}
		if err := without.Check(); err != nil {
			t.Fatal(err)
		}
		in := inject(t, s, "block skipped")
		if !slices.Equal(allLogits(t, in.model, s.ids), allLogits(t, without, s.ids)) {
			t.Errorf("%s: not what the model without block %d computes", name, s.block)
		}
	}
}

func TestSharedBlockRunOnce(t *testing.T) {
	s := targetOf(t, "mobilellm-ls")
	in := inject(t, s, "shared block run once")
	if !slices.Equal(allLogits(t, in.base, s.ids), allLogits(t, s.m, s.ids)) {
		t.Error("blocks of their own compute something else")
	}
	once := withSpec(s.m, func(spec *model.Spec) {
		spec.Schedule = slices.Delete(spec.Schedule, in.want.Step, in.want.Step+1)
	})
	if s.m.Spec.Schedule[in.want.Step] != s.block || s.m.Spec.Schedule[in.want.Step-1] != s.block {
		t.Fatalf("step %d is not the second of block %d", in.want.Step, s.block)
	}
	if !slices.Equal(allLogits(t, in.model, s.ids), allLogits(t, once, s.ids)) {
		t.Error("not what the shorter schedule computes")
	}
}

func TestIDsShifted(t *testing.T) {
	for _, name := range []string{"trained", "llama-sharded", "gguf/trained-q4_k_m.gguf"} { // tied, untied, integers
		s := targetOf(t, name)
		next := slices.Clone(s.ids)
		for i := range next {
			next[i] = (next[i] + 1) % s.m.Spec.Vocab
		}
		if !slices.Equal(allLogits(t, inject(t, s, "token ids shifted").model, s.ids), allLogits(t, s.m, next)) {
			t.Errorf("%s: not what the next ids give", name)
		}
	}
}

func TestWindowTruncated(t *testing.T) {
	for name, want := range map[string]int{"trained": 24, "mistral": 10, "llama4": 10} { // 48 positions; 21 of the other two
		in := inject(t, targetOf(t, name), "window truncated")
		for b := range in.model.Spec.Blocks {
			if got := in.model.Spec.AttentionOf(b).Window; got != want {
				t.Errorf("%s: block %d sees %d, want %d", name, b, got, want)
			}
		}
	}
}

// Before a cache fault the logits are those of the sound model. After an overwritten
// entry they are those of a text without the lost token.
func TestCacheFaults(t *testing.T) {
	s := targetOf(t, "trained")
	vocab := s.m.Spec.Vocab
	right := allLogits(t, s.m, s.ids)
	for _, name := range []string{"position off by one", "kv cache entry reused"} {
		in := inject(t, s, name)
		at := in.want.Token
		d, err := transformer.New(s.m)
		if err != nil {
			t.Fatal(err)
		}
		l, err := (&faultyScorer{d, vocab, in.cacheFault}).Score(t.Context(), s.ids)
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, len(right))
		if err := l.Logits(t.Context(), x, 0, len(s.ids)); err != nil {
			t.Fatal(err)
		}
		if n := (at + 1) * vocab; !slices.Equal(x[:n], right[:n]) || slices.Equal(x[n:n+vocab], right[n:n+vocab]) {
			t.Errorf("%s: positions do not change from %d on", name, at+1)
		}
		if name == "position off by one" {
			shorter := allLogits(t, s.m, slices.Delete(slices.Clone(s.ids), at, at+1))
			if !slices.Equal(x[(at+1)*vocab:], shorter[at*vocab:]) {
				t.Error("not what the text without the lost token gives")
			}
		}
	}
}

func TestCacheFaultPosition(t *testing.T) {
	for want, ids := range map[int][]int{
		3: {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 4: {1, 2, 3, 3, 4, 5, 6, 7}, 1: {1, 2, 3}, -1: {5, 5, 5, 5, 6},
	} {
		if got := cacheFaultPosition(ids); got != want {
			t.Errorf("cacheFaultPosition(%v) = %d, want %d", ids, got, want)
		}
	}
	for _, ids := range [][]int{nil, {1}, {1, 2}} {
		if at := cacheFaultPosition(ids); at != -1 {
			t.Errorf("cacheFaultPosition(%v) = %d", ids, at)
		}
	}
}

// Faults are made in the block nearest to the middle that has attention and a feed-forward layer;
// a model without such a block is refused.
func TestMiddle(t *testing.T) {
	other := model.Attention{Conv: 3}
	for _, c := range []struct {
		attention []model.Attention
		want      int
		ok        bool
	}{
		{nil, 2, true},
		{[]model.Attention{{}, other, other, {}, other}, 3, true},
		{[]model.Attention{{}, other, other, other, other}, 0, true},
		{[]model.Attention{{}, other, {Alone: true}, {Absent: true}, other}, 0, true},
		{[]model.Attention{{Alone: true}, other, {Alone: true}, {Absent: true}, other}, 0, false},
	} {
		s := model.Spec{Blocks: 5, Attention: c.attention}
		if got, ok := middle(&s); got != c.want || ok != c.ok {
			t.Errorf("%v: block %d, %t; want %d, %t", c.attention, got, ok, c.want, c.ok)
		}
	}
}
