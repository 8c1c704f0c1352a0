// Package arch has the architectures that checkpoints may have: one file for each family,
// which registers itself under the model_type of config.json.
package arch

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/defect"
	"thimble/internal/model"
)

// An Architecture describes how checkpoints of one model_type become models.
type Architecture struct {
	Spec  func(*config.Config) model.Spec // its Tied is the config's, which the tensors may contradict
	Names names.Table
}

var architectures = map[string]Architecture{}

func register(modelType string, a Architecture) {
	if _, twice := architectures[modelType]; twice {
		panic("arch: " + modelType + " registered twice")
	}
	architectures[modelType] = a
}

// modelTypes lists every model_type that is read.
func modelTypes() []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(architectures)), maps.Keys(imageModels))
	slices.Sort(all)
	return all
}

// Recognize returns the architecture that the config's model_type names, or Meta's if the
// config is params.json. It makes c the config of the text model, if that is a part of it.
func Recognize(c *config.Config) (string, Architecture, error) {
	if filepath.Base(c.File) == ParamsName {
		return "llama", meta, nil
	}
	unwrap(c)
	modelType := c.String("model_type")
	a, ok := architectures[modelType]
	if !ok {
		c.Failed(fmt.Errorf("%w: %s", defect.Unsupported(c.Origin("model_type"), "model_type %s", config.Show(modelType)), unread(modelType)))
	}
	c.Classify(modelType)
	return modelType, a, c.Err()
}
