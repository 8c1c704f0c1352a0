// Command thimble turns a trained language model into a file that a phone can
// run, and proves that the file still computes the same thing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"thimble/internal/model"
	"thimble/internal/spell"
)

// tool names this program and its version in the files it writes.
const tool = "thimble " + version

const version = "0.1.0"

// Exit codes. They are part of the command line's contract.
const (
	exitDone    = 0
	exitRefused = 1 // a gate said no
	exitFailed  = 2 // could not run: usage, bad input, I/O
)

// errRefused ends a command whose answer is no; the report has been printed.
var errRefused = errors.New("gate not passed")

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// run is main with its streams and without its exit.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app := newApp(stdout, stderr)
	err := app.RunContext(ctx, flagsFirst(app, args))
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errRefused):
		return exitRefused
	case ctx.Err() != nil:
		err = errors.New("interrupted; no output file was left")
	}
	fmt.Fprintf(stderr, "thimble: %s\n", oneLine(err))
	return exitFailed
}

// oneLine keeps an error on one line whatever a file put into it.
func oneLine(err error) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, err.Error())
}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:      "thimble",
		Usage:     "turn a trained language model into a file a phone can run, and prove it still computes the same thing",
		UsageText: "thimble COMMAND [options] ...",
		Description: "The usual way from a Hugging Face directory to a verified phone file:\n\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --scheme int4/g32 --embedding int8/g32\n" +
			"   thimble verify smol.thimble --against SmolLM2-135M --text sample.txt\n" +
			"   thimble run smol.thimble -p 'The capital of France is'\n\n" +
			"Wherever a command takes a model, it may be a Hugging Face directory, a .safetensors\n" +
			"file with its config.json beside it, or a .thimble file. Flags may stand anywhere.\n\n" +
			"Exit status: 0 done or gate passed, 1 the gate said no, 2 could not run.",
		Version:              version,
		Writer:               stdout,
		ErrWriter:            stderr,
		HideHelpCommand:      true,
		EnableBashCompletion: true,
		ExitErrHandler:       func(*cli.Context, error) {},
		OnUsageError:         usageError,
		Commands: []*cli.Command{
			convertCommand(), quantizeCommand(), verifyCommand(), logitsCommand(), inspectCommand(),
			tokenizeCommand(), runCommand(), benchCommand(), demoCommand(), completionCommand(),
		},
	}
	app.Action = func(c *cli.Context) error { return noCommand(c, app) }
	for _, cmd := range app.Commands {
		cmd.OnUsageError = usageError
		cmd.HideHelpCommand = true
	}
	return app
}

// noCommand answers a bare "thimble" with its help and a mistyped command with
// the nearest one.
func noCommand(c *cli.Context, app *cli.App) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	var names []string
	for _, cmd := range app.Commands {
		names = append(names, cmd.Name)
	}
	return fmt.Errorf("there is no command %s%s; see thimble --help", model.Printable(c.Args().First()), spell.Suggest(c.Args().First(), names))
}

// usageError keeps the flag package's complaint and adds the nearest flag.
func usageError(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if bad, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		var names []string
		for _, f := range c.Command.Flags {
			names = append(names, f.Names()...)
		}
		text = fmt.Sprintf("there is no flag --%s%s", model.Printable(bad), spell.Suggest(strings.TrimLeft(bad, "-"), names))
	}
	return fmt.Errorf("%s; see thimble %s --help", text, c.Command.Name)
}

// flagsFirst moves a command's flags before its arguments, which is where the
// flag package looks for them. What follows "--" stays an argument.
func flagsFirst(app *cli.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	cmd := app.Command(args[1])
	if cmd == nil {
		return args
	}
	takesValue := map[string]bool{}
	for _, f := range cmd.Flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, name := range f.Names() {
			takesValue[name] = !isBool
		}
	}
	var flags, rest []string
	for i := 2; i < len(args); i++ {
		name, hasValue := strings.CutPrefix(args[i], "-")
		switch {
		case args[i] == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case !hasValue || name == "": // an argument, or "-" for standard input
			rest = append(rest, args[i])
		default:
			flags = append(flags, args[i])
			if takesValue[strings.TrimPrefix(name, "-")] && i+1 < len(args) {
				i++
				flags = append(flags, args[i])
			}
		}
	}
	moved := append([]string{args[0], args[1]}, flags...)
	if len(rest) > 0 {
		moved = append(append(moved, "--"), rest...)
	}
	return moved
}
