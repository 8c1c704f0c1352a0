package config_test

import (
	"testing"

	"thimble/convert/arch"
	"thimble/convert/config"
)

// Each key that transformers reads is read here too, or refused.
func TestEveryReadKeyIsUnderstood(t *testing.T) {
	refused := map[string]bool{ // they have no default, and any value changes the results
		"attention_chunk_size": true, "fusion_config": true, "kv_sharing_modes": true, "layer_types": true, "number_of_conv_states": true,
		"per_layer_config": true, "pruned_heads": true, "sliding_window": true, "transformers_weights": true,
		"num_channels": true, "patch_size": true, "text_config": true, // of the images of Llama 4
	}
	for _, name := range config.ModelTypes() {
		c, err := config.Parse("config.json", []byte(`{"model_type":"`+name+`"}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, a, err := arch.Recognize(c)
		if err != nil {
			t.Fatal(err)
		}
		a.Spec(c)
		_ = c.Done(name)
		for _, key := range c.NotUnderstood() {
			if !refused[key] {
				t.Errorf("%s: transformers reads %s, and arch does not", name, key)
			}
		}
	}
}
