package convert

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/internal/model"
)

// A file is opened with the config in the same folder.
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

// checkpointFiles is a directory to be written, small and valid until edited.
type checkpointFiles struct {
	config  map[string]any
	tensors map[string]tensor
	files   map[string]string // more files, by name
}

type tensor struct {
	dtype string
	shape []int
	data  []byte // made up if nil
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
			f.tensors["ema.model.norm.weight"] = tensor{"F32", []int{8}, nil}
		}, ": model.embed_tokens.weight: tensor is missing, want shape [5 8]"},
		{"missing norm", func(f *checkpointFiles) { delete(f.tensors, "model.norm.weight") },
			": model.norm.weight: tensor is missing, want shape [8]"},
		{"bias without attention_bias", func(f *checkpointFiles) {
			f.tensors["model.layers.1.self_attn.q_proj.bias"] = tensor{"F32", []int{8}, nil}
		}, "/model.safetensors: model.layers.1.self_attn.q_proj.bias: the checkpoint has this tensor, but config.json describes a model without it; if it does not belong to the model, --drop model.layers.1.self_attn.q_proj.bias leaves it out"},
		{"more layers than said", func(f *checkpointFiles) { f.config["num_hidden_layers"] = 1 },
			"/model.safetensors: the checkpoint has 9 tensors, but config.json describes a model without them: model.layers.1.*; num_hidden_layers of config.json is 1, the checkpoint stores 2 blocks: if all belong to it, --set num_hidden_layers=2 corrects it; if they do not belong to the model, --drop 'model.layers.1.*' leaves them out"},
		{"fewer layers than said", func(f *checkpointFiles) { f.config["num_hidden_layers"] = 3 },
			": model.layers.2.input_layernorm.weight: tensor is missing, want shape [8]; num_hidden_layers of config.json is 3, the checkpoint stores 2 blocks: if no file is missing, --set num_hidden_layers=2 corrects it"},
		{"no width said", func(f *checkpointFiles) { delete(f.config, "hidden_size"); f.config["head_dim"] = 4 },
			"/model.safetensors: model.embed_tokens.weight: shape is [5 8], config.json requires [5 4096]; config.json lacks 1 size, so transformers' defaults count: hidden_size 4096; if the model has others, add them there or with --set hidden_size=N"},
		{"vocabulary is null", func(f *checkpointFiles) { f.config["vocab_size"] = nil },
			"/model.safetensors: model.embed_tokens.weight: shape is [5 8], config.json requires [32000 8]; if the embedding was resized, --set vocab_size=5 corrects the config; config.json lacks 1 size, so transformers' defaults count: vocab_size 32000; if the model has others, add them there or with --set vocab_size=N"},
		{"number with a zero", func(f *checkpointFiles) {
			f.tensors["model.layers.01.self_attn.bias"] = tensor{"F32", []int{2}, nil}
		}, "/model.safetensors: model.layers.01.self_attn.bias: the checkpoint has this tensor, but config.json describes a model without it; if it does not belong to the model, --drop model.layers.01.self_attn.bias leaves it out"},
		{"an unmerged adapter", func(f *checkpointFiles) {
			f.tensors["model.layers.0.self_attn.q_proj.lora_A.weight"] = tensor{"F32", []int{2, 8}, nil}
		}, "/model.safetensors: model.layers.0.self_attn.q_proj.lora_A.weight: a LoRA adapter that is not merged into the weights is not supported; if the checkpoint is an adapter, name the base model and --lora with the directory of the adapter; otherwise merge it with merge_and_unload of peft"},
		{"config is a pointer", func(f *checkpointFiles) {
			f.files["config.json"] = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n"
		}, "/config.json: a Git LFS pointer, not the file that it stands for; run git lfs pull in its repository"},
		{"strangers", func(f *checkpointFiles) {
			for _, name := range []string{"model.layers.0.router.weight", "model.layers.1.router.weight", "gate.weight"} {
				f.tensors[name] = tensor{"F32", []int{2}, nil}
			}
		}, "/model.safetensors: the checkpoint has 3 tensors, but config.json describes a model without them: gate.weight, model.layers.*.router.weight; " +
			"if they do not belong to the model, --drop 'gate.weight' --drop 'model.layers.*.router.weight' leave them out"},
		{"wrong shape", func(f *checkpointFiles) { f.tensors[q0] = tensor{"F32", []int{8, 6}, nil} },
			"/model.safetensors: " + q0 + ": shape is [8 6], config.json requires [8 8]"},
		{"transposed", func(f *checkpointFiles) {
			f.tensors["model.layers.1.mlp.down_proj.weight"] = tensor{"F32", []int{16, 8}, nil}
		}, "/model.safetensors: model.layers.1.mlp.down_proj.weight: shape is [16 8], config.json requires [8 16]"},
		{"vector as matrix", func(f *checkpointFiles) { f.tensors["model.norm.weight"] = tensor{"F32", []int{1, 8}, nil} },
			"/model.safetensors: model.norm.weight: shape is [1 8], config.json requires [8]"},
		{"vocabulary", func(f *checkpointFiles) { f.config["vocab_size"] = 6 },
			"/model.safetensors: model.embed_tokens.weight: shape is [5 8], config.json requires [6 8]; if the embedding was resized, --set vocab_size=5 corrects the config"},
		{"integers", func(f *checkpointFiles) { f.tensors[q0] = tensor{"I8", []int{8, 8}, nil} },
			"/model.safetensors: " + q0 + ": type I8 is not supported; save the checkpoint as bfloat16, float16 or float32"},
		{"scales not announced", func(f *checkpointFiles) {
			f.tensors[q0] = tensor{"F8_E4M3", []int{8, 8}, nil}
			f.tensors[q0+"_scale"] = tensor{"F32", []int{1}, nil}
		}, "/model.safetensors: " + q0 + "_scale: the checkpoint has this tensor, but config.json describes a model without it; if it does not belong to the model, --drop " + q0 + "_scale leaves it out"},
		{"no scale", func(f *checkpointFiles) {
			f.tensors[q0] = tensor{"F8_E4M3", []int{8, 8}, nil}
			f.config["quantization_config"] = map[string]any{"quant_method": "fp8", "weight_block_size": []int{128, 128}}
		}, "/model.safetensors: " + q0 + "_scale_inv: scale is missing, but config.json declares scales for 8-bit floats"},
		{"scales of another shape", func(f *checkpointFiles) {
			f.tensors[q0] = tensor{"F8_E4M3", []int{8, 8}, nil}
			f.tensors[q0+"_scale_inv"] = tensor{"F32", []int{2, 1}, nil}
			f.config["quantization_config"] = map[string]any{"quant_method": "fp8", "weight_block_size": []int{4, 4}}
		}, "/model.safetensors: " + q0 + "_scale_inv: is F32 [2 1], " + q0 + " requires floats (2, 2)"},
		{"scales of integers", func(f *checkpointFiles) {
			f.tensors[q0] = tensor{"F8_E4M3", []int{8, 8}, nil}
			f.tensors[q0+"_scale"] = tensor{"I8", []int{8, 1}, nil}
			f.config["quantization_config"] = map[string]any{"quant_method": "fbgemm_fp8"}
		}, "/model.safetensors: " + q0 + "_scale: is I8 [8 1], " + q0 + " requires floats (8, 1)"},
		{"untied without a head", func(f *checkpointFiles) { delete(f.tensors, "lm_head.weight") },
			"/config.json: tie_word_embeddings, share_embedding: the head is not tied to the embedding, but no lm_head.weight is stored; if the embedding is the head, add --set tie_word_embeddings=true, or --set share_embedding=true for MobileLLM"},
		{"no config", func(f *checkpointFiles) { f.files["config.json"] = absent },
			"/config.json: missing; copy the config.json that was saved with the checkpoint there"},
		{"no weights", func(f *checkpointFiles) { f.files["model.safetensors"] = absent },
			": no checkpoint here, want model.safetensors, pytorch_model.bin, an index of shards or consolidated.00.pth; give the folder that holds the weights, or download them into this one"},
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
		want := []string{"lm_head.weight equals model.embed_tokens.weight byte for byte: tied, stored once", noTokenizer}
		if !m.Spec.Tied || m.Tensors[model.Head] != nil || !slices.Equal(m.Notes, want) {
			t.Errorf("config says %v: tied %v, notes %q", said, m.Spec.Tied, m.Notes)
		}
		m.Close()
	}
}

// Tensors alias the file: nothing is copied.
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

// Values that change nothing are not kept, and do_sample decides whether any are.
func TestGeneration(t *testing.T) {
	for _, tt := range []struct {
		text, note string
		want       model.Generation
	}{
		{`{"do_sample":true,"temperature":0.6,"top_p":0.9,"top_k":20,"min_p":0.05,"repetition_penalty":1.05}`, "",
			model.Generation{Temperature: 0.6, TopP: 0.9, TopK: 20, MinP: 0.05, RepetitionPenalty: 1.05}},
		{`{"do_sample":true,"top_p":1.0,"min_p":null,"repetition_penalty":1.0}`, "", model.Generation{Temperature: 1}},
		{`{"temperature":0.7}`, "", model.Generation{Temperature: 0.7}},
		{`{"do_sample":false,"temperature":0.7,"top_k":3,"repetition_penalty":1.2}`, "", model.Generation{RepetitionPenalty: 1.2}},
		{`{"top_k":50,"top_p":0.5}`, "", model.Generation{}},
		{`{"do_sample":true,"temperature":-1}`, "generation_config.json: temperature is -1, want 0 to 1000000: its sampling is ignored", model.Generation{}},
	} {
		f := tiny()
		f.files["generation_config.json"] = tt.text
		m, err := Open(f.write(t), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if m.Generation != tt.want || tt.note != "" && !slices.Contains(m.Notes, tt.note) {
			t.Errorf("%s: %+v, want %+v; notes %q", tt.text, m.Generation, tt.want, m.Notes)
		}
		m.Close()
	}
	f := tiny()
	f.files["generation_config.json"] = `{"temperature":"hot"}`
	if _, err := Open(f.write(t), Options{}); err == nil || !strings.Contains(err.Error(), `temperature: want a number, found "hot"`) {
		t.Error(err)
	}
}

func TestEndTokens(t *testing.T) {
	f := tiny()
	f.files["generation_config.json"] = `{"eos_token_id":[2,3],"temperature":0.6,"_from_model_config":true}`
	dir := f.write(t)
	none := []string{noTokenizer}
	note := []string{"end tokens [2 3] come from generation_config.json; config.json has [2]", noTokenizer}
	for _, c := range []struct {
		set  []string
		eos  []int
		note []string
	}{
		{nil, []int{2, 3}, note},
		{[]string{"eos_token_id=4"}, []int{4}, none},
		{[]string{"eos_token_id=[2,4]", "bos_token_id=null"}, []int{2, 4}, none},
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

// A file that exists and cannot be read is not treated as absent.
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
