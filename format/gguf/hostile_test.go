package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"thimble/format/gguf/kv"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A draft is a GGUF file that can be edited before its bytes are made.
type draft struct {
	version         uint32
	keys            []draftKey
	tensors         []draftTensor
	align           int
	count, keyCount uint64 // added to the true numbers of tensors and keys
}

type draftKey struct {
	name  string
	value []byte // with its type
}

type draftTensor struct {
	name   string
	dims   []uint64
	kind   uint32
	offset uint64 // added to the true offset
	data   []byte
}

func draftOf(t testing.TB, data []byte) *draft {
	t.Helper()
	f, err := parseFront("draft", data)
	if err != nil {
		t.Fatal(err)
	}
	d := &draft{version: version, align: alignment}
	for _, name := range f.names {
		v := f.keys[name]
		b := binary.LittleEndian.AppendUint32(nil, v.Kind)
		if v.Kind == kv.Array {
			b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(b, v.Item), uint64(v.N))
		}
		d.keys = append(d.keys, draftKey{name, append(b, v.Raw...)})
	}
	for _, x := range f.listed {
		d.tensors = append(d.tensors, draftTensor{name: x.name, dims: x.dims, kind: x.kind.ID, data: x.data})
	}
	return d
}

func (d *draft) bytes() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte(Magic), d.version)
	b = le.AppendUint64(b, uint64(len(d.tensors))+d.count)
	b = le.AppendUint64(b, uint64(len(d.keys))+d.keyCount)
	for _, k := range d.keys {
		b = append(kv.AppendString(b, k.name), k.value...)
	}
	pad := func(n int) int { return (n + d.align - 1) / d.align * d.align }
	offset := 0
	for _, t := range d.tensors {
		b = le.AppendUint32(kv.AppendString(b, t.name), uint32(len(t.dims)))
		for _, n := range t.dims {
			b = le.AppendUint64(b, n)
		}
		b = le.AppendUint64(le.AppendUint32(b, t.kind), uint64(offset)+t.offset)
		offset += pad(len(t.data))
	}
	b = append(b, make([]byte, pad(len(b))-len(b))...)
	for _, t := range d.tensors {
		b = append(b, t.data...)
		b = append(b, make([]byte, pad(len(t.data))-len(t.data))...)
	}
	return b
}

// set gives a key a value, or removes the key if value is nil.
func (d *draft) set(name string, value any) {
	i := slices.IndexFunc(d.keys, func(k draftKey) bool { return k.name == name })
	if value == nil {
		d.keys = slices.Delete(d.keys, i, i+1)
		return
	}
	if i < 0 {
		i = len(d.keys)
		d.keys = append(d.keys, draftKey{name: name})
	}
	d.keys[i].value = rawValue(value)
}

func rawValue(value any) []byte {
	le := binary.LittleEndian
	switch v := value.(type) {
	case []byte:
		return v
	case string:
		return kv.Encode(&v)
	case uint16:
		return le.AppendUint16(le.AppendUint32(nil, 2), v)
	case int:
		return kv.Encode(ptr(ptr(uint32(v))))
	case float64:
		return kv.Encode(ptr(ptr(float32(v))))
	case bool:
		return kv.Encode(ptr(&v))
	case []string:
		return kv.Encode(&v)
	case []int32:
		return kv.Encode(&v)
	case []float32:
		return kv.Encode(&v)
	}
	panic(fmt.Sprintf("no value of %T", value))
}

func (d *draft) tensor(name string) *draftTensor {
	i := slices.IndexFunc(d.tensors, func(t draftTensor) bool { return t.name == name })
	return &d.tensors[i]
}

func tinyDraft(t testing.TB) *draft {
	t.Helper()
	_, data := write(t, tiny(t, "int4/g32"))
	return draftOf(t, data)
}

// Every fault of structure or meaning is an error of one line that names it.
func TestHostile(t *testing.T) {
	const down = "blk.1.ffn_down.weight"
	set := func(name string, value any) func(*draft) { return func(d *draft) { d.set(name, value) } }
	for _, c := range []struct {
		name string
		edit func(*draft)
		want string
	}{
		{"version 1", func(d *draft) { d.version = 1 }, "GGUF version 1 (want 2 or 3) is not supported"},
		{"version 4", func(d *draft) { d.version = 4 }, "GGUF version 4"},
		{"version 0", func(d *draft) { d.version = 0 }, "byte 4: version: is 0"},
		{"big-endian", func(d *draft) { d.version = 3 << 24 }, "big-endian GGUF is not supported"},
		{"2^40 tensors", func(d *draft) { d.count = 1 << 40 }, "byte 8: number of tensors: is 10995"},
		{"65537 tensors", func(d *draft) { d.count = 1 << 16 }, "number of tensors: is 655"},
		{"2^63 keys", func(d *draft) { d.keyCount = 1 << 63 }, "byte 16: number of keys: is 92233"},
		{"a key too many", func(d *draft) { d.keyCount = 1 }, "key"},
		{"a tensor too many", func(d *draft) { d.count = 1 }, "tensor"},
		{"a key twice", func(d *draft) { d.keys = append(d.keys, d.keys[2]) }, "general.file_type: occurs twice"},
		{"a key without a name", func(d *draft) { d.keys[1].name = "" }, "key 1: is empty or not UTF-8 (0 bytes)"},
		{"a key that is no text", func(d *draft) { d.keys[1].name = "a\xff" }, "key 1: is empty or not UTF-8 (2 bytes)"},
		{"a long key", func(d *draft) { d.keys[1].name = strings.Repeat("k", 65536) }, "key 1: is 65536, want at most 65535"},
		{"a type beyond", set("general.type", []byte{13, 0, 0, 0}), "general.type: has values of type 13"},
		{"an array in an array", set("general.type", []byte{9, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}), "or an array in an array"},
		{"an endless array", set("general.type", []byte{9, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255}), "general.type: is 18446744073709551615, want at most 16777216"},
		{"an endless string", set("general.type", []byte{8, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0}), "general.type: is 4294967295, want at most 16777216"},
		{"alignment 0", set("general.alignment", 0), "general.alignment: is 0, want a power of two from 8 to 4096"},
		{"alignment 48", set("general.alignment", 48), "general.alignment: is 48"},
		{"alignment 8192", set("general.alignment", 8192), "general.alignment: is 8192"},
		{"alignment as text", set("general.alignment", "32"), "general.alignment: is of type string, want u32"},
		{"another alignment", set("general.alignment", 4096), "its data is at"},
		{"a tensor twice", func(d *draft) { d.tensors[3].name = d.tensors[2].name }, "blk.0.attn_q.weight: occurs twice"},
		{"a name of 64 bytes", func(d *draft) { d.tensors[3].name = strings.Repeat("n", 64) }, "tensor 3: is 64, want at most 63"},
		{"no dimensions", func(d *draft) { d.tensors[3].dims = nil }, "has 0 dimensions"},
		{"five dimensions", func(d *draft) { d.tensors[3].dims = []uint64{1, 1, 1, 1, 1} }, "has 5 dimensions"},
		{"three dimensions", func(d *draft) { d.tensor(down).dims = []uint64{96, 32, 2} }, down + ": shape is (2, 32, 96), the keys require (64, 96)"},
		{"four dimensions", func(d *draft) { d.tensor(down).dims = []uint64{96, 32, 1, 2} }, down + ": a tensor of 4 dimensions is not supported"},
		{"a product of dimensions", func(d *draft) { d.tensor(down).dims = []uint64{96, 1 << 24, 1 << 24} }, down + ": a tensor of 3 dimensions is not supported"},
		{"a dimension of 0", func(d *draft) { d.tensor(down).dims[1] = 0 }, down + ": dimension 1 is 0"},
		{"a dimension of 2^63", func(d *draft) { d.tensor(down).dims[1] = 1 << 63 }, down + ": dimension 1 is 9223372036854775808"},
		{"a product beyond the file", func(d *draft) { d.tensor(down).dims[1] = 1 << 25 }, down + ": takes"},
		{"a dimension that blocks do not divide", func(d *draft) { d.tensor(down).dims[0] = 97 }, "Q4_0: 97 columns are not a multiple of its block of 32"},
		{"a type that is not read", func(d *draft) { d.tensor(down).kind = 15 }, down + ": type Q8_K is not supported; ggml has it for activations"},
		{"a type that ggml does not have", func(d *draft) { d.tensor(down).kind = 99 }, down + ": its type is 99"},
		{"another type", func(d *draft) { d.tensor(down).kind = 8 }, "its data is at"},
		{"an offset beyond", func(d *draft) { d.tensor(down).offset = 32 }, down + ": its data is at"},
		{"an offset that wraps", func(d *draft) { d.tensor(down).offset = math.MaxUint64 - 31 }, down + ": its data is at"},
		{"a shape against the keys", set("llama.feed_forward_length", 64), "blk.0.ffn_gate.weight: shape is (96, 64), the keys require (64, 64)"},
		{"a tensor missing", func(d *draft) { d.tensor(down).name = "blk.1.ffn_dwon.weight" }, down + ": tensor is missing, want shape (64, 96)"},
		{"a tensor left over", func(d *draft) {
			d.tensors = append(d.tensors, draftTensor{name: "blk.0.magic.weight", dims: []uint64{2}, data: make([]byte, 8)})
		}, "blk.0.magic.weight: this tensor in architecture llama is not supported"},
		{"a gain in blocks", func(d *draft) {
			x := d.tensor("output_norm.weight")
			x.kind, x.data = 8, x.data[:68]
		}, "output_norm.weight: is stored as Q8_0, a vector is F32"},
		{"a gain in two dimensions", func(d *draft) { d.tensor("output_norm.weight").dims = []uint64{32, 2} }, "output_norm.weight: shape is (2, 32)"},
		{"no architecture", set("general.architecture", nil), "general.architecture: the key is missing"},
		{"an architecture that is not known", set("general.architecture", "mam\x1bba"), `general.architecture: "\"mam\\x1bba\"" (want apertus, arcee, bloom, chatglm, cohere2, command-r,`},
		{"a split file", set("split.count", uint16(3)), "split.count: is one of 3 files of a split model, but its name does not end in -00001-of-00003.gguf; give the files their names back"},
		{"no width", set("llama.embedding_length", nil), "llama.embedding_length: the key is missing"},
		{"a width as text", set("llama.embedding_length", "64"), "llama.embedding_length: is of type string, want u32"},
		{"no causal mask", set("llama.attention.causal", false), "llama.attention.causal: the key, of type bool, is not supported"},
		{"a mean of positions", set("llama.pooling_type", 1), "llama.pooling_type: the key, of type u32, is not supported"},
		{"other heads in a block", func(d *draft) {
			d.set("llama.block_count", 2)
			d.set("llama.attention.head_count_kv", []int32{2, 1})
		}, "llama.attention.head_count_kv: [2 1] in architecture llama is not supported"},
		{"heads for each block", set("llama.attention.head_count", []int32{4, 4}), "llama.attention.head_count: is of type array of i32, want u32"},
		{"2^32-1 blocks", set("llama.block_count", -1), "blocks is "},
		{"no heads", set("llama.attention.head_count", 0), "heads is 0"},
		{"a key that may change the result", set("llama.attention.clamp_kqv", 8.0), "llama.attention.clamp_kqv: the key, of type f32, is not supported"},
		{"two keys that may change the result", func(d *draft) {
			d.set("llama.attention.clamp_kqv", 8.0)
			d.set("llama.attention.scale_of_values", 8.0)
		}, "2 keys are not supported: llama.attention.clamp_kqv (f32), llama.attention.scale_of_values (f32)"},
		{"a key of a newer thimble", set("thimble.magic", true), "thimble.magic: the key, of type bool, is not supported"},
		{"a window that llama.cpp ignores", set("llama.attention.sliding_window", 16), "llama.attention.sliding_window: 16 in architecture llama is not supported"},
		{"experts", set("llama.expert_count", 8), "llama.expert_used_count: the key is missing"},
		{"longrope", set("llama.rope.scaling.type", "longrope"), `llama.rope.scaling.type: "longrope" is not supported`},
		{"values of another width", set("llama.attention.value_length", 32), "llama.attention.value_length: 32 with keys of 16"},
		{"an epsilon that is no number", set("llama.attention.layer_norm_rms_epsilon", math.NaN()), "llama.attention.layer_norm_rms_epsilon: NaN"},
		{"sources without digests", set("thimble.source.sha256", nil), "thimble.source: 1 names, 1 lengths and 0 digests"},
		{"an order of one channel", set("thimble.channels", []int32{0}), "thimble.channels: is an order of 1 channels, the model has "},
		{"a digest that is none", set("thimble.source.sha256", []string{"xyz"}), "thimble.source: source 0"},
		{"a bool that is neither", set("tokenizer.ggml.add_bos_token", []byte{7, 0, 0, 0, 2}), "tokenizer.ggml.add_bos_token: bool 0 is 2, want"},
		{"text that is none", set("tokenizer.ggml.pre", "a\xff"), "tokenizer.ggml.pre: string 0"},
		{"another tokenizer", set("tokenizer.ggml.model", "rwkv"), `tokenizer.ggml.model: "rwkv" is not supported`},
		{"a split that is not known", set("tokenizer.ggml.pre", "deepseek-99"), `tokenizer.ggml.pre: "deepseek-99" is not supported`},
		{"a normalizer", set("tokenizer.ggml.normalizer.lowercase", true), "tokenizer.ggml.normalizer.lowercase: the key, of type bool, is not supported"},
		{"too few types", set("tokenizer.ggml.token_type", []int32{1, 1}), "tokenizer.ggml.token_type: 2 types of 9 tokens"},
		{"a token of bytes", set("tokenizer.ggml.token_type", []int32{3, 3, 1, 1, 1, 1, 6, 5, 5}), "tokenizer.ggml.token_type: 6, of token 6, is not supported"},
		{"pieces without scores", set("tokenizer.ggml.model", "llama"), "tokenizer.ggml.scores: 0 scores and 9 types of 9 tokens"},
		{"a map of characters", set("tokenizer.ggml.precompiled_charsmap", []int32{1}), "tokenizer.ggml.precompiled_charsmap: the key, of type array of i32, is not supported"},
		{"a merge of one", set("tokenizer.ggml.merges", []string{"Ġab"}), `tokenizer.ggml.merges: merge 0, "Ġab", is not of two tokens`},
		{"a merge into nothing", set("tokenizer.ggml.merges", []string{"a a"}), "which is not a token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := tinyDraft(t)
			c.edit(d)
			refusedFile(t, d.bytes(), c.want)
		})
	}
}

// Keys that change nothing are accepted, and unknown keys are noted.
func TestHarmless(t *testing.T) {
	d := tinyDraft(t)
	d.version = 2
	d.align = 64
	d.set("general.alignment", 64)
	d.set("general.author", "nobody")
	d.set("split.count", uint16(1))
	d.set("llama.expert_count", 0)
	d.set("llama.attention.sliding_window", 1<<20)
	d.set("llama.tensor_data_layout", "Meta AI original pth")
	d.set("quantize.imatrix.file", "x.dat")
	d.set("hobby.colour", "green")
	d.set("tokenizer.ggml.scores", []float32{1})
	d.set("tokenizer.ggml.fim_pre_token_id", 3)
	d.set("tokenizer.ggml.eot_token_id", 1)
	d.set("tokenizer.ggml.padding_token_id", -1) // 4294967295
	d.set("tokenizer.ggml.eom_token_id", -1)
	d.set("llama.attention.layer_norm_epsilon", 1e-5)
	d.set("llama.rope.scaling.yarn_log_multiplier", 0.1)
	d.set("tokenizer.ggml.unknown_token_id", -1)
	d.set("tokenizer.ggml.eog_token_ids", []int32{1, 2, -1})
	d.set("llama.rope.scaling.attn_factor", 1.0)
	d.set("llama.attention.causal", true)
	d.set("llama.pooling_type", 0)
	d.set("llama.logit_scale", 1.0)
	d.set("llama.attention.clamp_kqv", 0.0)
	blocks := int(le.Uint32(d.keys[slices.IndexFunc(d.keys, func(k draftKey) bool { return k.name == "llama.block_count" })].value[4:]))
	d.set("llama.attention.head_count_kv", slices.Repeat([]int32{2}, blocks))
	d.set("llama.feed_forward_length", slices.Repeat([]int32{96}, blocks))
	m := opened(t, append(d.bytes(), make([]byte, 1000)...)) // and padded
	if !slices.Equal(m.Spec.EOS, []int{1, 2}) {
		t.Errorf("end tokens are %v, want 1 and 2", m.Spec.EOS)
	}
	if want := []string{"key hobby.colour is unknown and has no effect"}; !slices.Equal(m.Notes, want) {
		t.Errorf("notes are %q, want %q", m.Notes, want)
	}
	if _, err := m.Tokenizer(); err != nil {
		t.Error(err)
	}
	plain := opened(t, tinyDraft(t).bytes())
	ids := []int{0, 3, 1, 4}
	sameBits(t, "logits", logits(t, m, ids), logits(t, plain, ids))

	last := tinyDraft(t).bytes() // without what pads the last tensor
	x := &plain.Tensors[model.Head].Codes
	opened(t, last[:len(last)-(32-len(*x)%32)%32])
}

// Ids that no token has are those of llama.cpp, with a note, and scores may be whole numbers.
func TestIDsBeyondTheVocabulary(t *testing.T) {
	d := tinyDraft(t)
	d.set("tokenizer.ggml.bos_token_id", 9)
	d.set("tokenizer.ggml.eos_token_id", 100)
	d.set("thimble.eos_token_ids", nil)
	m := opened(t, d.bytes())
	if want := []string{"the vocabulary of 9 has no id bos 9 or eos 100: ignored, as in llama.cpp"}; m.Spec.BOS != -1 || len(m.Spec.EOS) != 0 || !slices.Equal(m.Notes, want) {
		t.Errorf("bos %d, eos %v, notes %q", m.Spec.BOS, m.Spec.EOS, m.Notes)
	}
	d.set("tokenizer.ggml.model", "llama")
	d.set("tokenizer.ggml.token_type", []int32{2, 3, 3, 1, 1, 1, 1, 1, 1})
	d.set("tokenizer.ggml.scores", []int32{0, 0, 0, -1, -2, -3, -4, -5, -6})
	m = opened(t, d.bytes())
	if m.Spec.BOS != 1 || !slices.Equal(m.Spec.EOS, []int{2}) {
		t.Errorf("pieces: bos %d, eos %v", m.Spec.BOS, m.Spec.EOS)
	}
	if tokens, err := m.Tokenizer(); err != nil || tokens.Scores[5] != -3 {
		t.Errorf("pieces: %v", err)
	}
}

// Every prefix of a file is refused. A flipped bit of its front is refused or gives
// a complete model.
func TestDamaged(t *testing.T) {
	data := tinyDraft(t).bytes()
	path := saved(t, data)
	use := func(b []byte) error {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return useAll(path)
	}
	for n := 0; n < len(data)-32; n += 1 + n/100 {
		if err := use(data[:n]); err == nil {
			t.Errorf("the first %d of %d bytes open", n, len(data))
		}
	}
	if use(append(slices.Clone(data), 1)) == nil || use(append(slices.Clone(data), make([]byte, 1<<20+32)...)) == nil {
		t.Error("bytes after the last tensor are not seen")
	}
	f, err := parseFront(path, data)
	if err != nil {
		t.Fatal(err)
	}
	front := len(data) - len(data[f.listed[0].at:]) // the keys
	for i := 0; i < front; i += 7 {
		data[i] ^= 1 << (i % 8)
		if err := use(data); err != nil && strings.ContainsAny(err.Error(), "\n\x1b\x00") {
			t.Errorf("byte %d: %q is not one line", i, err)
		}
		data[i] ^= 1 << (i % 8)
	}
	for i := front; i < int(f.listed[len(f.listed)-1].at); i += 11 { // names, shapes, types and offsets all tell
		data[i] ^= 1 << (i % 8)
		if err := use(data); err == nil {
			t.Errorf("byte %d of the table may be anything", i)
		}
		data[i] ^= 1 << (i % 8)
	}
	if err := use(data); err != nil {
		t.Error(err)
	}
}

// useAll opens a file and reads every value in it.
func useAll(path string) error {
	m, err := Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	return readAll(m)
}

func readAll(m *model.Model) error {
	var r qtensor.Reader
	for _, x := range m.Tensors {
		row := make([]float32, x.Cols)
		for i := range x.Rows {
			r.Row(row, x, i)
		}
	}
	_, err := m.Tokenizer()
	return err
}

func FuzzOpen(f *testing.F) {
	f.Add(tinyDraft(f).bytes())
	short := tinyDraft(f)
	short.tensors = short.tensors[:1]
	f.Add(short.bytes())
	f.Add([]byte("GGUF\x03\x00\x00\x00"))
	other := tinyDraft(f)
	other.set("general.architecture", "gemma3")
	f.Add(other.bytes())
	for _, name := range []string{"qwen35", "qwen3next", "gemma4", "gemma3n"} {
		f.Add(writtenAs(f, name, filled(f, deltaSpecs()[name])))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m *model.Model
		file, err := parseFront("fuzz.gguf", data)
		if err == nil {
			m, err = file.model()
		}
		if err == nil {
			err = readAll(m)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("%q is not one line", err)
		}
	})
}
