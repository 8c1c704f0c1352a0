package chat

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Each template of the testdata is a Shape whose texts render what the template renders,
// or is recognized as one that is not.
func TestShapeOf(t *testing.T) {
	specials := map[string]string{"bos_token": "<s>", "eos_token": "</s>"}
	for name, want := range map[string]*Shape{
		"chatml.jinja": {
			Default: "<|im_start|>system\nAnswer in plain words.<|im_end|>\n", System: true, SystemPre: "<|im_start|>system\n", SystemPost: "<|im_end|>\n",
			UserPre: "<|im_start|>user\n", UserPost: "<|im_end|>\n", AssistantPre: "<|im_start|>assistant\n", AssistantPost: "<|im_end|>\n",
		},
		"inst-sys.jinja": nil, // puts the system message into the user's
	} {
		source, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		template, err := Compile(string(source), specials)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ShapeOf(func(m []Message) (string, error) { return template.Render(Conversation{Messages: m}) })
		switch {
		case want == nil && !errors.Is(err, errShape):
			t.Errorf("%s: %+v, %v; want an error", name, got, err)
		case want != nil && (err != nil || got != *want):
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for source, want := range map[string]Shape{
		// A system message by default, and the first token of a text.
		"{{ bos_token }}{% if messages[0].role != 'system' %}Be kind. {% endif %}{% for m in messages %}[{{ m.role }}]{{ m.content | trim }};{% endfor %}": {
			Default: "<s>Be kind. ", System: true, SystemPre: "<s>[system]", SystemPost: ";",
			UserPre: "[user]", UserPost: ";", AssistantPre: "[assistant]", AssistantPost: ";",
		},
		"{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}[{{ m.role }}]{{ m.content }};{% endfor %}": {
			UserPre: "[user]", UserPost: ";", AssistantPre: "[assistant]", AssistantPost: ";",
		},
		"{% for m in messages %}{{ loop.index }}{{ m.content }}{% endfor %}": {},
		"{{ messages | length }}":                                   {},
		"{% for m in messages %}{{ m.nothing.at.all }}{% endfor %}": {},
	} {
		template, err := Compile(source, specials)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ShapeOf(func(m []Message) (string, error) { return template.Render(Conversation{Messages: m}) }); got != want || (err == nil) != (want != Shape{}) {
			t.Errorf("%s: %+v, %v", source, got, err)
		}
	}
}
