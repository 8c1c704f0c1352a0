package thimble

import (
	"context"
	"fmt"

	"thimble/internal/defect"
	"thimble/quantize"
	"thimble/quantize/calibration"
	"thimble/quantize/rounding"
	"thimble/quantize/words"
)

// Keep, in place of a scheme, stores a tensor in the type it has in the source.
const Keep = quantize.Keep

// A Rule overrides the scheme of the tensors whose name matches a pattern.
type Rule = quantize.Rule

// ParseRule reads "pattern=scheme", such as "blocks.*.down=int8/g32".
func ParseRule(text string) (Rule, error) { return quantize.ParseRule(text) }

// ParseScheme reads a scheme: "f32", "f16", "bf16", "intBITS/GROUP[/asym]",
// "intBITS/GROUP/s4" or "int4/GROUP/nl".
func ParseScheme(text string) (Scheme, error) { return words.Scheme(text) }

// ParseSchemes reads a scheme from each of texts.
func ParseSchemes(texts []string) ([]Scheme, error) { return words.Schemes(texts) }

// DefaultSchemes returns the names of the schemes that a Budget without Schemes chooses
// from for a container: every width, with short scales.
func DefaultSchemes() []string { return quantize.DefaultSchemes() }

// WideSchemes returns the names of those for other programs' files: float16 scales, in wide and
// narrow groups, with a minimum where it can pay off.
func WideSchemes() []string { return quantize.WideSchemes() }

// ReadRecipe reads the YAML of a recipe from the file at path.
func ReadRecipe(ctx context.Context, path string) (*Recipe, error) {
	text, err := ReadText(ctx, "--recipe", path, 1<<20)
	if err != nil {
		return nil, err
	}
	r, err := quantize.ParseRecipe([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return r, nil
}

// The default methods, without and with calibration texts.
const (
	PlainMethod      = rounding.MethodRTN
	CalibratedMethod = calibration.DefaultMethod
)

// Methods returns the names of the methods that a recipe may choose.
func Methods() []string { return rounding.Methods() }

// MethodSteps returns the names of a method's optional steps.
func MethodSteps(method string) []string { return rounding.Steps(method) }

// Calibration specifies the texts on which a method measures rounding errors.
type Calibration = calibration.Options

// The default amounts of calibration text, in tokens.
const (
	CalibrationTokens  = calibration.DefaultTokens
	CalibrationContext = calibration.DefaultContext
)
