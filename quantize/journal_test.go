package quantize

import (
	"context"
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

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"thimble/internal/journal"
	"thimble/internal/model"
)

func noHead() ([]byte, error) { return nil, nil }

// An unfinished is a run of a small model with a journal.
type unfinished struct {
	m    *model.Model
	p    *Plan
	path string
}

// run continues from the journal's file, if there is one, and stops before it writes
// tensor stop. It returns the hash of what it wrote.
func (u *unfinished) run(t *testing.T, stop int) (sum string, health *Health, blocks int, err error) {
	t.Helper()
	j := journal.New(u.path, false, noHead)
	if there, err := journal.Exists(u.path); err != nil {
		t.Fatal(err)
	} else if there {
		if j, err = journal.Open(u.path); err != nil {
			t.Fatal(err)
		}
	}
	defer j.Close()
	if blocks, _, err = u.p.Finished(j); err != nil {
		return "", nil, 0, err
	}
	c := randomTexts(3, 40, u.m.Spec.Vocab)
	c.Health, c.Journal = NewHealth(c, u.m, u.p, func(int) bool { return false }), j
	h := hashing{sha256.New()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	err = Run(ctx, u.m, u.p, c, h, func(int64) {
		if n++; n == stop {
			cancel()
		}
	})
	return fmt.Sprintf("%x", h.Sum(nil)), c.Health, blocks, err
}

// unfinishedRuns are models whose runs differ in their parts.
var unfinishedRuns = map[string]struct {
	edit   func(s *model.Spec)
	recipe Recipe
}{
	"tied":            {nil, Recipe{Scheme: "int4/g32", Embedding: "int6/g32/asym"}},
	"entropy coded":   {nil, Recipe{Scheme: "int8/row@4", Embedding: "int8/row@5"}},
	"tied, kept":      {nil, Recipe{Scheme: "int4/g32/asym", Embedding: "f16"}},
	"untied":          {func(s *model.Spec) { s.Tied = false }, Recipe{Scheme: "int4/g32"}},
	"shared":          {func(s *model.Spec) { s.Schedule = model.InOrder(s.Blocks, 2) }, Recipe{Scheme: "int4/g32"}},
	"again, apart":    {func(s *model.Spec) { s.Schedule = []int{0, 1, 2, 0, 1, 2} }, Recipe{Scheme: "int4/g32"}},
	"a block of f16":  {nil, Recipe{Scheme: "int4/g32", Rules: []Rule{{"blocks.1.*", "f16"}}}},
	"some of a block": {nil, Recipe{Scheme: "int4/g32", Vectors: "f16", Rules: []Rule{{"blocks.*.k", "f16"}, {"blocks.*.down", "keep"}}}},
}

// A run that is interrupted anywhere, even several times, stores the same bytes as
// one without a break, and reports the same health.
func TestUnfinished(t *testing.T) {
	if testing.Short() {
		t.Skip("quantizes many times")
	}
	for name, c := range unfinishedRuns {
		t.Run(name, func(t *testing.T) {
			u := &unfinished{m: livelyModel(t, func(s *model.Spec) {
				s.Blocks, s.Schedule = 3, model.InOrder(3, 1)
				if c.edit != nil {
					c.edit(s)
				}
			})}
			u.p = calibratedPlan(t, u.m, c.recipe)
			u.path = filepath.Join(t.TempDir(), "whole")
			want, health, _, err := u.run(t, 0)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := os.ReadFile(u.path)
			if err != nil {
				t.Fatal(err)
			}
			u.path = filepath.Join(t.TempDir(), "parts")
			last := 0
			for stop := 1; stop <= len(u.p.Tensors); stop += 1 + len(u.p.Tensors)/4 {
				_, _, blocks, err := u.run(t, stop)
				if stop < len(u.p.Tensors)-1 && !errors.Is(err, context.Canceled) {
					t.Fatalf("stopped at tensor %d: %v", stop, err)
				}
				if blocks < last {
					t.Errorf("stopped at tensor %d: it began with %d blocks, before that with %d", stop, blocks, last)
				}
				last = blocks
			}
			if last == 0 {
				t.Error("nothing was kept")
			}
			got, again, _, err := u.run(t, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Error("other bytes")
			}
			if diff := cmp.Diff(health, again, cmpopts.IgnoreUnexported(InputHealth{})); diff != "" {
				t.Error(diff)
			}
			if parts, err := os.ReadFile(u.path); err != nil || !slices.Equal(parts, whole) {
				t.Errorf("another journal, %v", err)
			}
		})
	}
}

// A run quantizes again what the journal has torn or altered.
func TestUnfinishedDamaged(t *testing.T) {
	u := &unfinished{m: livelyModel(t, nil), path: filepath.Join(t.TempDir(), "whole")}
	u.p = calibratedPlan(t, u.m, Recipe{Scheme: "int4/g32"})
	want, _, _, err := u.run(t, 0)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(u.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{len(whole) / 3, len(whole) / 2, len(whole) - 1} {
		flipped := slices.Clone(whole)
		flipped[at] ^= 16
		for name, text := range map[string][]byte{"torn": whole[:at], "flipped": flipped} {
			u.path = filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(u.path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			got, _, blocks, err := u.run(t, 0)
			if err != nil || got != want || blocks > 1 {
				t.Errorf("%s at %d: %d blocks kept, same bytes: %t, %v", name, at, blocks, got == want, err)
			}
			if again, err := os.ReadFile(u.path); err != nil || !slices.Equal(again, whole) {
				t.Errorf("%s at %d: the journal differs, %v", name, at, err)
			}
		}
	}
}

// A run refuses, in a line, records that are whole but not what its plan makes.
func TestUnfinishedHostile(t *testing.T) {
	u := &unfinished{m: livelyModel(t, nil), path: filepath.Join(t.TempDir(), "whole")}
	u.p = calibratedPlan(t, u.m, Recipe{Scheme: "int4/g32"})
	if _, _, _, err := u.run(t, 0); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(u.path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	embed, first := j.Records()[0], j.Records()[1]
	head := func(n uint32, text string) []byte { return append(binary.LittleEndian.AppendUint32(nil, n), text...) }
	infinite := slices.Clone(embed)
	copy(infinite[len(infinite)-2:], []byte{0, 0x7c})
	count := slices.Clone(first)
	for i := range count { // any float of the head
		if count[i] == 0xfb {
			binary.BigEndian.PutUint64(count[i+1:], math.Float64bits(math.NaN()))
			break
		}
	}
	for name, c := range map[string]struct {
		records [][]byte
		want    string // "" where nothing but a panic is wrong
	}{
		"empty":        {[][]byte{{}}, "record 1: has no part"},
		"no part":      {[][]byte{head(math.MaxUint32, "x")}, "record 1: has no part"},
		"not CBOR":     {[][]byte{head(1, "\xff")}, `record 1: "cbor: unexpected`},
		"other CBOR":   {[][]byte{head(1, "\x01")}, "record 1: cbor: cannot unmarshal"},
		"short":        {[][]byte{embed[:len(embed)-1]}, "record 1: ends in embed"},
		"long":         {[][]byte{append(slices.Clone(embed), 0)}, "record 1: does not have the matrices of the plan for part -1"},
		"infinite":     {[][]byte{infinite}, "record 1: embed has a scale that is not finite"},
		"order":        {[][]byte{first, embed}, "record 1: is part 0, want -1"},
		"twice":        {[][]byte{embed, embed}, "record 2: is part -1, want 0"},
		"health":       {[][]byte{embed, count}, ""},
		"one too many": {[][]byte{embed, first, j.Records()[2], first}, "record 4: is part 0, want none"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hostile")
			made := journal.New(path, false, noHead)
			for _, r := range c.records {
				if err := made.Append(r); err != nil {
					t.Fatal(err)
				}
			}
			made.Close()
			_, _, _, err := (&unfinished{u.m, u.p, path}).run(t, 0)
			if c.want == "" && err == nil {
				return
			}
			if err == nil || !strings.Contains(err.Error(), "hostile: "+c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

// readRecord refuses any other record in a line; the matrices that it returns have
// the shapes of the plan.
func FuzzReadRecord(f *testing.F) {
	m := livelyModel(f, nil)
	p := calibratedPlan(f, m, Recipe{Scheme: "int4/g32/asym", Embedding: "f16", Rules: []Rule{{"blocks.*.[okvudg]*", "f16"}}})
	head, err := recordEncoding.Marshal(partRecord{1, []observation{{[]string{"q"}, 40, 0, 3.5, 1}}})
	if err != nil {
		f.Fatal(err)
	}
	whole := append(binary.LittleEndian.AppendUint32(nil, uint32(len(head))), head...)
	for _, e := range p.roundedIn(1) {
		whole = append(whole, make([]byte, e.Bytes)...)
	}
	if _, matrices, err := p.readRecord(whole); err != nil || len(matrices) != 1 {
		f.Fatalf("%d matrices, %v", len(matrices), err)
	}
	for _, seed := range [][]byte{whole, whole[:len(whole)-1], whole[:4+len(head)], whole[:3], nil, {0xff, 0xff, 0xff, 0xff, 0}, {1, 0, 0, 0, 0xff}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		record, matrices, err := p.readRecord(content)
		if err != nil {
			checkLine(t, err)
			return
		}
		entries := p.roundedIn(record.Part)
		if len(matrices) != len(entries) {
			t.Fatalf("%d matrices, the plan has %d in part %d", len(matrices), len(entries), record.Part)
		}
		for i, e := range entries {
			if err := matrices[i].Check(); err != nil || matrices[i].Scheme != e.To {
				t.Errorf("%s: %v, %v", e.Name, matrices[i].Scheme, err)
			}
		}
		new(Health).add(record.Part, observation{})
		for _, seen := range record.Inputs {
			new(Health).add(record.Part, seen)
		}
	})
}
