package main

import (
	"errors"
	"fmt"
	"strings"

	"thimble"

	"github.com/urfave/cli/v2"

	"thimble/internal/spell"
	"thimble/verify"
)

// completions holds the script of each shell. A script passes the words before the
// cursor to thimble and offers the candidates that it prints. If it prints none, the
// script offers files.
var completions = map[string]string{
	"bash": `_thimble() {
  local cur=${COMP_WORDS[COMP_CWORD]}
  [[ $cur == = ]] && cur=
  COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _thimble thimble
`,
	"zsh": `#compdef thimble
_thimble() {
  local -a candidates
  candidates=(${(f)"$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#candidates )); then compadd -a candidates; else _files; fi
}
if [[ $funcstack[1] == _thimble ]]; then _thimble "$@"; else compdef _thimble thimble; fi
`,
	"fish": `function __thimble_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l candidates ($words[1] __complete $words[2..-1] 2>/dev/null)
  if set -q candidates[1]
    printf '%s\n' $candidates
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c thimble -f -a '(__thimble_complete)'
`,
	// PowerShell completes only the last item of a list, so the script cuts the items
	// before it. It offers files itself if a completer offers nothing.
	"powershell": `Register-ArgumentCompleter -Native -CommandName thimble, thimble.exe -ScriptBlock {
  param($word, $ast, $cursor)
  $words = @(foreach ($e in $ast.CommandElements) {
    $from = $e.Extent.StartOffset
    if ($from -lt $cursor) { "$e".Substring(0, [Math]::Min("$e".Length, $cursor - $from)) }
  })
  $cut = 0
  if ($word -eq '') { $words += '` + nextWord + `' } else { $cut = [Math]::Max(0, $words[-1].Length - $word.Length) }
  & $words[0] __complete @($words | Select-Object -Skip 1) 2>$null | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_.Substring($cut), $_, 'ParameterValue', $_)
  }
}
`,
}

var shells = []string{"bash", "zsh", "fish", "powershell"}

// nextWord replaces an empty last word, because PowerShell before 7.3 passes no empty
// arguments to programs.
const nextWord = "__next"

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a shell's completion script",
		UsageText: "thimble completion bash|zsh|fish|powershell",
		Description: "Examples:\n" +
			"   source <(thimble completion bash)\n" +
			"   source <(thimble completion zsh)\n" +
			"   thimble completion fish > ~/.config/fish/completions/thimble.fish\n" +
			"   thimble completion powershell | Out-String | Invoke-Expression",
		Action: func(c *cli.Context) error {
			script, ok := completions[c.Args().First()]
			if !ok || c.NArg() != 1 {
				return fmt.Errorf("completion needs one of %s%s", strings.Join(shells, ", "), spell.Suggest(c.Args().First(), shells))
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

// completeCommand serves the completion scripts. Its arguments are the words after
// "thimble" up to the cursor. It prints the candidates for the last one, one per
// line, or nothing if that word names a file.
func completeCommand() *cli.Command {
	return &cli.Command{
		Name:            "__complete",
		Hidden:          true,
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			if len(words) == 0 {
				return errors.New("__complete is for the scripts that thimble completion prints")
			}
			for _, candidate := range candidates(c.App, words) {
				fmt.Fprintln(c.App.Writer, candidate)
			}
			return nil
		},
	}
}

// candidates returns the completions of the last of words.
func candidates(app *cli.App, words []string) (found []string) {
	last := len(words) - 1
	word := words[last]
	if word == nextWord {
		word = ""
	}
	offer := func(prefix string, all ...string) {
		for _, text := range all {
			if strings.HasPrefix(prefix+text, word) {
				found = append(found, prefix+text)
			}
		}
	}
	if last == 0 {
		offer("", append(commandNames(app), "--help", "--version")...)
		return found
	}
	cmd := app.Command(words[0])
	if cmd == nil {
		return nil
	}
	if word == "=" { // bash treats the = in --flag=value as a word
		word = ""
	}
	previous := words[last-1]
	if previous == "=" && last > 1 {
		previous = words[last-2]
	}
	name, _, joined := strings.Cut(strings.TrimLeft(word, "-"), "=")
	switch f := flagNamed(cmd, strings.TrimLeft(previous, "-")); {
	case strings.HasPrefix(previous, "-") && f != nil && f.TakesValue():
		offer(listed(f.Names()[0], word), valuesOf(cmd, f.Names()[0])...)
	case strings.HasPrefix(word, "-") && joined:
		flag := dashed(name) + "="
		offer(flag+listed(name, strings.TrimPrefix(word, flag)), valuesOf(cmd, name)...)
	case strings.HasPrefix(word, "-"):
		for _, long := range longNames(cmd.Flags) {
			offer("--", long)
		}
		offer("--", "help")
	case cmd.Name == "help" || cmd.Name == "man":
		offer("", commandNames(app)...)
	case cmd.Name == "completion":
		offer("", shells...)
	}
	return found
}

// listed returns the part of a flag's value up to its last comma if the flag takes a
// list.
func listed(flag, value string) string {
	if flag != "schemes" {
		return ""
	}
	return value[:strings.LastIndexByte(value, ',')+1]
}

// valuesOf returns the common values of a flag of cmd.
func valuesOf(cmd *cli.Command, flag string) []string {
	if cmd.Name == "logits" && flag == "to" {
		return thimble.ReferenceForms
	}
	return flagValues[flag]
}

// flagValues holds the common values of the flags that do not take files.
var flagValues = map[string][]string{
	"scheme":      schemes,
	"embedding":   schemes,
	"head":        schemes,
	"dtype":       dtypes,
	"to":          thimble.OutputFormats(),
	"preset":      presetNames(),
	"method":      thimble.Methods(),
	"for":         thimble.Targets(),
	"gate":        verify.MetricNames(),
	"arithmetic":  {"float", "int8"},
	"activations": activationTypes,
	"kv":          cacheTypes,
	"color":       {"auto", "always", "never"},
	"set":         {"layer_sharing=true", "share_embedding=true"},
	"schemes":     thimble.DefaultSchemes(),
	"without":     thimble.MethodSteps(thimble.CalibratedMethod),
}

var schemes = []string{
	"int4/g32", "int4/g64", "int4/g128", "int4/row", "int4/g32/asym", "int4/g64/asym", "int4/g128/asym",
	"int8/g32", "int8/g64", "int8/g128", "int8/row", thimble.Keep, "f32", "f16", "bf16",
}
