// Package mixedtext holds the built-in calibration text: prose, code and conversations,
// at least 8,000 tokens of each, for users who have no text of their own.
//
// All of it may be redistributed. README.md lists where each part is from. A change to a
// file is a new text: it raises the version in Name, since recipes record Name and the
// SHA-256 of the parts.
package mixedtext

import (
	_ "embed" // for the texts
	"encoding/json"
	"strings"
)

// Name identifies the text in recipes and notes.
const Name = "built-in mixed text v1"

// The parts, in the order in which they are used.
var (
	//go:embed prose.txt
	Prose string
	//go:embed code.txt
	Code string
	// Chat has a line "---" between conversations. Each message begins with its speaker,
	// "User: " or "Assistant: ", so that a model without a chat template can read it too.
	//go:embed chat.txt
	Chat string
)

// A message is a message of a conversation in JSON.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Conversations returns Chat as lines of JSON, {"messages": [...]}.
func Conversations() (string, error) {
	var b strings.Builder
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false)
	for text := range strings.SplitSeq(strings.TrimSuffix(Chat, "\n"), "\n---\n") {
		conversation := struct {
			Messages []message `json:"messages"`
		}{messages(text)}
		if err := lines.Encode(conversation); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// messages splits a conversation where a line begins with a speaker.
func messages(text string) (all []message) {
	for line := range strings.SplitAfterSeq(text, "\n") {
		role := ""
		for _, speaker := range []string{"User", "Assistant"} {
			if rest, ok := strings.CutPrefix(line, speaker+": "); ok {
				role, line = strings.ToLower(speaker), rest
			}
		}
		if role != "" {
			all = append(all, message{Role: role})
		}
		all[len(all)-1].Content += line
	}
	for i := range all {
		all[i].Content = strings.TrimRight(all[i].Content, "\n")
	}
	return all
}
