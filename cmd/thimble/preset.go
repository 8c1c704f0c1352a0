package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/internal/defect"
	"thimble/internal/spell"
)

// A preset is a name for a few flags of quantize.
type preset struct {
	name, use string
	flags     [][2]string // name and value
}

// presets lists the presets. docs/QUANTIZATION.md has what they measure.
var presets = []preset{
	{"phone", "the size of Q4_0 at a fraction of its loss, for llama.cpp", [][2]string{{"target-bpw", "5.5"}, {"for", "llama.cpp"}}},
	{"small", "near the least that 4-bit types of GGUF take", [][2]string{{"target-bpw", "4.6"}}},
	{"lossless", "8 bits: a KL of about 0.001, without calibration", [][2]string{{"scheme", "int8/g32"}}},
}

var presetFlag = &cli.StringFlag{Name: "preset", Usage: "choose flags by `NAME`: " + strings.Join(presetNames(), ", ") + "; others that are given override them"}

func presetNames() (names []string) {
	for _, p := range presets {
		names = append(names, p.name)
	}
	return names
}

// presetHelp lists the flags of each preset.
func presetHelp() string {
	var b strings.Builder
	for _, p := range presets {
		fmt.Fprintf(&b, "   %-9s %s\n             %s\n", p.name, p.words(p.flags), p.use)
	}
	return b.String()
}

func (p *preset) words(flags [][2]string) string {
	var words []string
	for _, f := range flags {
		words = append(words, "--"+f[0]+" "+f[1])
	}
	return strings.Join(words, " ")
}

// sizeFlags lists the flags of which each says how large the file is: any of them
// replaces that of a preset.
var sizeFlags = []string{"scheme", "recipe", "target-size", "target-bpw", "max-kl", "min-top1"}

// applyPreset sets the flags of presetFlag that the command line does not set, and
// returns a note that names them.
func applyPreset(c *cli.Context) (note string, err error) {
	name := c.String(presetFlag.Name)
	if !c.IsSet(presetFlag.Name) {
		return "", nil
	}
	i := slices.IndexFunc(presets, func(p preset) bool { return p.name == name })
	if i < 0 {
		return "", fmt.Errorf("--preset %s is not one of %s%s", defect.Printable(name), strings.Join(presetNames(), ", "), spell.Suggest(name, presetNames()))
	}
	sized := slices.ContainsFunc(sizeFlags, c.IsSet)
	var used [][2]string
	for _, f := range presets[i].flags {
		if c.IsSet(f[0]) || sized && slices.Contains(sizeFlags, f[0]) {
			continue
		}
		if err := c.Set(f[0], f[1]); err != nil {
			return "", err
		}
		used = append(used, f)
	}
	if len(used) == 0 {
		return fmt.Sprintf("--preset %s: all of its flags are overridden", name), nil
	}
	return fmt.Sprintf("--preset %s is %s", name, presets[i].words(used)), nil
}
