package vocab

import (
	"slices"
	"strings"

	"thimble/internal/tokenizer"
)

// template begins the key of a chat template that has a name; tokenizer.chat_templates lists the
// names (gguf-py, add_chat_template).
const template = "tokenizer.chat_template."

// inert are keys that cannot change ids.
var inert = []string{
	"tokenizer.ggml.token_type_count", // of BERT
	"tokenizer.ggml.suppress_tokens",  // affects sampling, not scores
	"tokenizer.huggingface.json",
}

// Inert reports whether a key cannot change ids. One that ends in _token_id only names a token.
func Inert(key string) bool {
	return slices.Contains(inert, key) || strings.HasPrefix(key, template) || strings.HasSuffix(key, "_token_id")
}

// Templates returns the names of the chat templates of d beside the default, nil for none.
func Templates(d *tokenizer.Data) []string {
	if d.ToolTemplate == "" {
		return nil
	}
	return []string{"tool_use"}
}

// NoteTemplates adds notes to d about the chat templates among keys that it does not have.
func NoteTemplates(d *tokenizer.Data, keys []string) {
	for _, key := range keys {
		if name, ok := strings.CutPrefix(key, template); ok && name != "tool_use" && name != "default" {
			d.SetTemplate(name, "")
		}
	}
}
