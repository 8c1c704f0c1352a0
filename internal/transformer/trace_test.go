package transformer_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// someTexts returns random texts of several lengths, including one token and the
// whole context (at most 40 tokens).
func someTexts(s *model.Spec) [][]int {
	r := rand.New(rand.NewPCG(1, 1))
	var texts [][]int
	for _, n := range []int{7, 1, min(s.Context, 40), 17} {
		ids := make([]int, n)
		for i := range ids {
			ids[i] = r.IntN(s.Vocab)
		}
		texts = append(texts, ids)
	}
	return texts
}

func newTrace(t *testing.T, m *model.Model, texts [][]int) *transformer.Trace {
	t.Helper()
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := d.NewTrace(texts)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// traceWithin returns a Trace with bounded memory. Its files are gone before the test ends.
func traceWithin(t *testing.T, m *model.Model, texts [][]int, r transformer.Room) *transformer.Trace {
	t.Helper()
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := d.NewTraceWithin(texts, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(trace.Close)
	return trace
}

// The inputs of all groups are the same whatever runs at a time, in memory or in a file, for
// every window that is loaded.
func TestRoom(t *testing.T) {
	// Two branches that read one input; one that reads the residual stream; two norms of it;
	// experts, which all positions share; convolutions; several streams; latents.
	for _, name := range []string{"phi", "architectures/olmo2", "families/gpt_neox", "families/olmoe", "families/lfm2", "families/gemma3n", "families/youtu"} {
		t.Run(name, func(t *testing.T) { roomAt(t, name) })
	}
}

func roomAt(t *testing.T, name string) {
	m, err := convert.Open(filepath.Join(fixtures, name), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	texts := someTexts(&m.Spec)
	dir := t.TempDir()
	whole, few := newTrace(t, m, texts), traceWithin(t, m, texts, transformer.Room{Positions: 9, Spill: dir})
	for g := next(t, whole); g != nil; g = next(t, whole) {
		h := next(t, few)
		const window = 11
		for i := range g.Len() {
			if i%window == 0 {
				if err := h.Load(i, min(window, g.Len()-i)); err != nil {
					t.Fatal(err)
				}
			}
			if differ(g.Row(i), h.Row(i)) >= 0 {
				t.Fatalf("step %d, %v: position %d differs", g.Step, g.Kinds, i)
			}
		}
		for _, trace := range []*transformer.Trace{whole, few} {
			if err := trace.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if at := firstChange(hiddenRows(hidden(t, whole)), hiddenRows(hidden(t, few))); at >= 0 {
		t.Errorf("the final state of position %d differs", at)
	}
	few.Close()
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("%v, %v is left", left, err)
	}
}

// A folder for the file that does not exist is an error.
func TestRoomWithoutFolder(t *testing.T) {
	m, err := convert.Open(filepath.Join(fixtures, "phi"), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	missing := filepath.Join(t.TempDir(), "missing")
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.NewTraceWithin(someTexts(&m.Spec), transformer.Room{Positions: 9, Spill: missing}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("a folder that does not exist: %v", err)
	}
}

// finish runs the rest of a Trace and returns the final hidden states.
func finish(t *testing.T, trace *transformer.Trace) [][]float32 {
	t.Helper()
	if err := trace.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	return hiddenRows(hidden(t, trace))
}

func hidden(t *testing.T, trace *transformer.Trace) *transformer.Hidden {
	t.Helper()
	h, err := trace.Hidden()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// next returns the next group of a Trace with its whole input, or nil.
func next(t *testing.T, trace *transformer.Trace) *transformer.Group {
	t.Helper()
	g, err := trace.Next()
	if err == nil && g != nil {
		err = g.Load(0, trace.Len())
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func hiddenRows(h *transformer.Hidden) (rows [][]float32) {
	for i := range h.Len() {
		rows = append(rows, slices.Clone(h.Row(i)))
	}
	return rows
}

// forward returns the final hidden states of texts, each run by Forward alone.
func forward(t *testing.T, m *model.Model, texts [][]int) [][]float32 {
	t.Helper()
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return forwardBy(t, d, texts)
}

func forwardBy(t *testing.T, d *transformer.Decoder, texts [][]int) (rows [][]float32) {
	t.Helper()
	for _, ids := range texts {
		cache, err := d.NewCache(len(ids))
		if err != nil {
			t.Fatal(err)
		}
		h, err := d.Forward(t.Context(), cache, ids)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, hiddenRows(h)...)
	}
	return rows
}

// firstChange returns the first position at which two sets of hidden states differ,
// or -1.
func firstChange(a, b [][]float32) int {
	for i := range a {
		if differ(a[i], b[i]) >= 0 {
			return i
		}
	}
	return -1
}

// Texts that run together in a Trace give the same bits as each of them alone.
func TestTrace(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every checkpoint several times")
	}
	for _, c := range checkpoints {
		t.Run(c.dir, func(t *testing.T) {
			m, err := convert.Open(filepath.Join(fixtures, c.dir), convert.Options{Set: c.set})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			texts := someTexts(&m.Spec)
			want := forward(t, m, texts)
			trace := newTrace(t, m, texts)
			if trace.Len() != len(want) {
				t.Fatalf("%d positions, want %d", trace.Len(), len(want))
			}
			if at := firstChange(want, finish(t, trace)); at >= 0 {
				t.Fatalf("position %d differs", at)
			}
			checkGroups(t, m, newTrace(t, m, texts))
			checkRewind(t, m, newTrace(t, m, texts), want)
			checkSelect(t, m, texts, want)
			for _, room := range []transformer.Room{{Positions: 1}, {Positions: 48, Spill: t.TempDir()}} {
				checkGroups(t, m, traceWithin(t, m, texts, room))
				checkRewind(t, m, traceWithin(t, m, texts, room), want)
			}
		})
	}
}

// A Trace of several streams runs, visits every layer and goes back like any other.
func TestTraceOfStreams(t *testing.T) {
	m, err := convert.Open(filepath.Join(fixtures, "families/gemma3n"), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	texts := someTexts(&m.Spec)
	want := forward(t, m, texts)
	checkGroups(t, m, newTrace(t, m, texts))
	trace := newTrace(t, m, texts)
	for _, step := range []int{0, 2, 4} {
		if err := trace.RunSteps(t.Context(), step-trace.Step()); err != nil {
			t.Fatal(err)
		}
		start, err := trace.Stream()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if at := firstChange(want, finish(t, trace)); at >= 0 {
				t.Errorf("from step %d: position %d differs", step, at)
			}
			if err := trace.Rewind(step, start); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// checkGroups checks that a Trace visits each linear layer once in each step, in
// order, with inputs of the right width.
func checkGroups(t *testing.T, m *model.Model, trace *transformer.Trace) {
	t.Helper()
	visits := map[string]int{}
	step := 0
	for g := next(t, trace); g != nil; g = next(t, trace) {
		if g.Step < step || g.Block != m.Spec.Schedule[g.Step] {
			t.Fatalf("block %d in step %d after step %d", g.Block, g.Step, step)
		}
		step = g.Step
		for _, kind := range g.Kinds {
			name := model.Name(g.Block, kind)
			visits[name]++
			if w := m.Tensors[name]; w.Cols != g.Width() || len(g.Row(trace.Len()-1)) != w.Cols {
				t.Fatalf("%s has %d columns, but its input has %d", name, w.Cols, g.Width())
			}
		}
		if err := trace.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, slot := range m.Spec.Slots() {
		runs := 0
		for _, b := range m.Spec.Schedule {
			if slot.Role == model.Linear && strings.HasPrefix(slot.Name, model.Name(b, "")) {
				runs++
			}
		}
		if visits[slot.Name] != runs {
			t.Errorf("the Trace visited %s %d times, want %d", slot.Name, visits[slot.Name], runs)
		}
	}
}

// checkRewind uses RunSteps to reach the last step, and rewinds to its start from
// its middle and from its end.
func checkRewind(t *testing.T, m *model.Model, trace *transformer.Trace, want [][]float32) {
	t.Helper()
	last := len(m.Spec.Schedule) - 1
	if err := trace.RunSteps(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if g := next(t, trace); g == nil || g.Step != last {
		t.Fatalf("after %d steps the next group is %v", last, g)
	}
	start, err := trace.Stream()
	if err != nil {
		t.Fatal(err)
	}
	defer start.Close()
	rewind := func() {
		t.Helper()
		if err := trace.Rewind(last, start); err != nil {
			t.Fatal(err)
		}
	}
	if err := trace.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	rewind()
	if err := trace.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if next(t, trace) != nil {
		t.Error("there is a group after the last step")
	}
	rewind()
	if at := firstChange(want, finish(t, trace)); at >= 0 {
		t.Errorf("position %d differs after Rewind", at)
	}
}

func checkSelect(t *testing.T, m *model.Model, texts [][]int, want [][]float32) {
	t.Helper()
	trace := newTrace(t, m, texts)
	if err := trace.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := hidden(t, trace)
	some := []int{0, 3, h.Len() - 1}
	for i, row := range hiddenRows(h.Select(some)) {
		if differ(want[some[i]], row) >= 0 {
			t.Errorf("selected position %d differs", some[i])
		}
	}
}

// Replacing a weight just before a Trace runs its group affects everything after
// that group and nothing before it.
func TestTraceUsesReplacedWeights(t *testing.T) {
	m, err := convert.Open(filepath.Join(fixtures, "trained"), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	texts := someTexts(&m.Spec)
	kinds := []string{model.Q, model.K, model.V, model.O, model.Gate, model.Up, model.Down}
	if testing.Short() {
		kinds = kinds[:1]
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { checkReplace(t, m, texts, 5, kind) })
	}
}

func checkReplace(t *testing.T, m *model.Model, texts [][]int, block int, kind string) {
	name, other := model.Name(block, kind), copied(m)
	plain, changed := newTrace(t, m, texts), newTrace(t, other, texts)
	replaced := false
	for g := next(t, plain); g != nil; g = next(t, plain) {
		c := next(t, changed)
		if same := sameInputs(plain.Len(), g, c); same == replaced {
			t.Fatalf("step %d, %v: same inputs: %t, %s replaced: %t", g.Step, g.Kinds, same, name, replaced)
		}
		if g.Block == block && slices.Contains(g.Kinds, kind) {
			*other.Tensors[name] = *doubled(t, m.Tensors[name])
			replaced = true
		}
		for _, trace := range []*transformer.Trace{plain, changed} {
			if err := trace.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := hiddenRows(hidden(t, changed))
	if firstChange(hiddenRows(hidden(t, plain)), got) < 0 {
		t.Errorf("replacing %s had no effect", name)
	}
	if at := firstChange(forward(t, other, texts), got); at >= 0 {
		t.Errorf("position %d depends on when %s was replaced", at, name)
	}
}

// copied returns a copy of m that shares the planes of its matrices.
func copied(m *model.Model) *model.Model {
	other := *m
	other.Tensors = map[string]*qtensor.Matrix{}
	for name, w := range m.Tensors {
		same := *w
		other.Tensors[name] = &same
	}
	return &other
}

// sameInputs reports whether the inputs of two groups are equal at n positions.
func sameInputs(n int, a, b *transformer.Group) bool {
	for i := range n {
		if differ(a.Row(i), b.Row(i)) >= 0 {
			return false
		}
	}
	return true
}

// doubled returns w times 2.
func doubled(t *testing.T, w *qtensor.Matrix) *qtensor.Matrix {
	t.Helper()
	out, err := qtensor.New(qtensor.Scheme{}, w.Rows, w.Cols)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, w.Cols)
	for r := range w.Rows {
		new(qtensor.Reader).Row(x, w, r)
		for c := range x {
			x[c] *= 2
		}
		if err := out.SetFloats(r, x); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestTraceRefuses(t *testing.T) {
	m, err := convert.Open(filepath.Join(fixtures, "trained"), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, texts := range [][][]int{{{1, 2}, {m.Spec.Vocab}}, {{-1}}, {make([]int, model.MaxLength+1)}} {
		if _, err := d.NewTrace(texts); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("error is %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	trace := newTrace(t, m, [][]int{{1, 2, 3}})
	cancel()
	if err := trace.Finish(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
	if err := newTrace(t, m, [][]int{{1, 2, 3}}).RunSteps(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
}
