package reference

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/x448/float16"
)

func open(t *testing.T, path string) *File {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// An entry is a tensor of a safetensors file that a test writes.
type entry struct {
	name, dtype string
	shape       []int
	data        []byte
}

// write writes entries to a safetensors file.
func write(t testing.TB, entries ...entry) string {
	t.Helper()
	header := map[string]any{}
	var data []byte
	for _, e := range entries {
		header[e.name] = map[string]any{"dtype": e.dtype, "shape": e.shape, "data_offsets": []int{len(data), len(data) + len(e.data)}}
		data = append(data, e.data...)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ref.safetensors")
	b := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	if err := os.WriteFile(path, append(b, data...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func raw(t testing.TB, name, dtype string, shape []int, values any) entry {
	t.Helper()
	b, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		t.Fatal(err)
	}
	return entry{name, dtype, shape, b}
}

func TestReferenceErrors(t *testing.T) {
	ids := func(n int, v ...int64) entry {
		return raw(t, fmt.Sprintf("prompt.%d.input_ids", n), "I64", []int{len(v)}, v)
	}
	logits := func(n, rows, cols int) entry {
		return raw(t, fmt.Sprintf("prompt.%d.logits", n), "F32", []int{rows, cols}, make([]float32, rows*cols))
	}
	top := func(n, rows, k int) []entry {
		return []entry{
			raw(t, fmt.Sprintf("prompt.%d.topk_ids", n), "I32", []int{rows, k}, make([]int32, rows*k)),
			raw(t, fmt.Sprintf("prompt.%d.topk_logits", n), "F32", []int{rows, k}, make([]float32, rows*k)),
			raw(t, fmt.Sprintf("prompt.%d.logsumexp", n), "F32", []int{rows}, make([]float32, rows)),
		}
	}
	for _, c := range []struct {
		entries []entry
		want    string
	}{
		{nil, ": holds no prompts, want prompt.0.input_ids and prompt.0.logits"},
		{[]entry{raw(t, "x", "F32", []int{1}, []float32{1})}, ": x: is not a tensor of a reference file, such as prompt.N.input_ids and prompt.N.logits; compare with a model by --against"},
		{[]entry{ids(0, 1), raw(t, "prompt.00.logits", "F32", []int{1}, []float32{1})}, ": prompt.00.logits: is not a tensor of a reference file, such as prompt.N.input_ids and prompt.N.logits; compare with a model by --against"},
		{[]entry{raw(t, "prompt.0.logit", "F32", []int{1}, []float32{1})}, ": prompt.0.logit: is not a tensor of a reference file, such as prompt.N.input_ids and prompt.N.logits; compare with a model by --against"},
		{[]entry{ids(1, 1), logits(1, 1, 2)}, ": holds 1 prompts but no prompt.0: they are numbered from 0 without a gap"},
		{[]entry{ids(0, 1), logits(0, 1, 2), ids(7, 1), logits(7, 1, 2)}, ": holds 2 prompts but no prompt.1: they are numbered from 0 without a gap"},
		{[]entry{logits(0, 1, 2)}, ": prompt.0.input_ids: tensor is missing"},
		{[]entry{ids(0, 1)}, ": prompt.0.logits: tensor is missing"},
		{[]entry{raw(t, "prompt.0.input_ids", "I32", []int{1}, []int32{0}), logits(0, 1, 2)}, ": prompt.0.input_ids: type is I32, want I64"},
		{[]entry{raw(t, "prompt.0.input_ids", "I64", []int{1, 1}, []int64{0}), logits(0, 1, 2)}, ": prompt.0.input_ids: shape is [1, 1], want [any]"},
		{[]entry{ids(0), logits(0, 0, 2)}, ": prompt.0.input_ids: shape is [0], want [any]"},
		{[]entry{ids(0, 1), raw(t, "prompt.0.logits", "F64", []int{1, 2}, make([]float64, 2))}, ": prompt.0.logits: type is F64, want F32, F16, BF16"},
		{[]entry{ids(0, 1, 1), logits(0, 1, 2)}, ": prompt.0.logits: shape is [1, 2], want [2, any]"},
		{[]entry{ids(0, 1), logits(0, 1, 0)}, ": prompt.0.logits: shape is [1, 0], want [1, any]"},
		{[]entry{ids(0, 1), logits(0, 1, 2), ids(1, 1), logits(1, 1, 3)}, ": prompt.1.logits: shape is [1, 3], want [1, 2]"},
		{[]entry{ids(0, 1, 2), logits(0, 2, 2)}, ": prompt.0.input_ids: token id 2 at position 1 is outside the vocabulary of 2"},
		{[]entry{ids(0, 1, -1), logits(0, 2, 2)}, ": prompt.0.input_ids: token id -1 at position 1 is outside the vocabulary of 2"},
		{append(top(0, 1, 1), ids(0, 1), logits(0, 1, 2)), ": prompt.0.logits: full and compact logits in one file, want one form for all prompts"},
		{append(top(1, 1, 1), ids(0, 1), logits(0, 1, 2), ids(1, 1)), ": prompt.1.logits: tensor is missing"},
		{append(top(0, 1, 1), ids(0, 1), logits(1, 1, 2), ids(1, 1)), ": prompt.1.topk_ids: tensor is missing"},
		{append(top(0, 1, 1)[:2], ids(0, 1)), ": prompt.0.logsumexp: tensor is missing"},
		{append(top(0, 1, 1), append(top(1, 1, 2), ids(0, 1), ids(1, 1))...), ": prompt.1.topk_ids: shape is [1, 2], want [1, 1]"},
		{append(top(0, 1, 1), ids(0, 1<<40)), ": prompt.0.input_ids: token id 1099511627776 at position 0 is outside the vocabulary of 4194304"},
	} {
		path := write(t, c.entries...)
		r, err := Open(path)
		if err == nil {
			t.Errorf("opened, want %s", c.want)
			r.Close()
			continue
		}
		if got := strings.TrimPrefix(err.Error(), path); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent")); !os.IsNotExist(err) {
		t.Errorf("an absent file gives %v", err)
	}
}

func TestReferenceFloatTypes(t *testing.T) {
	half := func(x float32) uint16 { return float16.Fromfloat32(x).Bits() }
	path := write(t,
		raw(t, "prompt.0.input_ids", "I64", []int{2}, []int64{1, 0}),
		raw(t, "prompt.1.input_ids", "I64", []int{1}, []int64{2}),
		raw(t, "prompt.2.input_ids", "I64", []int{1}, []int64{2}),
		raw(t, "prompt.0.logits", "F32", []int{2, 3}, []float32{1, 2, 3, 4, 5, 6}),
		raw(t, "prompt.1.logits", "F16", []int{1, 3}, []uint16{half(0.5), half(-2), half(65504)}),
		raw(t, "prompt.2.logits", "BF16", []int{1, 3}, []uint16{0x3f80, 0xc040, 0}),
	)
	r := open(t, path)
	s, err := r.Scorer()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]float32{{4, 5, 6}, {0.5, -2, 65504}, {1, -3, 0}}
	// The last two prompts have the same ids, so successive calls return one, then the other.
	for i, p := range r.Prompts() {
		l, err := s.Score(t.Context(), p.IDs)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]float32, 3)
		if err := l.Logits(t.Context(), dst, p.To-1, 1); err != nil || !slices.Equal(dst, want[i]) {
			t.Errorf("prompt %d: %v, %v, want %v", i, dst, err, want[i])
		}
		if err := l.Logits(t.Context(), dst, p.To, 1); err == nil {
			t.Error("a row after the last was read")
		}
	}
	if _, err := s.Score(t.Context(), []int{9}); err == nil || !strings.HasSuffix(err.Error(), ": holds no prompt with these 1 token ids") {
		t.Errorf("unknown prompt: %v", err)
	}
}

func TestTextPrompts(t *testing.T) {
	ids := make([]int, 23)
	for i := range ids {
		ids[i] = i
	}
	ps, err := TextPrompts(ids, 7, 0, 99)
	if err != nil {
		t.Fatal(err)
	}
	want := []Prompt{{[]int{99, 1, 2, 3, 4, 5, 6}, 3, 6}, {[]int{99, 8, 9, 10, 11, 12, 13}, 3, 6}, {[]int{99, 15, 16, 17, 18, 19, 20}, 3, 6}}
	if fmt.Sprint(ps) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", ps, want)
	}
	if ps, err = TextPrompts(ids, 8, 1, -1); err != nil || len(ps) != 1 || ps[0].IDs[0] != 0 || ps[0].From != 4 || ps[0].To != 7 {
		t.Errorf("got %v, %v", ps, err)
	}
	if !slices.Equal(ids[:8], []int{0, 1, 2, 3, 4, 5, 6, 7}) {
		t.Error("TextPrompts wrote to its input")
	}
	for _, c := range []struct {
		context, chunks int
		want            string
	}{
		{2, 0, "a context of 2 tokens is out of range, want 3 to 16777216"},
		{24, 0, "the text has 23 tokens, less than one chunk of 24: use a longer text or a smaller --context, at most 23"},
		{8, 3, "the text has 23 tokens, enough for 2 chunks of 8, not for 3: use a longer text or --chunks 2"},
		{8, -1, "-1 chunks: want a positive number, or 0 for the whole text"},
	} {
		if _, err := TextPrompts(ids, c.context, c.chunks, -1); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

// Open and Compare accept or refuse any bytes without a panic.
func FuzzOpen(f *testing.F) {
	ids := raw(f, "prompt.0.input_ids", "I64", []int{2}, []int64{1, 0})
	for _, path := range []string{
		write(f, ids, raw(f, "prompt.0.logits", "F32", []int{2, 3}, []float32{1, 2, 3, 4, 5, 6})),
		write(f, ids, raw(f, "prompt.0.topk_ids", "I32", []int{2, 1}, []int32{2, 0}), raw(f, "prompt.0.topk_logits", "F32", []int{2, 1}, []float32{3, 6}),
			raw(f, "prompt.0.logsumexp", "F32", []int{2}, []float32{7, 8})),
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	path := filepath.Join(f.TempDir(), "ref")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		defer r.Close()
		for _, p := range r.Prompts() {
			d, err := r.Distribution(t.Context(), p.IDs)
			if err != nil {
				t.Fatal(err)
			}
			const most = 4 // positions of each prompt
			if err := d.Load(t.Context(), p.From, min(most, p.To-p.From)); err != nil {
				continue
			}
			got := make([]float32, cmp.Or(r.Form().Vocab, 400))
			for at := p.From; at < min(p.To, p.From+most); at++ {
				if s, err := d.Compare(new(Scratch), at, got, -1); err == nil && !(s.KL >= 0) {
					t.Errorf("position %d: kl is %v", at, s.KL)
				}
			}
		}
	})
}
