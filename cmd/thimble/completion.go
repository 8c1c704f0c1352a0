package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"thimble/internal/spell"
)

// completions are the scripts that ask thimble itself what may come next.
var completions = map[string]string{
	"bash": `_thimble() {
  local cur=${COMP_WORDS[COMP_CWORD]} words
  words=$("${COMP_WORDS[@]:0:COMP_CWORD}" $([[ $cur == -* ]] && printf %s "$cur") --generate-bash-completion 2>/dev/null)
  COMPREPLY=($(compgen -W "$words" -- "$cur") $(compgen -f -- "$cur"))
}
complete -o filenames -F _thimble thimble
`,
	"zsh": `#compdef thimble
_thimble() {
  local -a words
  local cur=${words[-1]}
  words=("${(@f)$(${(@)words[1,CURRENT-1]} --generate-bash-completion 2>/dev/null)}")
  compadd -a words
  _files
}
compdef _thimble thimble
`,
	"fish": `complete -c thimble -a '(set -l words (commandline -opc); $words --generate-bash-completion 2>/dev/null)'
`,
}

func completionCommand() *cli.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a shell's completion script",
		UsageText: "thimble completion bash|zsh|fish",
		Description: "Examples:\n" +
			"   source <(thimble completion bash)\n" +
			"   thimble completion fish > ~/.config/fish/completions/thimble.fish",
		Action: func(c *cli.Context) error {
			script, ok := completions[c.Args().First()]
			if !ok || c.NArg() != 1 {
				return fmt.Errorf("completion wants one of bash, zsh, fish%s", spell.Suggest(c.Args().First(), shells))
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}
