package arch

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"thimble/convert/config"
	"thimble/internal/checkpoint"
	"thimble/internal/defect"
)

// imageModels lists the model_types of models of images, or images and audio, and text whose text
// model is one of architectures, with transformers' default of the text model's model_type. The
// text model is converted and the rest left out: without images, it computes the same.
var imageModels = map[string]string{
	"gemma3": "gemma3_text", "gemma4": "gemma4_text", "gemma3n": "gemma3n_text", "mistral3": "mistral", "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text",
}

// textConfig is the key of the text model's config.
const textConfig = "text_config"

// ofBoth lists the keys of a wrapper's config that also concern its text model.
var ofBoth = []string{"bos_token_id", "dtype", "eos_token_id", "quantization_config", "tie_word_embeddings", "torch_dtype"}

// unwrap makes c the config of the text model, if it is that of a wrapper.
func unwrap(c *config.Config) {
	outer, _ := c.Values["model_type"].(string)
	def, ok := imageModels[outer]
	if !ok {
		return
	}
	inner, ok := c.Values[textConfig].(map[string]any)
	if !ok {
		c.Fail(textConfig, "want an object, found %s", config.Show(c.Values[textConfig]))
		return
	}
	text := maps.Clone(inner)
	if text["model_type"] == nil {
		text["model_type"] = def
	}
	var left []string
	for _, key := range slices.Sorted(maps.Keys(c.Values)) {
		set := c.Overridden(key)
		switch {
		case key == "model_type" || key == textConfig:
		case set || slices.Contains(ofBoth, key) && (text[key] == nil || key == "tie_word_embeddings"):
			text[key] = c.Values[key]
		case strings.HasSuffix(key, "_config"):
			left = append(left, key)
		}
	}
	others := "images"
	if slices.Contains(left, "audio_config") && c.Values["audio_config"] != nil {
		others = "images and audio"
	}
	c.Note(fmt.Sprintf("%s is converted without its %s: %s is the model, %s left out", outer, others, textConfig, defect.Some(left)))
	c.Values, c.Wrapper = text, outer
}

// TextTensors returns the tensors of the text model, if c is that of a wrapper, and notes
// the number of the others.
func TextTensors(c *config.Config, tensors map[string]*checkpoint.Tensor) (map[string]*checkpoint.Tensor, []string) {
	if c.Wrapper == "" {
		return tensors, nil
	}
	text, part := maps.Clone(tensors), "the images' part"
	maps.DeleteFunc(text, func(name string, _ *checkpoint.Tensor) bool {
		parts := strings.Split(name, ".")
		if slices.Contains(parts, "language_model") || slices.Contains(parts, "lm_head") {
			return false
		}
		if slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(part, "audio") }) {
			part = "the images' and the audio's parts"
		}
		return true
	})
	return text, []string{defect.Counted(len(tensors)-len(text), "tensor") + " of " + part + " of " + c.Wrapper + ": left out"}
}
