package tokenfile

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

const prefixKey = "add_prefix_space"

// prefixSpace does what transformers 5.24 does where tokenizer_config.json and tokenizer.json
// differ on a space before a text. Its general classes load tokenizer.json as it is. Those of
// GPT-2 and its kin make a pre-tokenizer of their own, ByteLevel alone, for which the config
// decides. What its other classes make is an error: they may also replace patterns.
func (d *draft) prefixSpace(f *fields, model []byte) error {
	v := f.take(prefixKey)
	if v == nil || v == d.prefixesSpace() {
		return nil
	}
	class, _ := f.m["tokenizer_class"].(string)
	kind, err := modelType(model)
	if err != nil {
		return err
	}
	alone, spaced := []tokenizer.Step{tokenizer.StepGPT2}, []tokenizer.Step{tokenizer.StepSpace, tokenizer.StepGPT2}
	byteLevel := slices.Equal(d.Steps, alone) || slices.Equal(d.Steps, spaced)
	switch class = strings.TrimSuffix(class, "Fast"); {
	case kind == "qwen2": // its own class, whatever the file says
	case class == "PreTrainedTokenizer", class == "TokenizersBackend", class == "LlamaTokenizer" && d.Model == tokenizer.ByteLevelBPE:
		d.Notes = append(d.Notes, fmt.Sprintf("%s: %s: %s is ignored, as transformers 5 ignores it in a %s: tokenizer.json decides", configFile, prefixKey, show(v), class))
		return nil
	case byteLevel && slices.Contains([]string{"GPT2Tokenizer", "GPTNeoXTokenizer", "CodeGenTokenizer"}, class):
		if d.Steps = alone; v == true {
			d.Steps = spaced
		}
		d.Notes = append(d.Notes, fmt.Sprintf("%s: %s is %s, as transformers' %s takes it, although tokenizer.json differs", configFile, prefixKey, show(v), class))
		return nil
	}
	return defect.Corrupt(configFile, prefixKey, "%s contradicts tokenizer.json, where it is %v; correct it, or load the tokenizer with AutoTokenizer and save it again", show(v), d.prefixesSpace())
}

// modelType returns the model_type of a config.json, or "".
func modelType(config []byte) (string, error) {
	f, err := parseObject("config.json", config)
	if err != nil {
		return "", err
	}
	kind, _ := f.m["model_type"].(string)
	return kind, nil
}
