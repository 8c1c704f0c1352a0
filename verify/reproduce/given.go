package reproduce

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/model"
)

// Given is what a caller names to make a model again, besides its source.
type Given struct {
	Checkpoint bool     // the source is a checkpoint, whose config overrides change
	Lora       []string // paths of the adapters that were merged, in their order
	Texts      []string // paths of the calibration texts
}

// loraOverride begins the override that merges an adapter.
const loraOverride = "--lora="

// Overrides returns the overrides for the source that recorded was made from.
func (g *Given) Overrides(recorded *model.Model) (set []string) {
	if !g.Checkpoint {
		return nil // they are in its header
	}
	for _, text := range recorded.Provenance.Overrides {
		if !strings.HasPrefix(text, loraOverride) {
			set = append(set, text)
		}
	}
	for _, path := range g.Lora {
		set = append(set, loraOverride+path)
	}
	return set
}

// CheckAdapters returns an error unless the adapters that were merged into recorded are those of
// Lora, by their names.
func (g *Given) CheckAdapters(recorded *model.Model) error {
	var want, got []string
	if g.Checkpoint {
		for _, text := range recorded.Provenance.Overrides {
			if name, ok := strings.CutPrefix(text, loraOverride); ok {
				want = append(want, name)
			}
		}
	}
	for _, path := range g.Lora {
		got = append(got, filepath.Base(filepath.Clean(path)))
	}
	slices.Sort(got)
	if !slices.Equal(want, got) { // overrides are sorted
		return fmt.Errorf("the adapters %s were merged, not %s; give those with --lora", named(want), named(got))
	}
	return nil
}

// named lists names, or says "none".
func named(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return defect.Printable(strings.Join(names, ", "))
}

// CheckTexts returns an error if calibration texts are missing, or given without need. sums are the
// SHA-256 of the user's texts that the model was calibrated on.
func (g *Given) CheckTexts(sums []string) error {
	switch {
	case sums == nil && len(g.Texts) > 0:
		return errors.New("was made without calibration; leave --calib out")
	case sums != nil && len(g.Texts) == 0:
		return fmt.Errorf("was calibrated on texts with SHA-256 %s; give them with --calib", strings.Join(sums, ", "))
	}
	return nil
}

// Context returns the context that recorded was exported with, or 0 if it is the source's.
func Context(recorded, source *model.Model) (int, error) {
	switch is, was := recorded.Spec.Context, source.Spec.Context; {
	case is > was:
		return 0, fmt.Errorf("has a context of %d, and the model of --from one of only %d, so it was made from another; thimble inspect lists its sources", is, was)
	case is < was:
		return is, nil
	}
	return 0, nil
}
