package arch

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/convert/config"
	"thimble/internal/checkpoint"
	"thimble/internal/model"
)

// params of the fixture with keys set to JSON values, or dropped.
func params(edits ...string) string {
	text := `{"dim":64,"multiple_of":32,"ffn_dim_multiplier":0.9,"n_heads":4,"n_kv_heads":2,"n_layers":3,"norm_eps":1e-05,"vocab_size":-1`
	return text + strings.Join(edits, "") + "}"
}

// readParams reads a params.json the way Open does, up to the tensors.
func readParams(text string, set ...string) (*config.Config, model.Spec, error) {
	c, err := config.Parse(ParamsName, []byte(text), set)
	if err != nil {
		return nil, model.Spec{}, err
	}
	c.Tensors = map[string]*checkpoint.Tensor{
		MetaEmbed:                         {Name: MetaEmbed, Shape: []int{384, 64}},
		"layers.0.feed_forward.w1.weight": {Name: "w1", Shape: []int{160, 64}},
	}
	_, a, err := Recognize(c)
	if err != nil {
		return nil, model.Spec{}, err
	}
	s := a.Spec(c)
	if err := c.Done("llama"); err != nil {
		return c, s, err
	}
	return c, s, s.Check()
}

// Any params.json is an error in one line, or a Spec that has passed its Check.
func FuzzParams(f *testing.F) {
	for _, text := range []string{
		params(), params(`,"rope_theta":500000.0,"use_scaled_rope":true,"rope_scaling_factor":8`), "{}", "[]",
		params(`,"max_seq_len":1e9,"bos_token_id":-1`), `{"dim":0,"n_heads":-1,"ffn_dim_multiplier":1e308,"multiple_of":1048576}`,
	} {
		f.Add([]byte(text), "layer_sharing=true")
	}
	f.Fuzz(func(t *testing.T, text []byte, set string) {
		if _, s, err := readParams(string(text), set); err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("not one clean line: %q", err)
			}
		} else if n := len(s.Slots()); n < 12 {
			t.Errorf("%d slots", n)
		}
	})
}

func TestMetaParams(t *testing.T) {
	base := model.Spec{Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 16, FFN: 160, Vocab: 384, Context: 4096, Blocks: 3,
		Schedule: []int{0, 1, 2}, NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1}
	with := func(edit func(*model.Spec)) model.Spec {
		s := base
		edit(&s)
		return s
	}
	scaled := model.Rope{Base: 500000, Scaling: model.RopeLlama3, Factor: 8, LowFreq: 1, HighFreq: 4, Original: 8192}
	for _, c := range []struct {
		text string
		set  []string
		want model.Spec
	}{
		{params(), nil, base},
		{params(`,"max_batch_size":32,"max_seq_len":512`), nil, with(func(s *model.Spec) { s.Context = 512 })},
		{params(`,"rope_theta":500000.0`), nil, with(func(s *model.Spec) { s.Rope.Base, s.Context = 500000, 8192 })},
		{params(`,"rope_theta":500000.0,"use_scaled_rope":true`), []string{"rope_scaling_factor=8"},
			with(func(s *model.Spec) { s.Rope, s.Context = scaled, 131072 })},
		{params(`,"rope_theta":500000.0,"use_scaled_rope":true,"rope_scaling_factor":32,"rope_high_freq_factor":2`), nil,
			with(func(s *model.Spec) { s.Rope, s.Context = scaled, 131072; s.Rope.Factor, s.Rope.HighFreq = 32, 2 })},
		{params(), []string{"n_kv_heads=null", "vocab_size=384"}, with(func(s *model.Spec) { s.KVHeads = 4 })},
		{params(), []string{"share_embedding=true", "layer_sharing=true"},
			with(func(s *model.Spec) { s.Tied, s.Schedule = true, []int{0, 0, 1, 1, 2, 2} })},
	} {
		_, got, err := readParams(c.text, c.set...)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.text, diff)
		}
	}
	for _, c := range []struct {
		text string
		set  []string
		want string
	}{
		{params(), []string{"vocab_size=383"}, "--set: vocab_size: 383, but tok_embeddings.weight has 384 rows"},
		{params(), []string{"multiple_of=256"}, "--set: multiple_of: together with dim and ffn_dim_multiplier it implies a feed-forward width of 256, but the tensors have 160: a wrong value, or part of a model-parallel checkpoint"},
		{params(), []string{"ffn_dim_multiplier=0"}, "--set: ffn_dim_multiplier: 0, want a positive number"},
		{params(), []string{"dim=66"}, ": tok_embeddings.weight: shape is [384 64], params.json requires 66 columns: a wrong value, or part of a model-parallel checkpoint"},
		{params(), []string{"n_heads=5", "n_kv_heads=5"}, "params.json: dim: 64 is not divisible by n_heads 5"},
		{params(`,"use_scaled_rope":true`), nil, "params.json: use_scaled_rope: true without a factor (it is in the code that runs the model) is not supported; add --set rope_scaling_factor=8 for Llama 3.1 and 3.3, 32 for Llama 3.2"},
		{params(`,"quantization_args":{"scheme":"int8"}`), nil, "params.json: quantization_args: this key of llama is not supported; if it does not affect the model's results, --set quantization_args=null drops it"},
		{`{"n_heads":4}`, nil, "params.json: dim: key is missing; add it to the file or give --set dim=..."},
	} {
		if _, _, err := readParams(c.text, c.set...); err == nil || err.Error() != c.want {
			t.Errorf("%s %v:\ngot  %v\nwant %s", c.text, c.set, err, c.want)
		}
	}
}
