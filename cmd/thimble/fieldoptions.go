package main

import (
	"strings"

	"thimble/cmd/thimble/internal/manual"

	"github.com/urfave/cli/v2"
)

// fieldOptions maps options of llama.cpp's and MLX's programs to the options here that do
// the same, of which a command has one or none. An option without any names the model.
var fieldOptions = map[string][]string{
	"i": nil, "m": nil, "model": nil, "input": nil, "hf-path": nil,
	"outfile": {"output"}, "out": {"output"}, "mlx-path": {"output"},
	"outtype": {"dtype", "scheme"}, "type": {"scheme", "dtype"}, "q-bits": {"scheme"}, "imatrix": {"calib"},
	"n-predict": {"tokens"}, "temp": {"temperature"}, "ctx-size": {"context"}, "file": {"text"}, "f": {"text"},
	"sys": {"system"}, "system-prompt": {"system"}, "repeat-penalty": {"repetition-penalty"}, "max-tokens": {"tokens"}, "np": {"parallel"},
}

// ourWords says how cmd takes what another program takes as the option of the given name,
// or returns "" if cmd takes nothing of the kind.
func ourWords(cmd *cli.Command, name string) string {
	ours, known := fieldOptions[name]
	if model := manual.ModelArgument(cmd); known && ours == nil && model != "" {
		return "give the model as an argument: thimble " + cmd.Name + " " + strings.ReplaceAll(model, " and ", " ")
	}
	for _, o := range ours {
		if manual.FlagNamed(cmd, o) != nil {
			return "use --" + o
		}
	}
	return ""
}
