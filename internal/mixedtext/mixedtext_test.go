package mixedtext

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

// Recipes record these digests: a changed text needs another version in Name.
func TestTextsOfVersion1(t *testing.T) {
	for name, part := range map[string]struct{ text, sum string }{
		"prose": {Prose, "98ec7030a835eec5309bf057b46bf26ee58e5fea9d83786076e9f56d1af8626a"},
		"code":  {Code, "0ebd432c3b6e228b1f945e9eab12edcbbe6ee8bfce3d969096a85c6ad36ce5b6"},
		"chat":  {Chat, "5308cd1d7b8369071daf70d71cdc8244dea3936f7aea2c3022b696b6cc9e37e9"},
	} {
		sum := sha256.Sum256([]byte(part.text))
		if got := hex.EncodeToString(sum[:]); got != part.sum || Name != "built-in mixed text v1" {
			t.Errorf("%s of %s has SHA-256 %s, want %s", name, Name, got, part.sum)
		}
		if len(part.text) < 28000 {
			t.Errorf("%s has %d bytes, fewer than 8,192 tokens take", name, len(part.text))
		}
	}
}

// Chat templates require that users and assistants take turns. Nothing of the text is
// lost in the messages.
func TestConversations(t *testing.T) {
	text, err := Conversations()
	if err != nil {
		t.Fatal(err)
	}
	var back []string
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		var c struct{ Messages []message }
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if len(c.Messages) < 2 || len(c.Messages)%2 != 0 {
			t.Errorf("%d messages, want pairs, in %.60s", len(c.Messages), line)
		}
		var turns []string
		for i, m := range c.Messages {
			speaker := []string{"User", "Assistant"}[i%2]
			if m.Role != strings.ToLower(speaker) || m.Content == "" {
				t.Errorf("message %d is of %q in %.60s", i, m.Role, line)
			}
			turns = append(turns, speaker+": "+m.Content)
		}
		back = append(back, strings.Join(turns, "\n\n"))
	}
	if strings.Join(back, "\n---\n")+"\n" != Chat {
		t.Error("the messages do not have the text of Chat")
	}
}
