package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"thimble/cmd/thimble/internal/terminal"
	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/session"
)

const chatHelp = `Formats the conversation with the model's chat template and streams each
answer. Only what is new in a turn is computed. How tokens are chosen is, for
each option that is not given, as the model's authors recommend
(generation_config.json, which convert and quantize store in the file), and
otherwise by the most likely token. The same seed gives the same conversation on
every machine, on one day: some templates tell the model the date. --date DATE
makes it the same on any day.

If standard input is not a terminal, every line is a message and its answer is
printed as one paragraph, so that a file of questions is a script; nothing else
is written to standard output. With -p the only message is TEXT.

A line that begins with / is a command: /help lists them. //text sends "/text".
Ctrl-C ends an answer, and at the prompt the program. On a terminal, the speed
of each answer follows it; elsewhere the speed of all is on standard error at
the end (-q silences it).

When the conversation no longer fits the context, chat says so and keeps the
conversation without the last message; /reset begins again. The KV cache grows
with the conversation up to --context; --kv int8 makes it four times smaller.

Examples:
   thimble chat smol.thimble
   thimble chat smol.thimble --system 'Answer in one sentence.'
   thimble chat smol.thimble --temperature 0.7 --top-p 0.9 --seed 7
   thimble chat smol.thimble -p 'Why is the sky blue?' -n 100
   thimble chat smol.thimble --stop '###' < questions.txt > answers.txt`

func chatCommand() *cli.Command {
	return &cli.Command{
		Name:        "chat",
		Usage:       "talk with a model",
		UsageText:   "thimble chat MODEL [--system TEXT] [-p TEXT] [--temperature T --seed S]",
		Description: chatHelp,
		Flags: append(append([]cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "answer `TEXT` and stop"},
			&cli.StringFlag{Name: "system", Usage: "begin with the system message `TEXT`"},
			&cli.StringSliceFlag{Name: "stop", Usage: "end an answer before `TEXT` (repeatable)"},
			&cli.Uint64Flag{Name: "seed", Usage: "seed sampling with `NUMBER`"},
		}, samplingFlags...), contextLimitFlag, dateFlag, arithmeticFlag, activationsFlag, kvFlag, setFlag, dropFlag, quietFlag),
		Action: chatAction,
	}
}

func chatAction(c *cli.Context) error {
	m, e, err := openEngine(c)
	if err != nil {
		return err
	}
	defer m.Close()
	defer e.Close()
	t := &talk{c: c, out: c.App.Writer, notes: c.App.ErrWriter, system: c.String("system")}
	if t.request, err = samplingOf(c, m); err != nil {
		return err
	}
	t.request.Stop, t.request.Seed = c.StringSlice("stop"), c.Uint64("seed")
	s, err := e.NewSession()
	if err != nil {
		return err
	}
	t.context = e.Context
	t.chat = s.NewChat(t.system)
	if c.Bool(quietFlag.Name) {
		t.notes = io.Discard
	}
	if terminal.IsTerminal(c.App.Writer) {
		t.out = terminal.PlainText{W: c.App.Writer}
	}
	if c.IsSet("prompt") {
		err = t.say(c.Context, c.String("prompt"))
	} else {
		t.terminal = terminal.IsTerminal(os.Stdin) && terminal.IsTerminal(c.App.Writer)
		err = t.talk(stdin(c.Context))
	}
	if err == nil && !t.terminal {
		t.speed(t.tokens, t.took)
	}
	return err
}

// A talk is a conversation on a terminal or over pipes.
type talk struct {
	c        *cli.Context
	chat     *session.Chat
	request  session.Request
	system   string
	context  int
	out      io.Writer
	notes    io.Writer // about the answers
	terminal bool

	tokens int           // of all answers
	took   time.Duration // after their first tokens
}

// maxMessage is the length of the longest line, in bytes.
const maxMessage = 1 << 20

// errQuit ends a talk.
var errQuit = errors.New("quit")

// talk reads messages and commands from in until it ends.
func (t *talk) talk(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxMessage)
	for {
		if t.terminal {
			fmt.Fprint(t.out, "> ")
		}
		if !lines.Scan() {
			break
		}
		line := strings.TrimRight(lines.Text(), "\r")
		if strings.TrimSpace(line) == "" {
			continue
		}
		err := t.line(line)
		if err == errQuit {
			return nil
		}
		if err != nil && !t.terminal {
			return err
		} else if err != nil {
			fmt.Fprintf(t.notes, "thimble: %s\n", defect.OneLine(err.Error()))
		}
	}
	if t.terminal {
		fmt.Fprintln(t.out)
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("chat: a message of more than %d bytes; shorten the line", maxMessage)
	}
	return lines.Err()
}

// line executes a command or answers a message.
func (t *talk) line(line string) error {
	if text, escaped := strings.CutPrefix(line, "//"); escaped {
		return t.answer("/" + text)
	}
	if command, ok := strings.CutPrefix(line, "/"); ok {
		name, argument, _ := strings.Cut(command, " ")
		return t.command(name, strings.TrimSpace(argument))
	}
	return t.answer(line)
}

// answer is say, which Ctrl-C ends on a terminal.
func (t *talk) answer(text string) error {
	if !t.terminal {
		return t.say(t.c.Context, text)
	}
	ctx, stop := signal.NotifyContext(context.WithoutCancel(t.c.Context), os.Interrupt)
	defer stop()
	err := t.say(ctx, text)
	if errors.Is(err, context.Canceled) {
		t.chat.End()
		return nil
	}
	return err
}

// say answers a message.
func (t *talk) say(ctx context.Context, text string) error {
	err := t.chat.Say(ctx, text, t.request)
	if full := new(session.ContextError); errors.As(err, &full) {
		return fmt.Errorf("the conversation is full: with this message it has %d tokens, the context is %d; /reset begins again, /undo takes back the last turn", full.Tokens, full.Context)
	} else if err != nil {
		return err
	}
	a := t.chat.Answer()
	var first time.Time
	for {
		text, err := t.chat.Next(ctx)
		if first.IsZero() {
			first = time.Now()
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Fprintln(t.out)
			return err
		}
		if _, err := io.WriteString(t.out, text); err != nil {
			return err
		}
	}
	fmt.Fprintln(t.out)
	n, took := max(0, len(a.IDs)-1), time.Since(first)
	t.tokens, t.took = t.tokens+n, t.took+took
	if t.terminal {
		t.speed(n, took)
	}
	if a.Reason == session.Context {
		return fmt.Errorf("the answer is cut off: the context of %d is full; /reset begins again", t.context)
	}
	return nil
}

// speed says how fast n tokens, without the first of each answer, were generated.
func (t *talk) speed(n int, took time.Duration) {
	if n > 0 && took > 0 {
		fmt.Fprintf(t.notes, "%.1f tokens/s\n", float64(n)/took.Seconds())
	}
}

// A slash is a command of a talk.
type slash struct {
	name, argument, help string
	do                   func(t *talk, argument string) error
}

var slashes []slash

func init() {
	slashes = []slash{
		{"help", "", "list these commands", func(t *talk, _ string) error {
			for _, s := range slashes {
				fmt.Fprintf(t.notes, "  %-14s %s\n", "/"+s.name+" "+s.argument, s.help)
			}
			return nil
		}},
		{"reset", "", "begin the conversation again", func(t *talk, _ string) error {
			t.chat.Reset(t.system)
			return nil
		}},
		{"system", "[TEXT]", "begin again with the system message TEXT, or with none", func(t *talk, text string) error {
			t.system = text
			t.chat.Reset(text)
			return nil
		}},
		{"undo", "", "take back the last message and its answer", func(t *talk, _ string) error {
			n := len(t.chat.Messages)
			if first := min(1, len(t.system)); n < 2+first {
				return errors.New("/undo: there is nothing to take back")
			}
			t.chat.Messages = t.chat.Messages[:n-2]
			return nil
		}},
		{"save", "FILE", "save the conversation as a line of JSON, which --calib takes", func(t *talk, file string) error {
			if file == "" {
				return errors.New("/save needs the name of a file: /save chat.jsonl")
			}
			text, err := t.chat.Line()
			if err != nil {
				return err
			}
			return atomicfile.WriteFile(file, text, atomicfile.Options{})
		}},
		{"exit", "", "end the program; so does the end of the input", func(*talk, string) error { return errQuit }},
	}
}

func (t *talk) command(name, argument string) error {
	var names []string
	for _, s := range slashes {
		if s.name == name || name == "quit" && s.name == "exit" {
			return s.do(t, argument)
		}
		names = append(names, "/"+s.name)
	}
	return fmt.Errorf("there is no command /%s; commands are %s", defect.Printable(name), strings.Join(names, ", "))
}
