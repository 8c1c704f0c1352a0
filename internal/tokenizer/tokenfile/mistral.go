package tokenfile

import (
	"regexp"
	"slices"
	"strconv"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

const (
	// mistralKey is in the tokenizer_config.json of what programs such as GPTQModel save, whatever
	// the model.
	mistralKey = "fix_mistral_regex"

	// mistralVocabulary is the size above which transformers looks at mistralKey.
	mistralVocabulary = 100000

	// mistralPattern is what mistralKey puts in the place of the first pattern: the released
	// tokenizer.json of Mistral's larger vocabularies had another one by mistake.
	mistralPattern = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|` +
		` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// mistralTypes are the models that mistralKey is meant for.
var mistralTypes = []string{"mistral", "mistral3", "voxtral", "ministral", "pixtral"}

// fixMistral does what transformers 5.24 does (_patch_mistral_regex of
// tokenization_utils_tokenizers.py): where the tokenizer_config.json asks for it and the
// config.json beside it is of an old Mistral model, it replaces the first pattern.
func (d *draft) fixMistral(f *fields, model []byte) error {
	if f.take(mistralKey) != true || len(d.Tokens) <= mistralVocabulary || len(d.Steps) == 0 || model == nil {
		return nil
	}
	config, err := parseObject("config.json", model)
	if err != nil {
		return err
	}
	version, _ := config.m["transformers_version"].(string)
	kind, known := config.m["model_type"].(string)
	if !before5(version) || known && !slices.Contains(mistralTypes, kind) {
		return nil
	}
	fixed := tokenizer.Split{Behavior: tokenizer.Isolated, Pattern: mistralPattern}
	first := d.Steps[0]
	if split, ok := first.Split(); ok && split.Set == "" || first == tokenizer.StepLlama3 || first == tokenizer.StepQwen2 {
		d.Steps[0] = fixed.Step()
		return nil
	}
	return defect.Unsupported(configFile+": "+mistralKey, "true, for a pre-tokenizer that does not begin with a pattern; load it with transformers' AutoTokenizer, save it, and remove the key")
}

// before5 reports whether a version of transformers is below 5.0.0. One that is not known counts
// as such.
func before5(version string) bool {
	major, err := strconv.Atoi(regexp.MustCompile(`^\d*`).FindString(version))
	return err != nil || major < 5 || regexp.MustCompile(`^5(\.0)*\.?(dev|a|b|rc)`).MatchString(version)
}
