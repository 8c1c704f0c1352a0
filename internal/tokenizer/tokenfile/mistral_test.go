package tokenfile

import (
	"testing"

	"thimble/internal/tokenizer"
)

// What transformers 5.24 makes of fix_mistral_regex, which GPTQModel writes into the
// tokenizer_config.json of every model.
func TestFixMistral(t *testing.T) {
	const own, fixed = tokenizer.Step(`isolated:\p{L}+|[^\p{L}]`), tokenizer.Step("isolated:" + mistralPattern)
	for _, c := range []struct {
		tokens      int
		flag, model string
		first, want tokenizer.Step // "" if it is refused
	}{
		{100001, "true", `{"model_type":"mistral","transformers_version":"4.50.0"}`, own, fixed},
		{100001, "true", `{"model_type":"mistral","transformers_version":"4.50.0"}`, tokenizer.StepLlama3, fixed},
		{100001, "true", `{"model_type":"mistral","transformers_version":"4.50.0"}`, fixed, fixed},
		{100001, "true", `{"model_type":"mistral"}`, own, fixed},
		{100001, "true", `{"transformers_version":"5.0.0rc1"}`, own, fixed},
		{100001, "true", `{"model_type":"mistral","transformers_version":"4.50.0"}`, tokenizer.StepGPT2, ""},
		{100000, "true", `{"model_type":"mistral","transformers_version":"4.50.0"}`, own, own},
		{100001, "true", `{"model_type":"llama","transformers_version":"4.50.0"}`, own, own},
		{100001, "true", `{"model_type":"mistral","transformers_version":"5.0.0"}`, own, own},
		{100001, "false", `{"model_type":"mistral","transformers_version":"4.50.0"}`, own, own},
		{100001, "null", `{"model_type":"mistral","transformers_version":"4.50.0"}`, own, own},
	} {
		d := newDraft(tokenizer.ByteLevelBPE)
		d.Tokens, d.Steps = make([][]byte, c.tokens), []tokenizer.Step{c.first}
		err := d.readConfig(Files{Config: []byte(`{"fix_mistral_regex":` + c.flag + `}`), Checkpoint: []byte(c.model)})
		if c.want == "" {
			checkError(t, err, true, "fix_mistral_regex: true, for a pre-tokenizer that does not begin with a pattern")
		} else if err != nil || d.Steps[0] != c.want {
			t.Errorf("%d tokens, %s, %s: %v, %s", c.tokens, c.flag, c.model, err, d.Steps[0])
		}
	}
}
