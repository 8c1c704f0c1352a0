package model

import (
	"slices"
	"strings"
)

// Facts lists what an override may say about a model to people, as GGUF's keys do
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, "General metadata"). They
// change no result.
var Facts = []string{
	"general.name", "general.author", "general.version", "general.organization", "general.basename", "general.finetune",
	"general.description", "general.quantized_by", "general.license", "general.license.name", "general.license.link",
	"general.url", "general.doi", "general.repo_url", "general.source.url", "general.source.doi", "general.source.repo_url",
}

// FactPrefix begins the names of facts, and no key of a config.json.
const FactPrefix = "general."

// Facts returns the overrides that are facts, each "general.name=text".
func (p *Provenance) Facts() (facts []string) {
	for _, o := range p.Overrides {
		if name, _, _ := strings.Cut(o, "="); slices.Contains(Facts, name) {
			facts = append(facts, o)
		}
	}
	return facts
}
