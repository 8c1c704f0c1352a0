package onnx

import (
	"cmp"
	"encoding/json"

	"thimble/format/export"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

// genaiConfig is the genai_config.json of onnxruntime-genai (src/config.h).
type genaiConfig struct {
	Model  genaiModel  `json:"model"`
	Search genaiSearch `json:"search"`
}

type genaiModel struct {
	BOS     *int         `json:"bos_token_id,omitempty"`
	Context int          `json:"context_length"`
	Decoder genaiDecoder `json:"decoder"`
	EOS     []int        `json:"eos_token_id,omitempty"`
	Pad     int          `json:"pad_token_id"`
	Type    string       `json:"type"`
	Vocab   int          `json:"vocab_size"`
}

type genaiDecoder struct {
	Session struct {
		LogID     string   `json:"log_id"`
		Providers []string `json:"provider_options"`
	} `json:"session_options"`
	File    string            `json:"filename"`
	HeadDim int               `json:"head_size"`
	Hidden  int               `json:"hidden_size"`
	Inputs  map[string]string `json:"inputs"`
	Outputs map[string]string `json:"outputs"`
	Heads   int               `json:"num_attention_heads"`
	Layers  int               `json:"num_hidden_layers"`
	KVHeads int               `json:"num_key_value_heads"`
}

// genaiSearch has what onnxruntime-genai does if its user does not say otherwise.
type genaiSearch struct {
	Sample      bool    `json:"do_sample"`
	MaxLength   int     `json:"max_length"`
	ShareBuffer bool    `json:"past_present_share_buffer"`
	Penalty     float64 `json:"repetition_penalty"`
	Temperature float64 `json:"temperature"`
	TopK        int     `json:"top_k"`
	TopP        float64 `json:"top_p"`
}

// config returns genai_config.json. d may be nil.
func (b *builder) config(d *tokenizer.Data) ([]byte, error) {
	s, g := b.spec, &b.model.Generation
	c := genaiConfig{
		Model: genaiModel{
			Context: s.Context, EOS: s.EOS, Type: "decoder", Vocab: s.Vocab,
			Decoder: genaiDecoder{
				File: GraphFile, HeadDim: s.HeadDim, Hidden: s.Hidden, Heads: s.Heads, Layers: len(s.Schedule), KVHeads: s.KVHeads,
				Inputs: map[string]string{
					"input_ids": inputIDs, "attention_mask": attentionMask, "past_key_names": pastKey, "past_value_names": pastValue,
				},
				Outputs: map[string]string{"logits": logits, "present_key_names": presentKey, "present_value_names": presentValue},
			},
		},
		Search: genaiSearch{
			Sample: g.Temperature > 0, MaxLength: s.Context, ShareBuffer: true, Penalty: cmp.Or(g.RepetitionPenalty, 1),
			Temperature: cmp.Or(g.Temperature, 1), TopK: cmp.Or(g.TopK, 50), TopP: cmp.Or(g.TopP, 1),
		},
	}
	c.Model.Decoder.Session.LogID, c.Model.Decoder.Session.Providers = "onnxruntime-genai", []string{}
	if b.positions {
		c.Model.Decoder.Inputs["position_ids"] = positionIDs
	}
	if s.BOS >= 0 {
		c.Model.BOS = &s.BOS
	}
	c.Model.Pad = padOf(d, s)
	j, err := json.MarshalIndent(c, "", "  ")
	return append(j, '\n'), err
}

// padOf returns the padding token, which changes no result: the tokenizer's, or that of an end.
func padOf(d *tokenizer.Data, s *model.Spec) int {
	pad := export.Pad(d, s)
	switch {
	case pad >= 0:
		return pad
	case len(s.EOS) > 0:
		return s.EOS[0]
	}
	return 0
}
