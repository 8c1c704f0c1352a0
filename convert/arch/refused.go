package arch

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/spell"
)

// needs lists types of transformers by what they compute that Thimble does not, so that a
// refusal can name it.
var needs = map[string]string{
	"state space layers (Mamba)": "mamba mamba2 falcon_mamba jamba zamba zamba2 zaya",
	"recurrent layers":           "rwkv xlstm recurrent_gemma",
	"linear attention that differs from Qwen3.5's gated delta rule": "qwen4_exp qwen4_exp_text minimax kimi_linear olmo_hybrid bailing_hybrid",
	"sparse or compressed attention (DeepSeek-V3.2, V4)":            "deepseek_v32 deepseek_v4 glm_moe_dsa",
	"multi-head latent attention with other norms or experts":       "longcat_flash axk1 axk2 sarvam_mla",
	"differential attention":                                        "diffllama",
	"norms after each residual":                                     "openai-gpt xlm",
	"sinusoidal positions":                                          "xglm ctrl",
	"encoders, or attention in both directions":                     "bert roberta xlm-roberta camembert electra ernie bart mbart pegasus blenderbot marian whisper xlnet prophetnet big_bird roformer rembert megatron-bert t5",
	"images or sounds, or a text model inside another":              "fuyu git got_ocr2 mllama musicgen musicgen_melody moshi emu3 phi4_multimodal llama4 trocr",
	"words in bytes and patches":                                    "blt",
}

// unread describes a model_type that no architecture has: what it needs, if that is known,
// and the types with a similar name.
func unread(modelType string) string {
	text := "what it computes is not known here"
	for what, types := range needs {
		if slices.Contains(strings.Fields(types), modelType) {
			text = "it needs " + what + ", which Thimble does not compute"
		}
	}
	family := func(name string) string {
		end := strings.IndexFunc(name, func(r rune) bool { return r < 'a' || r > 'z' })
		if end < 0 {
			end = len(name)
		}
		return name[:end]
	}
	known := modelTypes()
	var near []string
	nearest := spell.Nearest(modelType, known)
	for _, name := range known {
		if f := family(strings.ToLower(modelType)); f != "" && family(name) == f || name == nearest {
			near = append(near, name)
		}
	}
	if near == nil {
		return fmt.Sprintf("%s; none of the %d types that Thimble reads has a similar name", text, len(known))
	}
	return fmt.Sprintf("%s; Thimble reads %d types, with similar names %s", text, len(known), strings.Join(near, ", "))
}
