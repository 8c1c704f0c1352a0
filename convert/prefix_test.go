package convert

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"thimble/internal/model"
)

// Names as programs of PyTorch change them, and tensors that no class loads.
func TestNamesOfPrograms(t *testing.T) {
	want := openFixture(t, tiny().write(t))
	prefixed := func(prefix string) func(f *checkpointFiles) {
		return func(f *checkpointFiles) {
			for name := range maps.Clone(f.tensors) {
				f.rename(name, prefix+name)
			}
		}
	}
	based := func(prefix string) func(f *checkpointFiles) {
		return func(f *checkpointFiles) {
			for name := range maps.Clone(f.tensors) {
				if base, ok := strings.CutPrefix(name, "model."); ok {
					f.rename(name, prefix+base)
				}
			}
		}
	}
	for _, c := range []struct {
		name string
		edit func(f *checkpointFiles)
		set  []string
		note string
	}{
		{"torch.compile", prefixed("_orig_mod."), nil, "wrappers of PyTorch taken off in the names of 21 tensors"},
		{"DDP", prefixed("module."), nil, "prefix module. taken off in the names of 21 tensors"},
		{"DDP of torch.compile", prefixed("module._orig_mod."), nil, "prefix module. taken off in the names of 21 tensors"},
		{"PEFT", prefixed("base_model.model."), nil, "prefix base_model.model. taken off in the names of 21 tensors"},
		{"doubled", prefixed("model."), nil, "prefix model. taken off in the names of 21 tensors"},
		{"base model", based(""), nil, "prefix model. missing in the names of 20 tensors"},
		{"base model of a wrapper", based("transformer."), nil, "prefix transformer. taken for model. in the names of 20 tensors"},
		{"FSDP", func(f *checkpointFiles) {
			f.rename("model.layers.0.mlp.up_proj.weight", "model.layers.0._fsdp_wrapped_module.mlp.up_proj.weight")
		}, nil, "wrappers of PyTorch taken off in the names of 1 tensor"},
		{"buffers", func(f *checkpointFiles) {
			for _, name := range []string{"self_attn.rotary_emb.cos_cached", "self_attn.rotary_emb.original_inv_freq", "self_attn.masked_bias"} {
				f.tensors["model.layers.0."+name] = tensor{"F32", []int{4}, nil}
				f.tensors["model.layers.1."+name] = tensor{"F32", []int{4}, nil}
			}
			f.tensors["model.layers.0.self_attn.bias"] = tensor{"I8", []int{1, 1, 4, 4}, nil}
			f.tensors["model.embed_positions.position_ids"] = tensor{"F32", []int{1, 4}, nil}
			f.tensors["model.layers.0.attention.cache_k"] = tensor{"F32", []int{1, 4, 2}, nil}
			f.tensors["nothing"] = tensor{"F32", []int{0, 4}, nil}
		}, nil, "model.layers.*.self_attn.rotary_emb.cos_cached (2 of them): dropped, a table of the rotary embedding"},
		{"--drop", func(f *checkpointFiles) { f.tensors["model.layers.1.router.weight"] = tensor{"F32", []int{4}, nil} },
			[]string{"--drop=*.router.*"}, "*.router.* (1 of them): dropped by --drop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := tiny()
			for i, name := range slices.Sorted(maps.Keys(f.tensors)) { // the order in the file gives the values
				x := f.tensors[name]
				n := 4
				for _, dim := range x.shape {
					n *= dim
				}
				x.data = slices.Repeat([]byte{byte(i + 1)}, n)
				f.tensors[name] = x
			}
			c.edit(f)
			m := openFixture(t, f.write(t), c.set...)
			if !slices.Contains(m.Notes, c.note) {
				t.Errorf("notes %q lack %q", m.Notes, c.note)
			}
			for name, w := range want.Tensors {
				if !slices.Equal(m.Tensors[name].Codes, w.Codes) {
					t.Errorf("%s differs", name)
				}
			}
			if !slices.Equal(m.Provenance.Overrides, c.set) {
				t.Errorf("overrides %q", m.Provenance.Overrides)
			}
		})
	}
	for drop, want := range map[string]string{
		"nowhere": "--drop nowhere: no tensor of the checkpoint matches; quote the pattern so that the shell keeps its *",
		"[":       "--drop [: not a pattern: [ without ], or a range without an end",
	} {
		if _, err := Open(tiny().write(t), Options{Set: []string{"--drop=" + drop}}); err == nil || err.Error() != want {
			t.Errorf("%s: %v", drop, err)
		}
	}
}

// A tied model may store the matrix by either name.
func TestTiedByTheHead(t *testing.T) {
	f := tiny()
	f.config["tie_word_embeddings"] = true
	delete(f.tensors, "model.embed_tokens.weight")
	m := openFixture(t, f.write(t))
	if !m.Spec.Tied || m.Tensors[model.Embed] == nil || !slices.Contains(m.Notes, "the embedding is stored as lm_head.weight only: tied") {
		t.Errorf("tied %v, notes %q", m.Spec.Tied, m.Notes)
	}
}
