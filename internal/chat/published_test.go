package chat

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

// published is what chat_golden.py --published writes about templates that are not ours.
var published = flag.String("published", "", "also compare the templates in this `file`")

// A row is a conversation of golden.json by its name, whether it has the tools, whether the
// text ends with the prompt for an answer, and the SHA-256 of the text, or null.
type row [4]any

// compareRows renders the conversations of rows, and returns how many texts are equal and how
// many conversations both sides refuse.
func compareRows(t *testing.T, g golden, name, source string, rows []row) (equal, refused int) {
	t.Helper()
	template, err := Compile(source, g.Specials)
	if err != nil {
		t.Logf("%s: %v", name, err)
	}
	tools, toolsErr := ParseValue("tools", g.Tools)
	if toolsErr != nil {
		t.Fatal(toolsErr)
	}
	for _, r := range rows {
		list, isCall := g.Calls[r[0].(string)]
		if !isCall {
			list = g.Conversations[r[0].(string)]
		}
		v, parseErr := ParseValue("messages", list)
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		c := Conversation{Generate: r[2] == true}
		for _, m := range v.([]any) {
			c.Messages = append(c.Messages, m.(Object))
		}
		if r[1] == true {
			c.Tools = tools.([]any)
		}
		text, renderErr := "", err
		if template != nil {
			text, renderErr = template.Render(c)
		}
		sum := sha256.Sum256([]byte(text))
		switch {
		case r[3] == nil && renderErr != nil:
			refused++
		case r[3] == nil:
			t.Errorf("%s, %v: %q, want an error", name, r[:3], text)
		case renderErr != nil:
			t.Errorf("%s, %v: %v", name, r[:3], renderErr)
		case hex.EncodeToString(sum[:]) != r[3]:
			t.Errorf("%s, %v: differs: %q", name, r[:3], text)
		default:
			equal++
		}
	}
	return equal, refused
}

// Conversations with tools, calls and reasoning render to the bytes that transformers gives.
func TestGoldenCalls(t *testing.T) {
	g := readGolden(t)
	equal, refused := 0, 0
	for name, rows := range g.Hashes {
		source, err := os.ReadFile(filepath.Join(testdata, name+".jinja"))
		if err != nil {
			t.Fatal(err)
		}
		e, r := compareRows(t, g, name, string(source), rows)
		equal, refused = equal+e, refused+r
	}
	if equal < 190 || refused < 50 {
		t.Errorf("compared only %d rendered and %d refused conversations", equal, refused)
	}
}

func TestPublished(t *testing.T) {
	if *published == "" {
		t.Skip("needs -published, with templates that are not part of the module")
	}
	g := readGolden(t)
	f, err := os.Open(*published)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<26)
	templates, equal, refused := 0, 0, 0
	for ; lines.Scan(); templates++ {
		var line struct {
			Template string `json:"template"`
			Name     string `json:"name"`
			Rows     []row  `json:"rows"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		e, r := compareRows(t, g, line.Name, line.Template, line.Rows)
		equal, refused = equal+e, refused+r
	}
	t.Logf("%d templates: %d texts are equal, %d conversations are refused by both", templates, equal, refused)
}
