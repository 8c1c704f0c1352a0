// Command thimble turns a trained language model into a file that a phone can
// run, and proves that the file still computes the same thing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/cmd/thimble/internal/manual"
	"thimble/internal/defect"
	"thimble/internal/device"
	"thimble/internal/memory"
	"thimble/internal/spell"
	"thimble/internal/sweep"
)

// Exit codes. They are part of the command line's contract.
const (
	exitDone    = 0
	exitRefused = 1 // a gate failed, the models differ, or a signature is not trusted
	exitFailed  = 2 // could not run: usage, bad input, I/O
)

var (
	// errRefused ends a command with exitRefused after it has printed its report.
	errRefused = errors.New("gate not passed")

	// errUsage ends a run without a command after help has been printed.
	errUsage = errors.New("no command given")
)

func main() {
	memory.LimitGarbage()
	code := run(os.Args, os.Stdout, os.Stderr)
	os.Exit(code)
}

// run is main with the given streams; it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	// If the command still runs a second later, for example waiting for a disk, another
	// Ctrl-C ends it. Within that second, another Ctrl-C must not interrupt the cleanup.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	app := newApp(stdout, stderr)
	err := app.RunContext(ctx, flagsFirst(app, args))
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errRefused):
		return exitRefused
	case errors.Is(err, errUsage):
		return exitFailed
	case errors.Is(err, context.Canceled):
		err = interrupted(err)
	}
	fmt.Fprintf(stderr, "thimble: %s\n", defect.OneLine(withoutCall(err)))
	if refused := new(thimble.RefusedError); errors.As(err, &refused) {
		return exitRefused
	}
	return exitFailed
}

// withoutCall returns the text of err without the name of the system call that failed, and with
// what to do if a file may not be read or the disk is full.
func withoutCall(err error) string {
	text := err.Error()
	if p := new(fs.PathError); errors.As(err, &p) {
		why := p.Err.Error()
		switch {
		case errors.Is(p.Err, fs.ErrPermission):
			why = defect.Denied
		case errors.Is(p.Err, syscall.ENOSPC):
			why += "; delete something on that disk"
		}
		text = strings.Replace(text, p.Error(), defect.Printable(p.Path)+": "+why, 1)
	}
	return text
}

// interrupted returns the error for a user who stopped a run.
func interrupted(err error) error {
	text := "interrupted, no output was written"
	if part := new(sweep.UnfinishedError); errors.As(err, &part) {
		return errors.New("interrupted; " + part.Remedy())
	}
	if part := new(thimble.KeptPartError); errors.As(err, &part) {
		return errors.New("interrupted; " + part.Remedy())
	}
	if kept := new(thimble.KeptError); errors.As(err, &kept) {
		text += "; " + kept.Remedy()
	}
	if lost := new(thimble.LostError); errors.As(err, &lost) {
		text += "; " + lost.Remedy()
	}
	return errors.New(text)
}

const usageHelp = `The usual path from a Hugging Face directory to a verified file for a phone:

   hf download HuggingFaceTB/SmolLM2-135M-Instruct --local-dir smollm2
   thimble quantize smollm2 -o smollm2.gguf --preset phone
   thimble verify smollm2.gguf --against smollm2 --text sample.txt
   llama-cli -m smollm2.gguf -p 'The capital of France is'

A .gguf file runs in llama.cpp, Ollama, LM Studio and thimble run, chat and
serve, a .thimble file in these three alone.

Every command takes any model: ` + manual.ModelForms + `.
Options may precede or follow the arguments.

A download goes to the cache of the hub's own programs, checked by hash, and an
interrupted one is continued. HF_TOKEN, HF_ENDPOINT, HF_HUB_CACHE, HF_HOME and
HF_HUB_OFFLINE have the same meaning as there. Thimble uses the network for a
name that begins with hf:// and for nothing else.

A run of more than a few seconds shows its progress on standard error: on a
terminal in one line, elsewhere (as in a CI log) with a line for each stage and
then for every tenth of it or every half minute. -q silences it.

Exit status: 0 success, 1 a gate failed, models differ or a signature is not
trusted, 2 the command could not run.`

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                      "thimble",
		Usage:                     "turn a trained language model into a file a phone can run, and prove it still computes the same thing",
		UsageText:                 "thimble COMMAND [OPTIONS] ...",
		Description:               usageHelp,
		Version:                   thisBuild().line(),
		Writer:                    stdout,
		ErrWriter:                 stderr,
		Flags:                     []cli.Flag{cli.HelpFlag}, // the library does not add it if an application has its own help command
		DisableSliceFlagSeparator: true,                     // a comma is part of a prompt
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              usageError,
		Commands: []*cli.Command{
			convertCommand(), quantizeCommand(), verifyCommand(), logitsCommand(), inspectCommand(), signCommand(), reproduceCommand(), tokenizeCommand(),
			diffCommand(), exportCommand(), curveCommand(), sweepCommand(), runCommand(), chatCommand(), serveCommand(), benchCommand(), demoCommand(), helpCommand(), versionCommand(), manCommand(), completionCommand(), completeCommand(), renderCommand(),
		},
	}
	app.Action = noCommand
	for _, cmd := range app.Commands {
		cmd.OnUsageError = usageError
	}
	return app
}

// noCommand prints help for a bare "thimble", and suggests the nearest name for a
// mistyped command.
func noCommand(c *cli.Context) error {
	if c.NArg() == 0 {
		manual.Help(c.App.ErrWriter, "", c.App)
		return errUsage
	}
	return unknownCommand(c.App, c.Args().First())
}

func unknownCommand(app *cli.App, name string) error {
	return fmt.Errorf("there is no command %s%s; see thimble --help", defect.Printable(name), spell.Suggest(name, manual.CommandNames(app)))
}

// usageError rewrites the library's error about a flag, and suggests the nearest name
// for a flag that does not exist.
func usageError(c *cli.Context, err error, isCommand bool) error {
	text, help := err.Error(), "thimble --help"
	if isCommand {
		help = "thimble " + c.Command.Name + " --help"
	}
	for _, complaint := range []string{"flag provided but not defined: -", "flag needs an argument: -"} {
		name, ok := strings.CutPrefix(text, complaint)
		if !ok {
			continue
		}
		name = strings.TrimPrefix(name, "-")
		if text = manual.Dashed(name) + " needs a value"; strings.Contains(complaint, "not defined") {
			text = "there is no option " + defect.Printable(manual.Dashed(name))
			if ours := ourWords(c.Command, name); ours != "" {
				text += "; " + ours
			} else if near := spell.Nearest(name, manual.LongNames(c.Command.Flags)); near != "" {
				text += " (did you mean --" + near + "?)"
			}
		}
	}
	return fmt.Errorf("%s; see %s", text, help)
}

// flagsFirst moves a command's flags in front of its arguments, the only place where the
// flag package looks for them. Words after "--" stay arguments.
func flagsFirst(app *cli.App, args []string) []string {
	at := slices.IndexFunc(args, func(arg string) bool { return app.Command(arg) != nil })
	if at < 1 || at > 1 && !strings.HasPrefix(args[1], "-") {
		return args
	}
	args = slices.Concat(args[:1], args[at:at+1], args[1:at], args[at+1:])
	cmd := app.Command(args[1])
	if cmd.SkipFlagParsing {
		return args
	}
	var flags, rest []string
	for i := 2; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		switch {
		case args[i] == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case !isFlag || name == "": // an argument, or "-" for standard input
			rest = append(rest, args[i])
		case slices.Contains(cli.HelpFlag.Names(), strings.TrimPrefix(name, "-")): // help wins over everything else
			return []string{args[0], args[1], "--help"}
		default:
			flags = append(flags, args[i])
			switch f := manual.FlagNamed(cmd, strings.TrimPrefix(name, "-")); {
			case f == nil || !f.TakesValue():
			case f == deviceFlag && (i+1 == len(args) || !slices.Contains(device.Names(), args[i+1])): // its value is optional
				flags = append(flags, device.All)
			case i+1 < len(args):
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

// renderCommand returns the hidden command that renders a model's chat template, which
// is untrusted code, in a child process.
func renderCommand() *cli.Command {
	return &cli.Command{
		Name:            renderName,
		Hidden:          true,
		SkipFlagParsing: true,
		Action:          func(c *cli.Context) error { return thimble.ServeTemplates(stdin(c.Context), c.App.Writer) },
	}
}

const renderName = "__render"

// renderCommandLine returns the arguments that start renderCommand.
func renderCommandLine() ([]string, error) {
	self, err := os.Executable()
	return []string{self, renderName}, err
}
