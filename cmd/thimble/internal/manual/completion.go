package manual

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// scripts holds the script of each shell. A script passes the words before the
// cursor to thimble and offers the candidates that it prints. If it prints none, the
// script offers files.
var scripts = map[string]string{
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

// Shells are the shells that have a completion script.
var Shells = []string{"bash", "zsh", "fish", "powershell"}

// nextWord replaces an empty last word, because PowerShell before 7.3 passes no empty
// arguments to programs.
const nextWord = "__next"

// Script returns the completion script of one of Shells.
func Script(shell string) (text string, ok bool) {
	text, ok = scripts[shell]
	return text, ok
}

// Candidates returns the completions of the last of words, which follow the name of app.
// values returns the common values of a flag.
func Candidates(app *cli.App, words []string, values func(cmd *cli.Command, flag string) []string) (found []string) {
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
		offer("", append(CommandNames(app), "--help", "--version")...)
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
	switch f := FlagNamed(cmd, strings.TrimLeft(previous, "-")); {
	case strings.HasPrefix(previous, "-") && f != nil && f.TakesValue():
		offer(listed(f.Names()[0], word), values(cmd, f.Names()[0])...)
	case strings.HasPrefix(word, "-") && joined:
		flag := Dashed(name) + "="
		offer(flag+listed(name, strings.TrimPrefix(word, flag)), values(cmd, name)...)
	case strings.HasPrefix(word, "-"):
		for _, long := range LongNames(cmd.Flags) {
			offer("--", long)
		}
		offer("--", "help")
	case cmd.Name == "help" || cmd.Name == "man":
		offer("", CommandNames(app)...)
	case cmd.Name == "completion":
		offer("", Shells...)
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
