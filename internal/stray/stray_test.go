package stray

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLook(t *testing.T) {
	archive := func(names ...string) string {
		var b strings.Builder
		z := zip.NewWriter(&b)
		for _, name := range names {
			if _, err := z.Create(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const pointerFile = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
	header := func(text string) string { return string([]byte{byte(len(text)), 0, 0, 0, 0, 0, 0, 0}) + text }
	dir := t.TempDir()
	for i, c := range []struct{ content, want string }{
		{"", "an empty file"},
		{"Once upon a time.\n", "a text; give it to thimble quantize --calib"},
		{strings.Repeat("x", headBytes-1) + "é and more", "a text; give it"},
		{"Note: this is prose.\n", "a text; give it"},
		{"\x00\x01\x02\x03 unknown", ""},
		{"\xe9t\xe9", ""}, // Latin-1
		{"\xff\xfeh\x00i\x00", "a text in UTF-16"},
		{`{"version": "1.0", "added_tokens": [{"id": 0}], "model": {"vocab": {}}}`, "a tokenizer, not the weights"},
		{`{"tokenizer_class": "X", "model_max_length": 1}`, "the tokenizer's configuration"},
		{`{"architectures": ["X"], "model_type": "llama", "eos_token_id": 2}`, "the configuration of a Hugging Face directory"},
		{`{"metadata": {}, "weight_map": {}}`, "the index of the shards"},
		{"{\n \"format\": \"thimble survey\",\n \"schemes\": [], \"costs\": {}}", "a saved survey; give it to thimble quantize --stats"},
		{`{"schema": 1, "gates": [], "metrics": {}}`, "a report of thimble verify; give it to thimble verify --baseline"},
		{`{"prefill_tokens_per_second": [1]}`, "a result of thimble bench"},
		{`{"peft_type": "LORA"}`, "the configuration of a LoRA adapter"},
		{`{"a": [[1], {"model": 2}], "b": {"added_tokens": 1}, "c": null}`, "a JSON file with a, b, c; name"},
		{`{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}`, "a JSON file with a, b, c, d, ...; name"},
		{`[1, 2]`, "a JSON file; name"},
		{`{"a": [1, 2`, "damaged or cut-off JSON"},
		{"{\"prompt\": \"x\", \"choices\": [\"a\"], \"answer\": 0}\n{\"prompt\": \"y\"}\n", "a tasks file; give it to thimble verify --tasks"},
		{"{\"messages\": []}\n{\"messages\": []}\n", "a file of conversations or texts"},
		{"# gates\ngates: [kl<=0.05]\nstrict: true\n", "a policy; give it to thimble verify --policy"},
		{"scheme: int4/g32\nembedding: int8/g32\n", "a recipe; give it to thimble quantize --recipe"},
		{"- size: 92MB\n", "rows for thimble curve"},
		{"<!DOCTYPE html><p>404", "a web page"},
		{"<svg xmlns", "a picture"},
		{"models: [a]\nrecipes: [{scheme: f16}]\ntexts: [t]\n", "a plan; give it to thimble sweep"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "a private key; keep it secret"},
		{"-----BEGIN PRIVATE KEY-----\nAAAA\n", "a private key; keep it secret"},
		{"ssh-ed25519 AAAA alice@example.org\n", "a public key; check a model's signature with it: thimble inspect MODEL --trust"},
		{"-----BEGIN SSH SIGNATURE-----\nAAAA\n", "a signature; name the model beside it"},
		{pointerFile, "a Git LFS pointer"},
		{header(`{"prompt.0.input_ids":{"dtype":"I64"}}`), "a reference file with logits; give it to thimble verify MODEL --reference"},
		{header(`{"base.q_proj.lora_A.weight":{}}`), "a LoRA adapter"},
		{header(`{"model.norm.weight":{}}`), ""},
		{"_logits_\x00\x00", "a base file of llama-perplexity"},
		{"GGUF\x03\x00\x00\x00general.type\x08\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00imatrix", "an importance matrix"},
		{"GGUF\x03\x00\x00\x00general.type\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00model", ""},
		{"GGUF\x03\x00\x00\x00general.type", ""},
		{"\x02\x00\x00\x00\x13\x00\x00\x00blk.0.attn_q.weight\x01", "an importance matrix"},
		{"\x02\x00\x00\x00\xff\xff\xff\xff", ""},
		{"thimble unfinished 1\n", "the finished blocks of an interrupted run"},
		{"\x89PNG\r\n\x1a\n", "an image"},
		{"\x1f\x8b\x08", "a compressed file; unpack it"},
		{strings.Repeat("\x00", 257) + "ustar", "a tar archive"},
		{archive("a/config.json", "a/model.safetensors"), "a zip archive with a model"},
		{archive("x.txt"), "a zip archive; unpack it"},
		{archive("w.npy"), "a NumPy archive"},
		{archive("m/data.pkl"), ""},
		{"PK\x03\x04 cut off", ""},
		{"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02", "a sentencepiece tokenizer"},
	} {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		got, ok := Look(path)
		if ok != (c.want != "") || !strings.HasPrefix(got, c.want) || strings.ContainsRune(got, '\n') {
			t.Errorf("case %d, %.40q: %q, want %q", i, c.content, got, c.want)
		}
	}

	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return filepath.Dir(path)
	}
	if err := os.Mkdir(filepath.Join(dir, "nothing"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("pointer/config.json", "{}")
	write("trained/checkpoint-1000/config.json", "{}")
	write("trained/checkpoint-x/config.json", "{}")
	write("beside/a/config.json", "{}")
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "missing"), ""},
		{filepath.Join(dir, "nothing"), "an empty directory"},
		{write("gguf/m.gguf", "GGUF"), "a directory with model files; name one of them, such as " + filepath.Join(dir, "gguf", "m.gguf")},
		{write("adapter/adapter_config.json", "{}"), "a LoRA adapter"},
		{filepath.Dir(write("models/a/config.json", "{}")), "a directory of models; name one of them, such as " + filepath.Join(dir, "models", "a")},
		{write("pointer/model.safetensors", pointerFile), "its model.safetensors is a Git LFS pointer"},
		{write("plain/config.json", "{}"), ""},
		{write("beside/m.gguf", "GGUF"), "a directory with model files; name one of them, such as " + filepath.Join(dir, "beside", "m.gguf")},
		{write("beside2/adapter_config.json", `{"base_model_name_or_path":"a/b\n"}`), `a LoRA adapter of "a/b\n"; name its base model, and the adapter with --lora: thimble convert "a/b\n" --lora `},
		{write("whole/model.safetensors", "x"), ""},
		{write("whole/adapter_config.json", "{}"), ""}, // what is wrong with the weights matters more
		{write("page/model.safetensors", " <!DOCTYPE html>"), "its model.safetensors is a web page"},
		{write("page2/config.json", "\ufeff<html>"), "its config.json is a web page"},
		{filepath.Dir(write("trained/checkpoint-500/config.json", "{}")), "a directory of checkpoints of one training; name one of them, such as the last, " + filepath.Join(dir, "trained", "checkpoint-1000")},
		{filepath.Dir(filepath.Dir(write("models--a--b/snapshots/f00/config.json", "{}"))), "a directory of the Hugging Face cache; name the snapshot with the model: " + filepath.Join(dir, "models--a--b", "snapshots", "f00")},
		{filepath.Dir(write("models--a--b/snapshots/f00/config.json", "{}")), "a directory of the Hugging Face cache; name the snapshot with the model: " + filepath.Join(dir, "models--a--b", "snapshots", "f00")},
		{filepath.Dir(filepath.Dir(filepath.Dir(write("cache/models--a--b/snapshots/f00/m.gguf", "GGUF")))), "a directory of the Hugging Face cache; name the snapshot with the model: for example"},
		{filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(write("hf/hub/models--a--b/snapshots/f00/config.json", "{}"))))), "a directory of the Hugging Face cache; name the snapshot with the model: for example"},
		{filepath.Dir(write("llama/original/params.json", "{}")), "a directory of models; name one of them, such as " + filepath.Join(dir, "llama", "original")},
		{write("dcp/__0_0.distcp", ""), "a distributed checkpoint of PyTorch; join it: python -m torch"},
		{filepath.Dir(write("fsdp/pytorch_model_fsdp_0/x", "")), "a checkpoint of FSDP in shards; join it: accelerate merge-weights " + filepath.Join(dir, "fsdp", "pytorch_model_fsdp_0")},
		{write("ds/zero_to_fp32.py", ""), "a checkpoint of DeepSpeed in shards; join it: python"},
		{write("rank/mp_rank_00_model_states.pt", ""), "shards of DeepSpeed"},
		{write("fp16/model.fp16.safetensors", ""), "a directory whose weights are the variant fp16; name the file: " + filepath.Join(dir, "fp16", "model.fp16.safetensors")},
		{write("fp16s/pytorch_model.bin.index.fp16.json", ""), "a directory whose weights are the variant fp16; to open it, cp " + filepath.Join(dir, "fp16s", "pytorch_model.bin.index.fp16.json") + " " + filepath.Join(dir, "fp16s", "pytorch_model.bin.index.json")},
		{write("shards/model-00001-of-00002.safetensors", ""), "a directory of shards without their index"},
		{write("flax/flax_model.msgpack", ""), "a directory with weights of Flax"},
	} {
		got, ok := Look(c.path)
		if ok != (c.want != "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.path, got, c.want)
		}
	}
}

// Whatever a file holds, looking at it ends without a panic.
func FuzzLook(f *testing.F) {
	f.Add([]byte("{\"a\": [1, {\"b\": 2}]}"))
	f.Add([]byte("GGUF general.type\x08\x00\x00\x00"))
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		Look(path)
	})
}
