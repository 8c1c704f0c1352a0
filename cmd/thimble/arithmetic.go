package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"thimble/verify"
)

// What a run of a model rounds on its way.
var (
	activationsFlag = &cli.StringFlag{Name: "activations", Usage: "round the inputs of integer layers to `TYPE` as integer kernels do: int8 (a scale for each group of the weights), int8/row, int8/g32 and the like"}
	kvFlag          = &cli.StringFlag{Name: "kv", Usage: "keep keys and values of attention as `TYPE`: int8, k8v4, f16, a scheme, or two with a comma between them"}
)

// The usual values, for completion.
var (
	activationTypes = []string{"int8", "int8/row", "int8/g32", "f32"}
	cacheTypes      = []string{"int8", "k8v4", "f16", "f32"}
)

// arithmeticOf reads the flags.
func arithmeticOf(c *cli.Context) (verify.Arithmetic, error) {
	for _, name := range []string{activationsFlag.Name, kvFlag.Name} {
		if c.IsSet(name) && c.String(name) == "" {
			return verify.Arithmetic{}, fmt.Errorf("--%s needs a type, such as int8", name)
		}
	}
	a, err := verify.ParseArithmetic(c.String(activationsFlag.Name), c.String(kvFlag.Name))
	if err != nil {
		return a, fmt.Errorf("--%w", err)
	}
	return a, nil
}

// errRecorded: a container's gates say what its weights are, which any
// arithmetic starts from.
var errRecorded = errors.New("--record stores gates that the model passed in float32; leave out --activations and --kv")
