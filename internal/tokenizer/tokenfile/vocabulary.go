package tokenfile

import (
	"encoding/json"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
	"thimble/internal/tokenizer"
)

const (
	vocabularyFile = "vocab.json"
	mergesFile     = "merges.txt"
)

// vocabularyClasses lists the classes of transformers 5.24 that read a vocab.json and a merges.txt,
// by tokenizer_class without Fast: what they do before the model, as in a tokenizer.json, and
// the roles that <|endoftext|> has by default.
var vocabularyClasses = map[string]struct {
	normalizer, pre string
	roles           []string
}{
	"GPT2Tokenizer": {`null`, `{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}`, []string{"bos_token", "eos_token", "unk_token"}},
	"Qwen2Tokenizer": {`{"type":"NFC"}`, `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":` +
		`"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},` +
		`"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}`,
		[]string{"eos_token", "pad_token", "unk_token"}},
}

// ParseVocabulary reads the tokenizer of a folder that has a vocab.json and a merges.txt in place
// of a tokenizer.json, as transformers does.
func ParseVocabulary(vocab, merges []byte, files Files) (*tokenizer.Data, error) {
	config, err := parseObject(configFile, files.Config)
	if err != nil {
		return nil, err
	}
	name, _ := config.m["tokenizer_class"].(string)
	class, ok := vocabularyClasses[strings.TrimSuffix(name, "Fast")]
	if !ok {
		return nil, defect.Unsupported(vocabularyFile, "a tokenizer of tokenizer_class %q without %s (want GPT2Tokenizer or Qwen2Tokenizer)", defect.Printable(name), jsonFile)
	}
	whole := strictjson.NewDecoder(vocabularyFile, 0, vocab)
	whole.AllowMembers(tokenizer.MaxTokens)
	if err := whole.Object(func(string) error { return whole.Skip() }); err != nil {
		return nil, err
	}
	if err := whole.End(); err != nil {
		return nil, err
	}
	pre := class.pre
	if config.m["add_prefix_space"] == true {
		pre = strings.Replace(pre, `"add_prefix_space":false`, `"add_prefix_space":true`, 1)
	}
	for _, role := range class.roles {
		if _, given := config.m[role]; !given {
			config.m[role] = "<|endoftext|>"
		}
	}
	var pairs []string
	for line := range strings.Lines(string(merges)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" && !strings.HasPrefix(line, "#version") {
			pairs = append(pairs, line)
		}
	}
	list, err := json.Marshal(pairs)
	if err != nil {
		return nil, err
	}
	d, err := readJSON([]byte(`{"version":"1.0","added_tokens":[],"normalizer":` + class.normalizer + `,"pre_tokenizer":` + pre +
		`,"post_processor":null,"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":` + string(vocab) + `,"merges":` + string(list) + `}}`))
	if err != nil {
		return nil, defect.Corrupt(vocabularyFile, "", "with %s, read as a %s: %v", mergesFile, jsonFile, err)
	}
	before, after := config.flag("add_bos_token"), config.flag("add_eos_token")
	if err := d.addOthers(config, files); err != nil {
		return nil, err
	}
	if err := d.applyEnds(config, before, after); err != nil {
		return nil, err
	}
	return &d.Data, d.Check()
}
