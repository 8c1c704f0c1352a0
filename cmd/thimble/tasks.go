package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"thimble/internal/model"
	"thimble/verify"
	"thimble/verify/tasks"
)

var (
	tasksFlag    = &cli.StringFlag{Name: "tasks", Usage: "score the tasks in `FILE`, one JSON object a line (- for standard input), and those of --against beside them"}
	continueFlag = &cli.IntFlag{Name: "continue", Usage: "with --against and --text: let both models continue the first half of each chunk by `N` tokens, and say how far they agree"}
)

// checkBehaviour refuses what --tasks and --continue cannot do, before any work.
func checkBehaviour(c *cli.Context) error {
	n, set := c.Int(continueFlag.Name), c.IsSet(continueFlag.Name)
	switch {
	case set && (n < 1 || n > model.MaxLength):
		return fmt.Errorf("--continue %d is out of range, want 1 to %d", n, model.MaxLength)
	case set && (c.String("against") == "" || c.String("text") == ""):
		return errors.New("--continue compares with a model: add --against SRC and --text FILE")
	case c.String(tasksFlag.Name) == "-" && c.String("text") == "-":
		return errors.New("--tasks and --text cannot both read standard input")
	}
	return nil
}

// behaviourOf is what --tasks and --continue ask for, nil for nothing. with is
// what m is compared with.
func behaviourOf(c *cli.Context, m *model.Model, with *comparison, a verify.Arithmetic) (*tasks.Behaviour, error) {
	path, n := c.String(tasksFlag.Name), c.Int(continueFlag.Name)
	if path == "" && n == 0 {
		return nil, nil
	}
	tok, err := openTokenizer(m)
	if err != nil {
		return nil, err
	}
	b := &tasks.Behaviour{Tokenizer: tok, Continue: n}
	if b.Model, err = tasks.NewGenerator(m, a); err != nil {
		return nil, err
	}
	if with.source != nil {
		if b.Reference, err = tasks.NewGenerator(with.source, verify.Arithmetic{}); err != nil {
			return nil, err
		}
	}
	if path == "" {
		return b, nil
	}
	text, err := readText(c.Context, path, tasks.MaxBytes)
	if err != nil {
		return nil, err
	}
	b.Tasks, err = tasks.Read(path, text)
	return b, err
}
