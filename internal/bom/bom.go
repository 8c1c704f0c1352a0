// Package bom describes what a model was made from as a bill of materials in CycloneDX 1.6
// (https://cyclonedx.org/docs/1.6/json/, ECMA-424). The same model gives the same bytes: there
// is no time in it, and its serial number follows from its contents.
package bom

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/model"
)

// A Model is what a bill is about.
type Model struct {
	Name         string // without folders and endings
	Format       string
	Architecture string
	Tool         string      // name and version of the program that writes the bill, with a space between
	Files        []File      // the model itself
	Sources      []File      // what it was made from
	Texts        []Text      // what it was calibrated on
	Licenses     []License   // that it states
	Metrics      []Metric    // that it was measured by
	Facts        [][2]string // further names and values, in order

	// Stated are texts of GGUF's general keys, by their names
	// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, "General metadata").
	Stated map[string]string
}

// A File is one of a model's files. SHA256 is hexadecimal.
type File struct {
	Name   string
	Bytes  int64
	SHA256 string
}

// FilesOf returns files of which sources have the digests.
func FilesOf(sources []model.Source) (files []File) {
	for _, s := range sources {
		files = append(files, File{Name: s.Name, Bytes: s.Bytes, SHA256: hex.EncodeToString(s.SHA256)})
	}
	return files
}

// A Text is one of the texts that a model was calibrated on. SHA256 is hexadecimal.
type Text struct {
	Name   string
	SHA256 string
}

// A Metric is a figure of the model.
type Metric struct {
	Name  string
	Value float64
	Of    string // what it was compared with
}

// A Document is a bill of materials. It encodes to JSON.
type Document struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Serial       string       `json:"serialNumber,omitempty"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Tools struct {
		Components []component `json:"components"`
	} `json:"tools"`
	Component component `json:"component"`
}

type component struct {
	Type       string      `json:"type"`
	Ref        string      `json:"bom-ref,omitempty"`
	Name       string      `json:"name"`
	Authors    []author    `json:"authors,omitempty"`
	Publisher  string      `json:"publisher,omitempty"`
	Version    string      `json:"version,omitempty"`
	About      string      `json:"description,omitempty"`
	Hashes     []hash      `json:"hashes,omitempty"`
	Licenses   []choice    `json:"licenses,omitempty"`
	Links      []link      `json:"externalReferences,omitempty"`
	ModelCard  *card       `json:"modelCard,omitempty"`
	Data       []data      `json:"data,omitempty"`
	Properties []property  `json:"properties,omitempty"`
	Components []component `json:"components,omitempty"`
}

type author struct {
	Name string `json:"name"`
}

type link struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type choice struct {
	License License `json:"license"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type data struct {
	Type string `json:"type"`
	Name string `json:"name"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// A card is CycloneDX's model card.
type card struct {
	Parameters struct {
		Task         string      `json:"task"`
		Family       string      `json:"architectureFamily"`
		Architecture string      `json:"modelArchitecture"`
		Datasets     []reference `json:"datasets,omitempty"`
		Inputs       []form      `json:"inputs"`
		Outputs      []form      `json:"outputs"`
	} `json:"modelParameters"`
	Analysis *analysis `json:"quantitativeAnalysis,omitempty"`
}

type reference struct {
	Ref string `json:"ref"`
}

type form struct {
	Format string `json:"format"`
}

type analysis struct {
	Metrics []figure `json:"performanceMetrics"`
}

type figure struct {
	Type  string `json:"type"`
	Value string `json:"value"`
	Slice string `json:"slice,omitempty"`
}

// prefix begins the names of this program's properties.
const prefix = "thimble:"

// New returns the bill of m.
func New(m *Model) (*Document, error) {
	d := &Document{Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", Spec: "1.6", Version: 1, Components: []component{}}
	name, version, _ := strings.Cut(m.Tool, " ")
	d.Metadata.Tools.Components = []component{{Type: "application", Name: name, Version: version}}
	model := component{Type: "machine-learning-model", Ref: "model", Name: m.Name, ModelCard: &card{}}
	for i := range m.Licenses {
		model.Licenses = append(model.Licenses, choice{m.Licenses[i]})
	}
	model.state(m.Stated)
	if len(m.Files) == 1 {
		model.Hashes = hashes(m.Files[0].SHA256)
	} else {
		for i, f := range m.Files {
			model.Components = append(model.Components, fileComponent(fmt.Sprintf("file/%d", i+1), f))
		}
	}
	depends := []string{}
	add := func(c component) {
		d.Components, depends = append(d.Components, c), append(depends, c.Ref)
	}
	for i, f := range m.Sources {
		add(fileComponent(fmt.Sprintf("source/%d", i+1), f))
	}
	p := &model.ModelCard.Parameters
	p.Task, p.Family, p.Architecture = "text-generation", "transformer", m.Architecture
	p.Inputs, p.Outputs = []form{{"text"}}, []form{{"text"}}
	for i, t := range m.Texts {
		ref := fmt.Sprintf("calibration/%d", i+1)
		add(component{Type: "data", Ref: ref, Name: t.Name, Hashes: hashes(t.SHA256), Data: []data{{"dataset", t.Name}}})
		p.Datasets = append(p.Datasets, reference{ref})
	}
	for _, x := range m.Metrics {
		if model.ModelCard.Analysis == nil {
			model.ModelCard.Analysis = &analysis{}
		}
		value := strconv.FormatFloat(x.Value, 'g', -1, 64)
		model.ModelCard.Analysis.Metrics = append(model.ModelCard.Analysis.Metrics, figure{x.Name, value, x.Of})
	}
	model.Properties = []property{{prefix + "format", m.Format}}
	for _, name := range slices.Sorted(maps.Keys(m.Stated)) {
		if !strings.HasPrefix(name, "general.license") { // in Licenses
			model.Properties = append(model.Properties, property{prefix + name, m.Stated[name]})
		}
	}
	for _, f := range m.Facts {
		model.Properties = append(model.Properties, property{prefix + f[0], f[1]})
	}
	d.Metadata.Component = model
	d.Dependencies = []dependency{{"model", depends}}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	d.Serial = serial(sha256.Sum256(text))
	return d, nil
}

// state adds what facts, by GGUF's names, say about the model. CycloneDX has fields for some of
// them; properties have all.
func (c *component) state(facts map[string]string) {
	c.Version, c.Publisher, c.About = facts["general.version"], facts["general.organization"], facts["general.description"]
	if name := facts["general.author"]; name != "" {
		c.Authors = []author{{name}}
	}
	for _, l := range []link{{"website", "general.url"}, {"vcs", "general.repo_url"}, {"distribution", "general.source.url"}} {
		if at := facts[l.URL]; isAddress(at) {
			c.Links = append(c.Links, link{l.Type, at})
		}
	}
}

func fileComponent(ref string, f File) component {
	return component{Type: "file", Ref: ref, Name: f.Name, Hashes: hashes(f.SHA256), Properties: []property{{prefix + "bytes", strconv.FormatInt(f.Bytes, 10)}}}
}

// hashes returns the hashes with a SHA-256; none if a file recorded something else in its place.
func hashes(digest string) []hash {
	if b, err := hex.DecodeString(digest); err != nil || len(b) != sha256.Size {
		return nil
	}
	return []hash{{"SHA-256", digest}}
}

// serial returns a UUID of version 8, which RFC 9562 leaves to its user: the first bits of a
// digest.
func serial(sum [sha256.Size]byte) string {
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	x := hex.EncodeToString(sum[:16])
	return fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", x[:8], x[8:12], x[12:16], x[16:20], x[20:])
}
