package render

import (
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/textwrap"
	"thimble/quantize"
	"thimble/quantize/words"
)

// The plan has a line for each kind of matrix and fits a terminal, however many blocks
// there are.
func TestPlan(t *testing.T) {
	for _, blocks := range []int{3, 30, 126} {
		p := &quantize.Plan{}
		add := func(name string, role model.Role, rows, cols int, to string) {
			s, err := words.Scheme(to)
			if err != nil {
				t.Fatal(err)
			}
			codes, scales, mins, err := s.Sizes(rows, cols)
			if err != nil {
				t.Fatal(err)
			}
			e := quantize.Entry{Slot: quantize.Slot{Name: name, Role: role, Rows: rows, Cols: cols}, From: qtensor.Scheme{Kind: qtensor.BF16}, To: s, Bytes: codes + scales + mins}
			p.Tensors = append(p.Tensors, e)
			p.Weights += int64(rows) * int64(cols)
			p.Bytes += e.Bytes
		}
		add(model.Embed, model.Embedding, 128256, 16384, "int8/g32")
		for b := range blocks {
			add(model.Name(b, model.AttnNorm), model.Vector, 1, 64, "bf16")
			add(model.Name(b, model.Q), model.Linear, 64, 64, []string{"int3/g32/asym", "int8/g64", "bf16"}[b*3/blocks])
			add(model.Name(b, model.Down), model.Linear, 64, 160, "int4/g32")
		}
		for _, unicode := range []bool{false, true} {
			text := Plan(p, unicode, "92.0 MB")
			if first, _, _ := strings.Cut(text, "\n"); !strings.HasSuffix(first, " bits per weight, 92.0 MB") {
				t.Errorf("the first line is %q", first)
			}
			var kinds []string
			for line := range strings.Lines(text) {
				if n := textwrap.Columns(strings.TrimSuffix(line, "\n")); n > 80 {
					t.Errorf("%d blocks: %d columns: %s", blocks, n, line)
				}
				if strings.Contains(line, " x ") || strings.HasPrefix(line, "vectors") {
					kinds = append(kinds, strings.Fields(line)[0])
				}
			}
			if got := strings.Join(kinds, " "); got != "embed q down vectors" {
				t.Errorf("%d blocks: lines of %s in\n%s", blocks, got, text)
			}
			if strings.ContainsRune(text, '█') != unicode {
				t.Errorf("unicode %v:\n%s", unicode, text)
			}
			if want := "3-f  38f\n"; blocks == 3 && !unicode && !strings.Contains(text, want) {
				t.Errorf("want %q in\n%s", want, text)
			}
		}
	}
}
