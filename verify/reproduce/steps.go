package reproduce

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/model"
)

// A Step is one run on the way from a source to a model.
type Step struct {
	Recipe string // "" copies the codes of the step before to another format
	Name   string // of the file that it wrote, as the next step recorded it; "" of the last step
}

// Steps returns the steps that made a model from another. before and all are the recipes that
// the two record, sources what the model records, and known how many of these the other one
// stands for. If copied is set, the last step may have been one without a recipe: then it has
// recorded one source more.
func Steps(before, all []string, sources []model.Source, known int, copied bool) ([]Step, error) {
	if len(before) >= len(all) || !slices.Equal(before, all[:len(before)]) {
		return nil, errors.New("it was not made from the model of --from: its recipe does not continue that one's; thimble inspect lists its sources")
	}
	var steps []Step
	for _, recipe := range all[len(before):] {
		steps = append(steps, Step{Recipe: recipe})
	}
	// Each step but the first has read the file of the one before.
	if copied && len(sources)-known == len(steps) {
		steps = append(steps, Step{})
	}
	between := steps[:len(steps)-1]
	if len(sources) < len(between) {
		return nil, fmt.Errorf("lists %d sources, too few for a model that was made in %d steps", len(sources), len(steps))
	}
	for i := range between {
		name := sources[len(sources)-len(between)+i].Name
		if name == "" || name == "." || name == ".." || name != filepath.Base(name) || len(name) > 255 {
			return nil, fmt.Errorf("its source %s has not the name of a file", defect.Printable(name))
		}
		between[i].Name = name
	}
	return steps, nil
}
