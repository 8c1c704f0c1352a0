package thimble

import (
	"context"
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/qtensor"
	"thimble/quantize"
)

// Keep in place of a scheme stores a tensor in the type it has in the source.
const Keep = quantize.Keep

// A Rule overrides the scheme of the tensors whose name matches a pattern.
type Rule = quantize.Rule

// ParseRule reads "pattern=scheme", such as "blocks.*.down=int8/g32".
func ParseRule(text string) (Rule, error) { return quantize.ParseRule(text) }

// IsScheme reports whether text spells a scheme, such as "int4/g32", or Keep.
func IsScheme(text string) bool {
	_, err := qtensor.ParseScheme(text)
	return err == nil || text == Keep
}

// ReadRecipe reads the YAML of a recipe from the file at path.
func ReadRecipe(ctx context.Context, path string) (*Recipe, error) {
	text, err := ReadText(ctx, path, 1<<20)
	if err != nil {
		return nil, err
	}
	r, err := quantize.ParseRecipe([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return r, nil
}

// The methods that are taken where a recipe names none: without calibration texts
// and with them.
const (
	PlainMethod      = quantize.MethodRTN
	CalibratedMethod = quantize.MethodGPTQ
)

// Methods names the methods that a recipe may ask for.
func Methods() []string { return quantize.Methods() }

// MethodSteps names the steps of a method that a recipe may leave out.
func MethodSteps(method string) []string { return quantize.Steps(method) }
