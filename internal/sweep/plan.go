// Package sweep measures models x recipes x texts on as many machines as there are, into one
// folder. A Plan lists the three, and each combination is a job. The result of a job is a
// file whose name is the hash of the job's inputs, so that any number of processes may work
// on one folder, and a second run does what is missing. docs/SWEEP.md describes both files.
package sweep

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/label"
	"thimble/internal/spell"
)

// MaxJobs is the largest number of jobs of a plan.
const MaxJobs = 4096

// A Plan is what a sweep measures, without its recipes.
type Plan struct {
	Models []Model  `yaml:"models"`
	Texts  []string `yaml:"texts"`             // paths
	Chunks int      `yaml:"chunks,omitempty"`  // to use of each text, from the start; 0 is all
	Tokens int      `yaml:"context,omitempty"` // in a chunk; 0 is the default

	Calibration Calibration `yaml:"calibration,omitempty"`
}

// A Model is a model of a plan: a path alone, or these keys.
type Model struct {
	Path    string   `yaml:"model"`
	Name    string   `yaml:"name,omitempty"` // default: that of the file or folder
	Set     []string `yaml:"set,omitempty"`  // as the options --set, --drop and --lora
	Drop    []string `yaml:"drop,omitempty"`
	Lora    []string `yaml:"lora,omitempty"`
	Recipes []string `yaml:"recipes,omitempty"` // the names of the only recipes for it; default: all
}

// UnmarshalYAML reads a path, or the keys of a Model.
func (m *Model) UnmarshalYAML(decode func(any) error) error {
	if decode(&m.Path) == nil {
		return nil
	}
	type keys Model
	return decode((*keys)(m))
}

// A Calibration is the calibration text of all recipes that have one.
type Calibration struct {
	Texts   []string `yaml:"texts,omitempty"` // paths
	Tokens  int      `yaml:"tokens,omitempty"`
	Context int      `yaml:"context,omitempty"`
	Seed    *uint64  `yaml:"seed,omitempty"`
}

// example is a plan in one line.
const example = "models: [SmolLM2-135M], recipes: [{scheme: int4/g32}], texts: [test.txt]"

// CheckPlanFile returns an error if path is a folder, and says what a plan is.
func CheckPlanFile(path string) error {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return nil // reading it says why
	}
	name := defect.Printable(path)
	if HasResults(path) {
		return fmt.Errorf("%s: is a folder of results, which thimble curve %s draws; sweep takes the plan, a YAML file", name, name)
	}
	return fmt.Errorf("%s: is a folder; sweep takes a plan, a YAML file such as {%s}", name, example)
}

// Complete sets the names of the models, and checks the plan. recipes are the names of its
// recipes.
func (p *Plan) Complete(recipes []string) error {
	switch {
	case len(p.Models) == 0:
		return errors.New("models: name at least one")
	case len(recipes) == 0:
		return errors.New("recipes: give at least one, such as {scheme: int4/g32}")
	case len(p.Texts) == 0:
		return errors.New("texts: name at least one")
	case p.Chunks < 0 || p.Tokens < 0:
		return errors.New("chunks and context: want positive numbers")
	case len(p.Models)*len(recipes)*len(p.Texts) > MaxJobs:
		return fmt.Errorf("%d models, %d recipes and %d texts are more than %d jobs", len(p.Models), len(recipes), len(p.Texts), MaxJobs)
	}
	if slices.Contains(p.Texts, "-") || slices.Contains(p.Calibration.Texts, "-") {
		return errors.New("texts: a sweep reads a text several times, so it must be a file")
	}
	var texts []string
	for _, path := range p.Texts {
		name := label.OfFile(path)
		if slices.Contains(texts, name) {
			return fmt.Errorf("texts: two are called %s; give one file another name", name)
		}
		texts = append(texts, name)
	}
	for i := range p.Models {
		if err := p.completeModel(i, recipes); err != nil {
			return fmt.Errorf("models: %w", err)
		}
	}
	return nil
}

func (p *Plan) completeModel(i int, recipes []string) error {
	m := &p.Models[i]
	if m.Path == "" {
		return errors.New("one has no path; its key is model")
	}
	if m.Name == "" {
		m.Name = label.OfModel(m.Path)
	}
	if err := checkLabel(m.Name); err != nil {
		return err
	}
	if slices.ContainsFunc(p.Models[:i], func(other Model) bool { return other.Name == m.Name }) {
		return fmt.Errorf("two are called %s; give one another name", defect.Printable(m.Name))
	}
	for _, name := range m.Recipes {
		if !slices.Contains(recipes, name) {
			return fmt.Errorf("%s: there is no recipe called %s%s", defect.Printable(m.Name), defect.Printable(name), spell.Suggest(name, recipes))
		}
	}
	return nil
}

// checkLabel returns an error if name does not fit a line.
func checkLabel(name string) error {
	if name == "" || defect.Printable(name) != name {
		return fmt.Errorf("the name %.60q is not 1 to 128 printable characters", name)
	}
	return nil
}

// Overrides returns what m changes in a checkpoint, as the command line passes it on.
func (m *Model) Overrides() []string {
	all := slices.Clone(m.Set)
	for _, x := range m.Drop {
		all = append(all, "--drop="+x)
	}
	for _, x := range m.Lora {
		all = append(all, "--lora="+x)
	}
	return all
}

// Wants reports whether m has jobs with a recipe.
func (m *Model) Wants(recipe string) bool {
	return len(m.Recipes) == 0 || slices.Contains(m.Recipes, recipe)
}
