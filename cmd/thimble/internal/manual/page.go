package manual

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// Page returns the manual page of cmd, or of app if cmd is nil, as roff with the man
// macros. It has no date, so that the same program always prints the same page.
func Page(app *cli.App, cmd *cli.Command, version string) string {
	var b strings.Builder
	name, usage, usageText, description, flags := app.Name, app.Usage, app.UsageText, app.Description, app.VisibleFlags()
	if cmd != nil {
		name, usage, usageText, description, flags = app.Name+"-"+cmd.Name, cmd.Usage, cmd.UsageText, cmd.Description, cmd.VisibleFlags()
	}
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s %s\" \"Thimble\"\n", roff(strings.ToUpper(name)), app.Name, roff(version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(usage))
	b.WriteString(".SH SYNOPSIS\n")
	manExample(&b, strings.Split(usageText, "\n"))
	b.WriteString(".SH DESCRIPTION\n")
	if description == "" {
		description = strings.ToUpper(usage[:1]) + usage[1:] + "."
	}
	manText(&b, description)
	if cmd == nil {
		b.WriteString(".SH COMMANDS\n")
		for _, c := range app.VisibleCommands() {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR(1)\n%s\n", roff(app.Name+"-"+c.Name), roff(c.Usage))
		}
	}
	b.WriteString(".SH OPTIONS\n")
	for _, f := range flags {
		if f != cli.HelpFlag {
			manFlag(&b, f.(cli.DocGenerationFlag))
		}
	}
	manFlag(&b, cli.HelpFlag.(cli.DocGenerationFlag))
	b.WriteString(".SH EXIT STATUS\n0 success, 1 a gate failed, models differ or a signature is not trusted, 2 the command could not run.\n")
	if cmd != nil {
		fmt.Fprintf(&b, ".SH SEE ALSO\n\\fB%s\\fR(1)\n", roff(app.Name))
	}
	return b.String()
}

// manText writes a description: paragraphs, examples where lines are indented, and a
// section where a line is "Examples:".
func manText(b *strings.Builder, text string) {
	var example []string
	flush := func() {
		if len(example) > 0 {
			manExample(b, example)
			example = nil
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, " ") {
			example = append(example, strings.TrimPrefix(line, "   "))
			continue
		}
		flush()
		switch line {
		case "":
			b.WriteString(".PP\n")
		case "Examples:":
			b.WriteString(".SH EXAMPLES\n")
		default:
			b.WriteString(roff(line) + "\n")
		}
	}
	flush()
}

// manExample writes lines that man must not fill.
func manExample(b *strings.Builder, lines []string) {
	b.WriteString(".EX\n")
	for _, line := range lines {
		b.WriteString(roff(line) + "\n")
	}
	b.WriteString(".EE\n")
}

func manFlag(b *strings.Builder, f cli.DocGenerationFlag) {
	h := helpOf(f)
	var names []string
	for _, name := range []string{h.short, h.long} {
		if name != "" {
			names = append(names, `\fB`+roff(Dashed(name))+`\fR`)
		}
	}
	left := strings.Join(names, ", ")
	if h.value != "" {
		left += ` \fI` + roff(h.value) + `\fR`
	}
	fmt.Fprintf(b, ".TP\n%s\n%s\n", left, roff(h.usage))
}

// roffEscapes keeps characters what they are, so that examples can be copied: roff would
// print typographic hyphens, quotes and accents.
var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// roff escapes one line of text.
func roff(text string) string {
	text = roffEscapes.Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}
