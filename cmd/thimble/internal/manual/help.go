// Package manual says what the commands and their flags are: in help, in manual pages, and
// to the shells that complete a command line.
package manual

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"thimble/internal/textwrap"

	"github.com/urfave/cli/v2"
)

// ModelForms lists what a command that takes a model takes. It is the only such list, so
// that every help has the same one.
const ModelForms = `a Hugging Face directory (config.json, and weights as
safetensors or PyTorch files, in shards or not); one of Meta's original
directories (params.json and consolidated.NN.pth); a .safetensors, .bin, .pt or
.pth file with its config.json in the same directory; a .gguf file; a .thimble
file; hf://OWNER/NAME[@REVISION][/PATH], a model on the Hugging Face hub or a
file of it, which is downloaded`

// modelArguments are the names of models in the usage of commands.
var modelArguments = []string{"MODEL", "SRC", "A and B"}

// Help writes the help of a *cli.App or *cli.Command. It replaces the
// library's templates.
func Help(w io.Writer, _ string, subject any) {
	var b strings.Builder
	app, cmd := subjects(subject)
	if cmd == nil {
		textwrap.Write(&b, app.Name+" - "+app.Usage, 0, 0, textwrap.TerminalWidth)
		fmt.Fprintf(&b, "\nusage: %s\n\n", app.UsageText)
		paragraphs(&b, app.Description)
		b.WriteString("\ncommands:\n")
		for _, c := range app.VisibleCommands() {
			fmt.Fprintf(&b, "  %-11s ", c.Name)
			textwrap.Write(&b, c.Usage, 14, 14, textwrap.TerminalWidth)
		}
		b.WriteString("\nthimble COMMAND --help explains a command, thimble --version prints the version.\n")
	} else {
		commandHelp(&b, cmd)
	}
	io.WriteString(w, b.String())
}

// usageForms returns the forms of a command line in text. Other lines continue the one before.
func usageForms(text string) []string {
	forms := strings.Split(text, "\n   thimble ")
	for i, form := range forms {
		if i > 0 {
			form = "thimble " + form
		}
		forms[i] = strings.Join(strings.Fields(form), " ")
	}
	return forms
}

// commandHelp writes the help of cmd: the options follow the first paragraph, so that they
// are on the first screen, and the examples are last.
func commandHelp(b *strings.Builder, cmd *cli.Command) {
	textwrap.Write(b, "thimble "+cmd.Name+" - "+cmd.Usage, 0, 0, textwrap.TerminalWidth)
	b.WriteString("\nusage: ")
	for i, form := range usageForms(cmd.UsageText) {
		if i > 0 {
			b.WriteString("       ")
		}
		textwrap.Write(b, form, 7, 7+len("thimble "+cmd.Name+" "), textwrap.TerminalWidth)
	}
	first, rest, _ := strings.Cut(cmd.Description, "\n\n")
	if strings.HasPrefix(first, "Examples:") {
		first, rest = "", cmd.Description
	}
	if first != "" {
		b.WriteString("\n")
		paragraphs(b, first)
	}
	b.WriteString("\noptions:\n")
	for _, f := range cmd.VisibleFlags() {
		if f != cli.HelpFlag { // the library adds it only when the command runs
			printFlag(b, f.(cli.DocGenerationFlag))
		}
	}
	printFlag(b, cli.HelpFlag.(cli.DocGenerationFlag))
	if name := ModelArgument(cmd); name != "" {
		b.WriteString("\n")
		verb := " is "
		if strings.Contains(name, " ") {
			verb = " are each "
		}
		paragraphs(b, name+verb+ModelForms+".")
	}
	if rest != "" {
		b.WriteString("\n")
		paragraphs(b, rest)
	}
}

// ModelArgument returns which of modelArguments cmd takes, or "".
func ModelArgument(cmd *cli.Command) string {
	words := strings.FieldsFunc(cmd.UsageText, isSeparator)
	for _, name := range modelArguments {
		if slices.Contains(words, strings.Fields(name)[0]) {
			return name
		}
	}
	return ""
}

// isSeparator reports whether r separates arguments in a usage.
func isSeparator(r rune) bool { return strings.ContainsRune(" |()[]\n", r) }

// subjects returns subject as an application or a command; the other result is nil.
func subjects(subject any) (*cli.App, *cli.Command) {
	if app, ok := subject.(*cli.App); ok {
		return app, nil
	}
	return nil, subject.(*cli.Command)
}

// A flagHelp is what a help page says about a flag.
type flagHelp struct {
	short, long string // names without dashes; a flag may lack either
	value       string // placeholder, or "" if the flag takes no value
	usage       string // with the default
}

func helpOf(f cli.DocGenerationFlag) (h flagHelp) {
	for _, name := range f.Names() {
		if len(name) == 1 {
			h.short = name
		} else if h.long == "" {
			h.long = name
		}
	}
	h.usage = f.GetUsage()
	if before, rest, ok := strings.Cut(h.usage, "`"); ok {
		name, after, _ := strings.Cut(rest, "`")
		h.usage, h.value = before+name+after, name
	}
	if v := f.GetValue(); f.TakesValue() && v != "" && v != "0" && v != "[]" {
		h.usage += " (default: " + v + ")"
	}
	return h
}

// printFlag prints "  -o, --output FILE  what it does", with the text in the second
// column.
func printFlag(b *strings.Builder, f cli.DocGenerationFlag) {
	const column = 26
	h := helpOf(f)
	left := "      "
	if h.short != "" {
		left = "  -" + h.short + ", "
	}
	if h.long != "" {
		left += "--" + h.long
	}
	if h.value != "" {
		left += " " + h.value
	}
	if len(left) > column-2 {
		b.WriteString(left + "\n")
		left = ""
	}
	fmt.Fprintf(b, "%-*s", column, left)
	textwrap.Write(b, h.usage, column, column, textwrap.TerminalWidth)
}

// paragraphs writes text, and wraps every paragraph that is not indented.
func paragraphs(b *strings.Builder, text string) {
	plain := ""
	flush := func() {
		if plain != "" {
			textwrap.Write(b, plain, 0, 0, textwrap.TerminalWidth)
			plain = ""
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" && line[0] != ' ' {
			plain += " " + line
			continue
		}
		flush()
		b.WriteString(line + "\n")
	}
	flush()
}
