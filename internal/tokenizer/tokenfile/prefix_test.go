package tokenfile

import (
	"fmt"
	"strings"
	"testing"

	"thimble/internal/tokenizer"
)

// What AutoTokenizer of transformers 5.24 makes of tokenizer.json and a tokenizer_config.json that
// differ on a space before the text: tried for each class, with and without a config.json.
func TestPrefixSpace(t *testing.T) {
	const ignored, decides, refused = "is ignored", "although tokenizer.json differs", "contradicts"
	for _, c := range []struct {
		file, class, kind string // tokenizer.json in testdata, tokenizer_class, model_type
		want              string
	}{
		{"gpt2", "PreTrainedTokenizerFast", "", ignored},
		{"gpt2", "TokenizersBackend", "llama", ignored},
		{"gpt2", "LlamaTokenizerFast", "gpt2", ignored},
		{"llama2", "PreTrainedTokenizerFast", "llama", ignored},
		{"gpt2", "GPT2TokenizerFast", "", decides},
		{"gpt2", "GPTNeoXTokenizer", "gpt_neox", decides},
		{"gpt2", "CodeGenTokenizer", "", decides},
		{"space", "GPT2Tokenizer", "gpt2", decides},
		{"space", "TokenizersBackend", "", ignored},
		{"digits", "GPT2Tokenizer", "", refused}, // it would leave the digits whole
		{"llama2", "LlamaTokenizer", "llama", refused},
		{"gpt2", "PreTrainedTokenizerFast", "qwen2", refused},
		{"gpt2", "Qwen2Tokenizer", "", refused},
		{"gpt2", "", "", refused},
	} {
		t.Run(c.file+" "+c.class+" "+c.kind, func(t *testing.T) {
			d := drafted(t, c.file)
			before := d.prefixesSpace()
			files := beside(fmt.Sprintf(`{"add_prefix_space":%v,"tokenizer_class":%q}`, !before, c.class))
			if c.kind != "" {
				files.Checkpoint = fmt.Appendf(nil, `{"model_type":%q}`, c.kind)
			}
			err := d.readConfig(files)
			if c.want == refused {
				checkError(t, err, false, refused)
				return
			}
			if err != nil || len(d.Notes) != 1 || !strings.Contains(d.Notes[0], c.want) {
				t.Fatalf("%v, notes %q", err, d.Notes)
			}
			if after := d.prefixesSpace(); after != (before != (c.want == decides)) {
				t.Errorf("a space comes before the text: %v, before the config %v", after, before)
			}
			if _, err := tokenizer.New(&d.Data); err != nil {
				t.Error(err)
			}
		})
	}
}
