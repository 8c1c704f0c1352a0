package tokenizer

// patterns maps the patterns that steps of their own stand for, in Oniguruma's syntax.
var patterns = map[string]Step{
	gpt2Pattern:                            StepGPT2,
	llama3Head + `\p{N}{1,3}` + llama3Tail: StepLlama3,
	llama3Head + `\p{N}` + llama3Tail:      StepQwen2,
}

const (
	gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	llama3Head  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|`
	llama3Tail  = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// StepOf returns the step that stands for a pattern of which every match is a piece.
func StepOf(pattern string) (Step, bool) {
	s, ok := patterns[pattern]
	return s, ok
}

// Pattern returns the pattern that s stands for, or "" if it is another step.
func (s Step) Pattern() string {
	for p, step := range patterns {
		if step == s {
			return p
		}
	}
	return ""
}
