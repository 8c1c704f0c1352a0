package convert

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

func TestFixtures(t *testing.T) {
	llama := model.Spec{Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 16, FFN: 160, Vocab: 384, Context: 256, Blocks: 3, Schedule: []int{0, 1, 2},
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: 1, EOS: []int{2}}
	biases := llama
	biases.Hidden, biases.HeadDim, biases.FFN, biases.Blocks, biases.Schedule = 56, 20, 120, 2, []int{0, 1}
	biases.Bias = model.Bias{QKV: true, O: true, FFN: true}
	llama3 := llama
	llama3.Heads, llama3.KVHeads, llama3.HeadDim = 2, 1, 32
	llama3.Rope = model.Rope{Base: 500000, Scaling: model.RopeLlama3, Factor: 8, LowFreq: 1, HighFreq: 4, Original: 32}
	linear := llama
	linear.KVHeads, linear.Blocks, linear.Schedule = 4, 2, []int{0, 1}
	linear.Rope = model.Rope{Base: 10000, Scaling: model.RopeLinear, Factor: 4}
	tied := llama
	tied.Rope.Base, tied.Tied = 100000, true
	mobile := llama
	mobile.Hidden, mobile.Heads, mobile.KVHeads, mobile.FFN, mobile.Blocks, mobile.Schedule, mobile.Tied = 48, 3, 1, 128, 4, []int{0, 1, 2, 3}, true
	sharing := mobile
	sharing.Schedule = []int{0, 0, 1, 1, 2, 2, 3, 3}
	ragged := llama
	ragged.Hidden, ragged.Heads, ragged.KVHeads, ragged.HeadDim, ragged.FFN, ragged.Vocab, ragged.Blocks, ragged.Schedule = 72, 6, 3, 12, 200, 391, 2, []int{0, 1}
	mistral := llama
	mistral.HeadDim, mistral.Attention, mistral.NormEps = 24, windows(3, 0, 21), 1e-6
	qwen2 := llama
	qwen2.Attention, qwen2.NormEps, qwen2.Rope.Base, qwen2.Bias.QKV, qwen2.Tied = windows(3, 1, 21), 1e-6, 1e6, true, true
	qwen3 := llama
	qwen3.HeadDim, qwen3.NormEps, qwen3.Rope.Base, qwen3.QKNorm = 32, 1e-6, 1e6, model.QKGain
	phi := llama
	phi.Hidden, phi.Heads, phi.KVHeads, phi.HeadDim, phi.FFN = 60, 3, 3, 20, 152
	phi.Norm, phi.Parallel, phi.Ungated, phi.Activation, phi.Rope.Dims = model.NormLayer, true, true, model.GELUTanh, 8
	phi.Bias = model.Bias{QKV: true, O: true, FFN: true, Head: true}
	gemma3 := llama
	gemma3.Blocks, gemma3.Schedule, gemma3.HeadDim, gemma3.NormEps, gemma3.Tied = 4, []int{0, 1, 2, 3}, 24, 1e-6, true
	gemma3.Norm, gemma3.QKNorm, gemma3.PostNorm, gemma3.Activation = model.NormRMS1, model.QKGain, true, model.GELUTanh
	gemma3.EmbedScale, gemma3.AttnScale = 8, 0.22360679774997896
	gemma3.Rope, gemma3.Ropes = model.Rope{Base: 1e6, Scaling: model.RopeLinear, Factor: 8}, []model.Rope{{Base: 10000}}
	gemma3.Attention = []model.Attention{{Window: 21, Rope: 1}, {Window: 21, Rope: 1}, {}, {Window: 21, Rope: 1}}
	llama4 := llama
	llama4.Blocks, llama4.Schedule, llama4.HeadDim, llama4.Tied, llama4.QKNorm = 4, []int{0, 1, 2, 3}, 24, true, model.QKBare
	llama4.Rope = model.Rope{Base: 500000, Pairs: true}
	llama4.Attention = []model.Attention{{Chunk: 21}, {Chunk: 21}, {Rope: model.NoRope}, {}}

	single := []string{"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"}
	withPieces := []string{"model.safetensors", "config.json", "tokenizer.model", "tokenizer_config.json"}
	sharded := append([]string{"model.safetensors.index.json", "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
		"model-00003-of-00003.safetensors"}, single[1:]...)
	facebook := []string{"share_embedding=true", "layer_sharing=true"}
	for _, c := range []struct {
		name      string
		set       []string
		spec      model.Spec
		kind      qtensor.Kind
		files     []string
		notes     []string
		modelType string
	}{
		{"llama-sharded", nil, llama, qtensor.F16, sharded,
			[]string{"model.layers.*.self_attn.rotary_emb.inv_freq (3 of them): dropped, computed from config.json instead"}, "llama"},
		{"llama-biases", nil, biases, qtensor.F32, single, nil, "llama"},
		{"llama3-rope", nil, llama3, qtensor.BF16, single, nil, "llama"},
		{"llama-linear", nil, linear, qtensor.F16, single, nil, "llama"},
		{"llama-tied", nil, tied, qtensor.BF16, single, nil, "llama"},
		{"mobilellm", nil, mobile, qtensor.F16, single, nil, "mobilellm"},
		{"mobilellm-ls", nil, sharing, qtensor.F16, single, nil, "mobilellm"},
		{"mobilellm-facebook", facebook, sharing, qtensor.F16, withPieces, nil, "llama"},
		{"ragged", nil, ragged, qtensor.F32, single, nil, "llama"},
		{"mistral", nil, mistral, qtensor.BF16, single, nil, "mistral"},
		{"qwen2", nil, qwen2, qtensor.BF16, single, nil, "qwen2"},
		{"qwen3", nil, qwen3, qtensor.BF16, single, nil, "qwen3"},
		{"gemma3", nil, gemma3, qtensor.BF16, single, nil, "gemma3_text"},
		{"llama4", nil, llama4, qtensor.BF16, single, nil, "llama4_text"},
		{"phi", nil, phi, qtensor.F16, single, nil, "phi"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join("..", "fixtures", c.name)
			m, err := Open(dir, Options{Set: c.set})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if diff := cmp.Diff(c.spec, m.Spec); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.notes, m.Notes); diff != "" {
				t.Error(diff)
			}
			files := slices.Clone(c.files)
			for i := range files {
				files[i] = filepath.Join(dir, files[i])
			}
			if diff := cmp.Diff(files, m.Files); diff != "" {
				t.Error(diff)
			}
			want := model.Provenance{Architecture: c.modelType, Overrides: slices.Sorted(slices.Values(c.set))}
			if diff := cmp.Diff(want.Overrides, m.Provenance.Overrides, cmp.Transformer("empty", func(s []string) string { return fmt.Sprint(s) })); diff != "" {
				t.Error(diff)
			}
			if m.Provenance.Architecture != want.Architecture || m.Path != dir {
				t.Errorf("architecture %q, path %q", m.Provenance.Architecture, m.Path)
			}
			for name, x := range m.Tensors {
				if x.Scheme != (qtensor.Scheme{Kind: c.kind}) {
					t.Errorf("%s: %v", name, x.Scheme)
				}
			}
			d, err := m.Tokenizer()
			if err != nil || d == nil || len(d.Tokens) != m.Spec.Vocab {
				t.Errorf("tokenizer: %v", err)
			}
		})
	}
}

// A file is opened with the config beside it.
func TestOpenFile(t *testing.T) {
	m, err := Open(filepath.Join("..", "fixtures", "mobilellm", "model.safetensors"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if d, err := m.Tokenizer(); err != nil || d == nil {
		t.Errorf("tokenizer: %v, %v", d, err)
	}
}

// A checkpoint is a directory to be written, small and valid until edited.
type checkpointFiles struct {
	config  map[string]any
	tensors map[string]tensor
	files   map[string]string // more files, by name
}

type tensor struct {
	dtype string
	shape []int
	data  []byte // made up where nil
}

func tiny() *checkpointFiles {
	f := &checkpointFiles{
		config: map[string]any{
			"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16,
			"vocab_size": 5, "max_position_embeddings": 32, "num_hidden_layers": 2, "rms_norm_eps": 1e-6, "hidden_act": "silu",
			"bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false, "rope_theta": 10000.0,
		},
		tensors: map[string]tensor{
			"model.embed_tokens.weight": {"F32", []int{5, 8}, nil},
			"model.norm.weight":         {"F32", []int{8}, nil},
			"lm_head.weight":            {"F32", []int{5, 8}, nil},
		},
		files: map[string]string{},
	}
	for b := range 2 {
		for name, shape := range map[string][]int{
			"input_layernorm": {8}, "post_attention_layernorm": {8},
			"self_attn.q_proj": {8, 8}, "self_attn.k_proj": {4, 8}, "self_attn.v_proj": {4, 8}, "self_attn.o_proj": {8, 8},
			"mlp.gate_proj": {16, 8}, "mlp.up_proj": {16, 8}, "mlp.down_proj": {8, 16},
		} {
			f.tensors[fmt.Sprintf("model.layers.%d.%s.weight", b, name)] = tensor{"F32", shape, nil}
		}
	}
	return f
}

// write puts the checkpoint into a new directory.
func (f *checkpointFiles) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	text, err := json.Marshal(f.config)
	if err != nil {
		t.Fatal(err)
	}
	files := maps.Clone(f.files)
	if _, own := files["config.json"]; !own {
		files["config.json"] = string(text)
	}
	var entries []string
	var data []byte
	for i, name := range slices.Sorted(maps.Keys(f.tensors)) {
		x, begin := f.tensors[name], len(data)
		if x.data == nil {
			n := map[string]int{"F32": 4, "BF16": 2, "F16": 2, "F64": 8, "I8": 1, "F8_E4M3": 1}[x.dtype]
			for _, dim := range x.shape {
				n *= dim
			}
			x.data = slices.Repeat([]byte{byte(i + 1)}, n)
		}
		data = append(data, x.data...)
		shape, _ := json.Marshal(x.shape)
		entries = append(entries, fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, name, x.dtype, shape, begin, len(data)))
	}
	header := "{" + strings.Join(entries, ",") + "}"
	if _, own := files["model.safetensors"]; !own {
		files["model.safetensors"] = string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header + string(data)
	}
	for name, text := range files {
		if text == absent {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (f *checkpointFiles) rename(from, to string) {
	f.tensors[to] = f.tensors[from]
	delete(f.tensors, from)
}

// absent as a file's text keeps write from making the file.
const absent = "\x00"

func TestRefuses(t *testing.T) {
	const q0 = "model.layers.0.self_attn.q_proj.weight"
	for _, c := range []struct {
		name string
		edit func(f *checkpointFiles)
		want string // after the directory
	}{
		{"missing tensor", func(f *checkpointFiles) { delete(f.tensors, q0) },
			": " + q0 + ": tensor is missing, want shape [8 8]"},
		{"renamed tensor", func(f *checkpointFiles) { f.rename(q0, "model.layers.0.self_attn.q_prj.weight") },
			": " + q0 + ": tensor is missing, want shape [8 8]; the checkpoint has model.layers.0.self_attn.q_prj.weight, which is unused"},
		{"other prefix", func(f *checkpointFiles) {
			for name := range maps.Clone(f.tensors) {
				f.rename(name, "transformer."+name)
			}
		}, ": model.embed_tokens.weight: tensor is missing, want shape [5 8]"},
		{"missing norm", func(f *checkpointFiles) { delete(f.tensors, "model.norm.weight") },
			": model.norm.weight: tensor is missing, want shape [8]"},
		{"extra tensor", func(f *checkpointFiles) { f.tensors["score.weight"] = tensor{"F32", []int{2, 8}, nil} },
			"/model.safetensors: score.weight: the checkpoint has this tensor, but config.json has no place for it"},
		{"bias without attention_bias", func(f *checkpointFiles) {
			f.tensors["model.layers.1.self_attn.q_proj.bias"] = tensor{"F32", []int{8}, nil}
		}, "/model.safetensors: model.layers.1.self_attn.q_proj.bias: the checkpoint has this tensor, but config.json has no place for it"},
		{"more layers than said", func(f *checkpointFiles) { f.config["num_hidden_layers"] = 1 },
			"/model.safetensors: model.layers.1.input_layernorm.weight: the checkpoint has this tensor, but config.json has no place for it"},
		{"fewer layers than said", func(f *checkpointFiles) { f.config["num_hidden_layers"] = 3 },
			": model.layers.2.input_layernorm.weight: tensor is missing, want shape [8]"},
		{"number with a zero", func(f *checkpointFiles) {
			f.tensors["model.layers.01.self_attn.rotary_emb.inv_freq"] = tensor{"F32", []int{2}, nil}
		}, "/model.safetensors: model.layers.01.self_attn.rotary_emb.inv_freq: the checkpoint has this tensor, but config.json has no place for it"},
		{"wrong shape", func(f *checkpointFiles) { f.tensors[q0] = tensor{"F32", []int{8, 6}, nil} },
			"/model.safetensors: " + q0 + ": shape is [8 6], config.json wants [8 8]"},
		{"transposed", func(f *checkpointFiles) {
			f.tensors["model.layers.1.mlp.down_proj.weight"] = tensor{"F32", []int{16, 8}, nil}
		}, "/model.safetensors: model.layers.1.mlp.down_proj.weight: shape is [16 8], config.json wants [8 16]"},
		{"vector as matrix", func(f *checkpointFiles) { f.tensors["model.norm.weight"] = tensor{"F32", []int{1, 8}, nil} },
			"/model.safetensors: model.norm.weight: shape is [1 8], config.json wants [8]"},
		{"vocabulary", func(f *checkpointFiles) { f.config["vocab_size"] = 6 },
			"/model.safetensors: model.embed_tokens.weight: shape is [5 8], config.json wants [6 8]"},
		{"integers", func(f *checkpointFiles) { f.tensors[q0] = tensor{"I8", []int{8, 8}, nil} },
			"/model.safetensors: " + q0 + ": type I8 is not supported; save the checkpoint as bfloat16, float16 or float32"},
		{"scales not announced", func(f *checkpointFiles) {
			f.tensors[q0] = tensor{"F8_E4M3", []int{8, 8}, nil}
			f.tensors[q0+"_scale"] = tensor{"F32", []int{1}, nil}
		}, "/model.safetensors: " + q0 + "_scale: the checkpoint has this tensor, but config.json has no place for it"},
		{"no scale", func(f *checkpointFiles) {
			f.tensors[q0] = tensor{"F8_E4M3", []int{8, 8}, nil}
			f.config["quantization_config"] = map[string]any{"quant_method": "fp8", "weight_block_size": []int{128, 128}}
		}, "/model.safetensors: " + q0 + "_scale_inv: scale is missing, but config.json declares scales for 8-bit floats"},
		{"scales of another shape", func(f *checkpointFiles) {
			f.tensors[q0] = tensor{"F8_E4M3", []int{8, 8}, nil}
			f.tensors[q0+"_scale_inv"] = tensor{"F32", []int{2, 1}, nil}
			f.config["quantization_config"] = map[string]any{"quant_method": "fp8", "weight_block_size": []int{4, 4}}
		}, "/model.safetensors: " + q0 + "_scale_inv: is F32 [2 1], " + q0 + " wants floats (2, 2)"},
		{"scales of integers", func(f *checkpointFiles) {
			f.tensors[q0] = tensor{"F8_E4M3", []int{8, 8}, nil}
			f.tensors[q0+"_scale"] = tensor{"I8", []int{8, 1}, nil}
			f.config["quantization_config"] = map[string]any{"quant_method": "fbgemm_fp8"}
		}, "/model.safetensors: " + q0 + "_scale: is I8 [8 1], " + q0 + " wants floats (8, 1)"},
		{"tied but different", func(f *checkpointFiles) { f.config["tie_word_embeddings"] = true },
			"/config.json: tie_word_embeddings, share_embedding: the head is tied to the embedding, but lm_head.weight is stored and differs from model.embed_tokens.weight; correct the config, or remove the tensor that was not trained"},
		{"tied, of another type", func(f *checkpointFiles) {
			f.config["tie_word_embeddings"] = true
			f.tensors["lm_head.weight"] = tensor{"BF16", []int{5, 8}, nil}
		}, "/config.json: tie_word_embeddings, share_embedding: the head is tied to the embedding, but lm_head.weight is stored and differs from model.embed_tokens.weight; correct the config, or remove the tensor that was not trained"},
		{"untied without a head", func(f *checkpointFiles) { delete(f.tensors, "lm_head.weight") },
			"/config.json: tie_word_embeddings, share_embedding: the head is not tied to the embedding, but no lm_head.weight is stored; if the embedding is the head, as in MobileLLM, add --set share_embedding=true"},
		{"no config", func(f *checkpointFiles) { f.files["config.json"] = absent },
			"/config.json: missing; copy the config.json that was saved with the checkpoint there"},
		{"no weights", func(f *checkpointFiles) { f.files["model.safetensors"] = absent },
			": no checkpoint here, want model.safetensors, pytorch_model.bin, an index of shards or consolidated.00.pth"},
		{"end token outside", func(f *checkpointFiles) { f.files["generation_config.json"] = `{"eos_token_id":[2,5]}` },
			"/generation_config.json: eos_token_id: id 5 is outside the vocabulary of 5"},
		{"generation config", func(f *checkpointFiles) { f.files["generation_config.json"] = `{"a":1,"a":1}` },
			`/generation_config.json: byte 10: key "a" occurs twice`},
		{"generation config's ids", func(f *checkpointFiles) { f.files["generation_config.json"] = `{"eos_token_id":"</s>"}` },
			`/generation_config.json: eos_token_id: want token ids, found "</s>"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := tiny()
			c.edit(f)
			dir := f.write(t)
			m, err := Open(dir, Options{})
			if err == nil {
				m.Close()
				t.Fatal("opened")
			}
			if got := err.Error(); got != dir+c.want {
				t.Errorf("got  %s\nwant %s%s", got, dir, c.want)
			}
		})
	}
}

func TestTies(t *testing.T) {
	f := tiny()
	f.tensors["lm_head.weight"] = tensor{"F32", []int{5, 8}, make([]byte, 160)}
	f.tensors["model.embed_tokens.weight"] = f.tensors["lm_head.weight"]
	for _, said := range []bool{false, true} {
		f.config["tie_word_embeddings"] = said
		m, err := Open(f.write(t), Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"lm_head.weight equals model.embed_tokens.weight byte for byte: tied, stored once"}
		if !m.Spec.Tied || m.Tensors[model.Head] != nil || !slices.Equal(m.Notes, want) {
			t.Errorf("config says %v: tied %v, notes %q", said, m.Spec.Tied, m.Notes)
		}
		m.Close()
	}
}

// Tensors lie where the file has them: nothing is copied.
func TestAliases(t *testing.T) {
	f := tiny()
	want := make([]byte, 32)
	for i := range want {
		want[i] = byte(i)
	}
	f.tensors["model.norm.weight"] = tensor{"F32", []int{8}, want}
	dir := f.write(t)
	m, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	norm := m.Tensors[model.Norm]
	if norm.Rows != 1 || norm.Cols != 8 || !slices.Equal(norm.Codes, want) {
		t.Errorf("norm is %+v", norm)
	}
	b, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(b), string(want))
	b[at] = 99
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if norm.Codes[0] != 99 {
		t.Error("norm does not alias the file")
	}
}

func TestEndTokens(t *testing.T) {
	f := tiny()
	f.files["generation_config.json"] = `{"eos_token_id":[2,3],"temperature":0.6,"_from_model_config":true}`
	dir := f.write(t)
	note := []string{"end tokens [2 3] come from generation_config.json; config.json has [2]"}
	for _, c := range []struct {
		set  []string
		eos  []int
		note []string
	}{
		{nil, []int{2, 3}, note},
		{[]string{"eos_token_id=4"}, []int{4}, nil},
		{[]string{"eos_token_id=[2,4]", "bos_token_id=null"}, []int{2, 4}, nil},
	} {
		m, err := Open(dir, Options{Set: c.set})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.Spec.EOS, c.eos) || !slices.Equal(m.Notes, c.note) {
			t.Errorf("%v: eos %v, notes %q", c.set, m.Spec.EOS, m.Notes)
		}
		if (m.Spec.BOS == -1) != (len(c.set) == 2) {
			t.Errorf("%v: bos %d", c.set, m.Spec.BOS)
		}
		m.Close()
	}
}

func TestTokenizer(t *testing.T) {
	good, err := os.ReadFile(filepath.Join("..", "fixtures", "mobilellm", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	unigram, err := os.ReadFile(filepath.Join("..", "internal", "tokenizer", "testdata", "sp-unigram-plain.model"))
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := os.ReadFile(filepath.Join("..", "fixtures", "mobilellm-facebook", "tokenizer.model"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // after the directory; empty for no error
	}{
		{"none", nil, ""},
		{"sentencepiece", map[string]string{"tokenizer.model": "x"},
			": tokenizer.model: field 15 of ModelProto is not supported; a copy of the checkpoint without its tokenizer converts without one"},
		{"unigram", map[string]string{"tokenizer.model": string(unigram)},
			": tokenizer.model: a model unlike Llama's (BPE, no normalization but a space before the text) in a checkpoint without tokenizer.json is not supported; " +
				"a copy of the checkpoint without its tokenizer converts without one"},
		{"truncated", map[string]string{"tokenizer.model": string(unigram[:9])}, ": tokenizer.model: byte 0: ModelProto: 14 bytes where 7 are left"},
		{"of another class", map[string]string{"tokenizer.model": string(pieces), "tokenizer_config.json": `{"tokenizer_class":"GemmaTokenizer"}`},
			": tokenizer_config.json: tokenizer_class GemmaTokenizer without tokenizer.json is not supported; a copy of the checkpoint without its tokenizer converts without one"},
		{"too many pieces", map[string]string{"tokenizer.model": string(pieces)}, "/tokenizer.model: 384 tokens, the embedding has 5 rows"},
		{"added with a gap", map[string]string{"tokenizer.model": string(pieces), "added_tokens.json": `{"<pad>":385}`},
			": added_tokens.json: <pad>: listed as id 385, but the vocabulary and the order of the list give it 384"},
		{"GPT-2's files", map[string]string{"vocab.json": "x", "merges.txt": "x"},
			": vocab.json: a tokenizer without tokenizer.json is not supported; load it with transformers' AutoTokenizer and save_pretrained writes tokenizer.json"},
		{"too many tokens", map[string]string{"tokenizer.json": string(good)}, "/tokenizer.json: 384 tokens, the embedding has 5 rows"},
		{"not UTF-8", map[string]string{"tokenizer.json": string(good), "chat_template.jinja": "\xff"}, "/chat_template.jinja: not UTF-8"},
	} {
		f := tiny()
		maps.Copy(f.files, c.files)
		dir := f.write(t)
		m, err := Open(dir, Options{})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		d, err := m.Tokenizer()
		switch {
		case c.want == "" && (d != nil || err != nil):
			t.Errorf("%s: %v, %v, want neither", c.name, d, err)
		case c.want != "" && (err == nil || err.Error() != dir+c.want):
			t.Errorf("%s: got  %v\nwant %s%s", c.name, err, dir, c.want)
		}
		m.Close()
	}

	f := tiny()
	f.files["tokenizer.json"], f.files["chat_template.jinja"] = `{"model":`, "{{ x }}"
	m, err := Open(f.write(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var corrupt *defect.CorruptError
	if _, err := m.Tokenizer(); !errors.As(err, &corrupt) || corrupt.File != "tokenizer.json" {
		t.Errorf("truncated tokenizer: %v", err)
	}
	if got := len(m.Files); got != 4 {
		t.Errorf("files %q, want the checkpoint, the config, the tokenizer and its template", m.Files)
	}
}

// A file that is there and cannot be read is not taken for absent.
func TestDanglingLinks(t *testing.T) {
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "fixtures", "mobilellm"))); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		os.Remove(path)
		if err := os.Symlink("nowhere", path); err != nil {
			t.Fatal(err)
		}
		m, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Tokenizer(); err == nil || !strings.HasPrefix(err.Error(), path+": a symbolic link") {
			t.Errorf("%s: %v", name, err)
		}
		m.Close()
	}
}

// The template in a file of its own is the one that counts.
func TestChatTemplate(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "fixtures", "mobilellm"))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"chat_template.jinja": "own", "tokenizer_config.json": `{"chat_template":"config's"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if d, err := m.Tokenizer(); err != nil || d.ChatTemplate != "own" {
		t.Errorf("%v, %v", d, err)
	}
}

// Every slot has a name of its own, which no other pattern matches.
func TestNames(t *testing.T) {
	specs := map[string]model.Spec{} // with all that a fixture of the architecture has
	fixtures, err := filepath.Glob(filepath.Join("..", "fixtures", "*", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fixtures {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		c, s, err := read(string(text))
		if err != nil {
			t.Fatal(err)
		}
		s.Blocks, s.Attention = 12, nil
		modelType := c.String("model_type")
		if most := specs[modelType]; len(s.Slots()) > len(most.Slots()) {
			specs[modelType] = s
		}
	}
	for modelType, a := range architectures {
		spec, ok := specs[modelType]
		if !ok {
			t.Errorf("%s has no fixture", modelType)
		}
		seen := map[string]bool{}
		for _, s := range spec.Slots() {
			name := a.names.of(s.Name)
			if name == "" || seen[name] || strings.Contains(name, "*") {
				t.Errorf("%s: %s is stored as %q", modelType, s.Name, name)
			}
			seen[name] = true
			patterns := append(slices.Collect(maps.Values(a.names.stored)), a.names.ignored...)
			if n := len(slices.DeleteFunc(patterns, func(p string) bool { return !matches(p, name) })); n != 1 {
				t.Errorf("%s: %s matches %d patterns", modelType, name, n)
			}
		}
	}
	for _, name := range []string{"a..b", "a.01.b", "a.-1.b", "a.+1.b", "a.1.b.c", "x.a.1.b", "a.1", "a.b", "a.99999999999999999999.b"} {
		if matches("a.*.b", name) {
			t.Errorf("a.*.b matches %s", name)
		}
	}
}
