package convert

import (
	"encoding/json"
	"strings"
	"testing"
)

// What transformers 5.24 loads and ignores opens, with a note.
func TestIgnoresWithNote(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(f *checkpointFiles)
		want string // a part of a note; empty for none
	}{
		{"a head for another task", func(f *checkpointFiles) { f.tensors["score.weight"] = tensor{"F32", []int{2, 8}, nil} },
			"score.weight (1 of them): dropped, a head for another task than text"},
		{"TRL's value head", func(f *checkpointFiles) { f.tensors["v_head.summary.bias"] = tensor{"F32", []int{1}, nil} },
			"v_head.summary.bias (1 of them): dropped, a head for another task"},
		{"biases of zeros, as of GPTQ", func(f *checkpointFiles) {
			f.tensors["model.layers.0.mlp.up_proj.bias"] = tensor{"F32", []int{16}, make([]byte, 64)}
		}, "model.layers.*.mlp.up_proj.bias (1 of them): dropped, a bias of zeros"},
		{"blocks that predict further tokens", func(f *checkpointFiles) { f.tensors["model.mtp_layers.0.norm.weight"] = tensor{"F32", []int{8}, nil} },
			"dropped, what predicts further tokens"},
		{"blocks after the last that predict further tokens", func(f *checkpointFiles) {
			f.config["num_nextn_predict_layers"] = 1
			f.tensors["model.layers.2.eh_proj.weight"] = tensor{"F32", []int{8, 16}, nil}
			f.tensors["model.layers.2.mlp.up_proj.weight"] = tensor{"F32", []int{16, 8}, nil}
		}, "model.layers.2.* (2 of them): dropped, what predicts further tokens"},
		{"a tied config with a head of its own", func(f *checkpointFiles) { f.config["tie_word_embeddings"] = true },
			"both are kept, as in transformers 5; --drop lm_head.weight ties them"},
		{"an empty tied head", func(f *checkpointFiles) {
			f.config["tie_word_embeddings"] = true
			f.tensors["lm_head.weight"] = tensor{"F32", []int{0}, []byte{}}
		}, "lm_head.weight is empty: dropped"},
		{"ids of no token", func(f *checkpointFiles) { f.config["bos_token_id"], f.config["eos_token_id"] = -1, []int{2, 5} },
			"config.json: eos_token_id 5 is outside the vocabulary of 5: ignored"},
		{"end tokens of no token", func(f *checkpointFiles) { f.files["generation_config.json"] = `{"eos_token_id":[2,5]}` },
			"generation_config.json: eos_token_id 5 is outside the vocabulary of 5: ignored"},
		{"a broken generation_config.json", func(f *checkpointFiles) { f.files["generation_config.json"] = "" }, "ignored, as in transformers"},
		{"numbers of Python", func(f *checkpointFiles) {
			f.files["config.json"] = strings.Replace(jsonOf(f.config), "{", `{"time_step_limit":[0.0,Infinity],"x":NaN,`, 1)
		}, "2 keys that transformers never reads"},
		{"two spellings of a rotary embedding", func(f *checkpointFiles) {
			f.config["rope_parameters"] = map[string]any{"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
			f.config["rope_scaling"] = map[string]any{"type": "linear", "factor": 2.0}
			f.config["rope_theta"] = 10000.0
		}, ""},
		{"an old type beside rope_type", func(f *checkpointFiles) {
			f.config["rope_scaling"] = map[string]any{"type": "linear", "rope_type": "default"}
		}, `has type "linear" and rope_type "default": the second counts`},
	} {
		f := tiny()
		c.edit(f)
		m, err := Open(f.write(t), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if all := strings.Join(m.Notes, "\n"); !strings.Contains(all, c.want) {
			t.Errorf("%s: notes are\n%s\nwant %s", c.name, all, c.want)
		}
		m.Close()
	}
}

// An error of a checkpoint that lacks something says what is there in its place.
func TestSaysWhatIsThere(t *testing.T) {
	const q0 = "model.layers.0.self_attn.q_proj."
	for _, c := range []struct {
		name string
		edit func(f *checkpointFiles)
		want string
	}{
		{"a model of another task", func(f *checkpointFiles) {
			f.config["architectures"] = []string{"LlamaForSequenceClassification"}
			delete(f.tensors, "lm_head.weight")
		}, "architectures: LlamaForSequenceClassification has no head for text, and no lm_head.weight is stored; convert the model that it was trained from"},
		{"packed integers without a config", func(f *checkpointFiles) { f.rename(q0+"weight", q0+"qweight") },
			"the weights are packed integers, as " + q0 + "qweight, but config.json has no quantization_config that says how"},
		{"weights that ZeRO did not gather", func(f *checkpointFiles) { f.tensors[q0+"weight"] = tensor{"F32", []int{0}, []byte{}} },
			"shape is [0], config.json requires [8 8]; it is empty, as DeepSpeed's ZeRO stage 3 saves weights"},
	} {
		f := tiny()
		c.edit(f)
		if _, err := Open(f.write(t), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // v is part of the test
	}
	return string(b)
}
