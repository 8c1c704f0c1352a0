package chat

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/strictjson"
	"thimble/internal/tokenizer"
)

func compile(t *testing.T, source string) *Template {
	c, err := Compile(source, map[string]string{"bos_token": "<s>", "eos_token": "</s>"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const testdata = "testdata"

// golden is the content of golden.json: the texts that transformers renders, which
// fixtures/gen/chat_golden.py writes.
type golden struct {
	Specials      map[string]string             `json:"specials"`
	Conversations map[string]json.RawMessage    `json:"conversations"`
	Answers       map[string]map[string]*string `json:"answers"` // by template and conversation; null if rejected
	Snippets      [][2]string                   `json:"snippets"`
	Tools         json.RawMessage               `json:"tools"`
	Calls         map[string]json.RawMessage    `json:"calls"`  // conversations with tools
	Hashes        map[string][]row              `json:"hashes"` // by template
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testdata, "golden.json"))
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGoldenTemplates(t *testing.T) {
	g := readGolden(t)
	rendered, rejected := 0, 0
	for name, texts := range g.Answers {
		source, err := os.ReadFile(filepath.Join(testdata, name+".jinja"))
		if err != nil {
			t.Fatal(err)
		}
		template, err := Compile(string(source), g.Specials)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for conversation, want := range texts {
			got, err := template.Render(Conversation{Messages: messages(t, g.Conversations[conversation])})
			switch {
			case want == nil:
				rejected++
				if err == nil || !strings.Contains(err.Error(), "rejects this conversation: ") {
					t.Errorf("%s, %s: %q, %v, want a rejection", name, conversation, got, err)
				}
			case err != nil:
				t.Errorf("%s, %s: %v", name, conversation, err)
			default:
				rendered++
				if diff := cmp.Diff(*want, got); diff != "" {
					t.Errorf("%s, %s: %s", name, conversation, diff)
				}
			}
		}
	}
	if rendered < 170 || rejected < 20 {
		t.Errorf("compared only %d rendered and %d rejected conversations", rendered, rejected)
	}
}

func TestGoldenSnippets(t *testing.T) {
	g := readGolden(t)
	for _, snippet := range g.Snippets {
		template, err := Compile(snippet[0], nil)
		if err != nil {
			t.Errorf("%q: %v", snippet[0], err)
		} else if got, err := template.Render(Conversation{}); got != snippet[1] || err != nil {
			t.Errorf("%q: %q, %v, want %q", snippet[0], got, err, snippet[1])
		}
	}
	if len(g.Snippets) < 150 {
		t.Errorf("compared only %d snippets", len(g.Snippets))
	}
}

// messages parses a list of messages.
func messages(t *testing.T, list json.RawMessage) []Message {
	t.Helper()
	line, err := ParseLine("golden", 0, []byte(`{"messages":`+string(list)+`}`))
	if err != nil {
		t.Fatal(err)
	}
	return line.Messages
}

func TestParseLine(t *testing.T) {
	for line, want := range map[string]*Line{
		`{"text": "plain", "source": {"a": [1]}}`: {Text: "plain"},
		`{"messages":[{"role":"user","content":"a"},{"content":"b","role":"assistant","weight":1.5,"name":null}],"tools":[]}`: {
			Messages: []Message{newMessage("user", "a"), {{"content", "b"}, {"role", "assistant"}, {"weight", json.Number("1.5")}, {"name", nil}}},
		},
		`{"id":1,"conversations":[{"from":"system","value":"s"},{"from":"human","value":"a"},{"from":"gpt","value":"b","weight":0}]}`: {
			Messages: []Message{newMessage("system", "s"), newMessage("user", "a"), newMessage("assistant", "b")},
		},
	} {
		got, err := ParseLine("f", 0, []byte(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", line, diff)
		}
	}
	for line, want := range map[string]string{
		`[1]`:                              "f: byte 7: want an object with messages, conversations or text",
		`"x"`:                              "f: byte 7: want an object with messages, conversations or text",
		`{}`:                               "f: byte 7: want one of messages, conversations and text, found 0 of them",
		`{"text":"a","messages":[]}`:       "f: byte 7: want one of messages, conversations and text, found 2 of them",
		`{"text":7}`:                       "f: byte 7: text: want a string",
		`{"text":["a"]}`:                   "f: byte 7: text: want a string",
		`{"messages":"a"}`:                 "f: byte 7: messages: want a list of messages",
		`{"messages":[]}`:                  "f: byte 7: messages: want a list of messages",
		`{"messages":[[]]}`:                "f: byte 7: messages[0]: want an object",
		`{"messages":[{"role":"user"}]}`:   "f: byte 7: messages[0]: content: want a string",
		`{"messages":[{"content":"x"}]}`:   "f: byte 7: messages[0]: role: want a string",
		`{"text":"a"`:                      "f: byte 18: the text ends, want a comma or '}'",
		`{"text":"a"} {}`:                  `f: byte 20: unexpected '{' after the value`,
		`{"messages":[],"tools":[{}]}`:     "f: byte 7: tools: conversations with tools are not supported; leave such lines out",
		`{"conversations":[{"from":"x"}]}`: "f: byte 7: conversations[0]: value: want a string",
		`{"conversations":[{"from":"tool","value":""}]}`:                         `f: byte 7: conversations[0]: from: "tool" is not one of human, gpt and system`,
		`{"messages":[{"role":"assistant","content":"","tool_calls":[{}]}]}`:     "f: byte 7: messages[0]: tool_calls: conversations with tools are not supported; leave such lines out",
		`{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}`: "f: byte 7: messages[0]: content: want a string",
	} {
		if _, err := ParseLine("f", 7, []byte(line)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

// A message survives the round trip to another process with its members in order.
func TestObjectKeepsItsOrder(t *testing.T) {
	const text = `{"role":"user","content":"a\u003cb","z":{"y":1,"x":[true,null,1e3]},"b":12345678901234567890}`
	v, err := tree(strictjson.NewDecoder("f", 0, []byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(v)
	if err != nil || string(again) != text {
		t.Errorf("%s, %v, want %s", again, err, text)
	}
	got, err := compile(t, "{{ messages[0] | tojson }}").Render(Conversation{Messages: []Message{v.(Object)}})
	const want = `{"role": "user", "content": "a<b", "z": {"y": 1, "x": [true, null, 1000.0]}, "b": 12345678901234567890}`
	if err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

func TestDate(t *testing.T) {
	got, err := compile(t, `{{ strftime_now("%d %b %Y, %A %d.%m.%y %H:%M:%S %B 100%%") }}`).Render(Conversation{})
	const want = "26 Jul 2024, Friday 26.07.24 00:00:00 July 100%"
	if got != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for source, want := range map[string]string{
		`{{ strftime_now("%9d") }}`: "%9d has a width or a modifier, which is not supported",
		`{{ strftime_now(7) }}`:     "takes one format",
	} {
		if text, err := compile(t, source).Render(Conversation{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", source, text, err, want)
		}
	}
}

// A conversation may have a date, also one that another process renders.
func TestDateOfConversation(t *testing.T) {
	now := time.Date(2031, time.March, 9, 17, 5, 0, 0, time.FixedZone("", -5*3600))
	const source, want = `{{ strftime_now("%A %-d %B %Y %H:%M %p") }}`, "Sunday 9 March 2031 17:05 PM"
	if got, err := compile(t, source).Render(Conversation{Now: now}); got != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	p, err := start(t, source)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got, err := p.Render(t.Context(), Conversation{Messages: []Message{}, Now: now}); got != want || err != nil {
		t.Errorf("in a process %q, %v, want %q", got, err, want)
	}
}

// What Python 3.11 gives on Linux: datetime.datetime(2024, 7, 6, 9, 5, 3).strftime(format).
func TestStrftime(t *testing.T) {
	const format = "%a %A %b %B %h|%c|%x %X %D %T %F %R %r|%p %P %#p %^p|%d %-d %_d %e %-e %0e|%m %-m %y %Y %C %G %g %V|%U %W %j %-j %u %w|" +
		"%H %-H %k %I %-I %l %M %-M %S|%^a %^B %#b|%z%Z%%%n%t|%Q %-q é%"
	for date, want := range map[time.Time]string{
		time.Date(2024, 7, 6, 9, 5, 3, 0, time.UTC):    "Sat Saturday Jul July Jul|Sat Jul  6 09:05:03 2024|07/06/24 09:05:03 07/06/24 09:05:03 2024-07-06 09:05 09:05:03 AM|AM am am AM|06 6  6  6 6 06|07 7 24 2024 20 2024 24 27|26 27 188 188 6 6|09 9  9 09 9  9 05 5 03|SAT JULY JUL|%\n\t|%Q %-q é%",
		time.Date(2024, 12, 30, 0, 0, 0, 0, time.UTC):  "Mon Monday Dec December Dec|Mon Dec 30 00:00:00 2024|12/30/24 00:00:00 12/30/24 00:00:00 2024-12-30 00:00 12:00:00 AM|AM am am AM|30 30 30 30 30 30|12 12 24 2024 20 2025 25 01|52 53 365 365 1 1|00 0  0 12 12 12 00 0 00|MON DECEMBER DEC|%\n\t|%Q %-q é%",
		time.Date(2023, 1, 1, 12, 30, 59, 0, time.UTC): "Sun Sunday Jan January Jan|Sun Jan  1 12:30:59 2023|01/01/23 12:30:59 01/01/23 12:30:59 2023-01-01 12:30 12:30:59 PM|PM pm pm PM|01 1  1  1 1 01|01 1 23 2023 20 2022 22 52|01 00 001 1 7 0|12 12 12 12 12 12 30 30 59|SUN JANUARY JAN|%\n\t|%Q %-q é%",
		time.Date(2021, 1, 3, 23, 59, 0, 0, time.UTC):  "Sun Sunday Jan January Jan|Sun Jan  3 23:59:00 2021|01/03/21 23:59:00 01/03/21 23:59:00 2021-01-03 23:59 11:59:00 PM|PM pm pm PM|03 3  3  3 3 03|01 1 21 2021 20 2020 20 53|01 00 003 3 7 0|23 23 23 11 11 11 59 59 00|SUN JANUARY JAN|%\n\t|%Q %-q é%",
	} {
		if got, err := strftime(format, date); got != want || err != nil {
			t.Errorf("%v: %v\ngot  %q\nwant %q", date, err, got, want)
		}
	}
}

func TestSpecials(t *testing.T) {
	d := &tokenizer.Data{
		Tokens: [][]byte{[]byte("a"), []byte("<s>"), []byte("x")}, Added: []tokenizer.Added{{ID: 2, Content: "<pad>"}},
		BOS: 1, EOS: -1, Pad: 2, Unk: 7,
	}
	want := map[string]string{"bos_token": "<s>", "pad_token": "<pad>"}
	if diff := cmp.Diff(want, Specials(d)); diff != "" {
		t.Error(diff)
	}
}

// An error gives the line of the template.
func TestLineOfError(t *testing.T) {
	if _, err := Compile("{# a\n comment #}\n\ntext\n\n{% for %}\n", nil); err == nil || !strings.Contains(err.Error(), "line 6") {
		t.Errorf("%v, want line 6", err)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("{% for m in messages %}{{ m.content|trim }}{%- endfor +%}", `{"messages":[{"role":"user","content":"a"}]}`)
	f.Add("{% raw %}{{{%- endraw -%}{{ '\\u00e9' }}", `{"conversations":[{"from":"human","value":"a"}]}`)
	f.Fuzz(func(t *testing.T, source, line string) {
		Compile(source, nil)
		l, err := ParseLine("f", 0, []byte(line))
		if err != nil {
			return
		}
		if l.Text == "" && len(l.Messages) == 0 && !strings.Contains(line, "text") {
			t.Errorf("ParseLine accepts %q without a text or messages", line)
		}
	})
}

// A faulty template gives an error instead of a panic or a guess.
func TestTemplateErrors(t *testing.T) {
	for source, want := range map[string]string{
		"{% for m in messages %}":                "chat template: ",
		"{{ messages":                            "chat template: ",
		"{% include '/etc/passwd' %}":            "chat template: ",
		"{% import 'os' as os %}":                "chat template: ",
		"{% extends 'x' %}":                      "chat template: ",
		"{{ open('/etc/passwd') }}":              "'open' is undefined",
		"{{ messages.__class__.__mro__() }}":     "access to attribute '__class__' of 'list' object is unsafe",
		"{{ messages.append(1) }}":               "access to attribute 'append' of 'list' object is unsafe",
		"\n{{ messages | nope }}":                "chat template: line 2: filter nope is not supported",
		"{{ messages | select }}":                "chat template: ",
		"{{ raise_exception('no system') }}":     "rejects this conversation: no system",
		"{{ raise_exception() }}":                "raise_exception misses the argument message",
		"\n\n{{ messages[0].content.encode() }}": "chat template: line 3: str.encode is not supported",
		"\xff":                                   "chat template: not UTF-8",
	} {
		text := ""
		c, err := Compile(source, nil)
		if err == nil {
			text, err = c.Render(Conversation{Messages: []Message{newMessage("user", "axb")}})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", source, text, err, want)
		}
	}
}

// None of these runs out of time: each reaches another limit within seconds.
var hostile = map[string]struct{ source, want string }{
	"recursion": {"{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "line 1: recurses without end"},
	"nesting":   {"{{ " + strings.Repeat("(", 1<<19-16) + strings.Repeat(")", 1<<19-16) + " }}", "line 1: nests deeper than 200"},
	"doubling":  {"{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}", "line 1: makes a text of more than 64 MB"},
	"texts":     {"{% set ns = namespace(l=[]) %}{% for i in range(999) %}{% set ns.l = ns.l + ['ab' * 9999999 ~ i] %}{% endfor %}", "line 1: makes texts and lists of more than 512 MB"},
	"scopes": {"{% set ns = namespace() %}{% for i in range(99999) %}{% for j in range(99999) %}{% macro m() %}{% endmacro %}{% set ns.m = [ns.m, m] %}{% endfor %}{% endfor %}",
		"takes more than 512 MB of memory"},
	"loops":  {"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "line 1: takes more than 20 million steps"},
	"output": {"{{ 'ab' * 99999999 }}", "line 1: makes a text of more than 64 MB"},
}

func TestMain(m *testing.M) {
	if os.Getenv("GOTRACEBACK") == "none" && len(os.Args) == 2 && os.Args[1] == "serve" {
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// server returns a command that runs this test binary as a server; see TestMain.
func server(t *testing.T) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(self, "serve")
}

// start is Start with a limit of time that no test reaches, even on a busy machine.
func start(t *testing.T, source string) (*Process, error) {
	p, err := startWithin(t.Context(), 5*time.Minute, server(t), source, map[string]string{"eos_token": "</s>"})
	if err == nil {
		t.Cleanup(p.Close)
	}
	return p, err
}

func TestProcess(t *testing.T) {
	p, err := start(t, "{% for m in messages %}{% if m.content == 'no' %}{{ raise_exception('no') }}{% endif %}{{ m.content + eos_token }}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		text, err := p.Render(t.Context(), Conversation{Messages: []Message{newMessage("user", "one <&>"), newMessage("assistant", "two\n")}})
		if want := "one <&></s>two\n</s>"; text != want || err != nil {
			t.Errorf("%q, %v, want %q", text, err, want)
		}
		const want = "chat template: rejects this conversation: no"
		if _, err := p.Render(t.Context(), Conversation{Messages: []Message{newMessage("user", "no")}}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := start(t, "{% for"); err == nil || !strings.HasPrefix(err.Error(), "chat template: line 1: a tag is not closed") {
		t.Errorf("%v, want an error in line 1 of the template", err)
	}
}

func TestHostile(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			p, err := start(t, c.source)
			if err == nil {
				_, err = p.Render(t.Context(), Conversation{Messages: []Message{newMessage("user", "hello")}})
			}
			if err == nil || !strings.HasPrefix(err.Error(), "chat template: "+c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestTimeIsLimited(t *testing.T) {
	p, err := start(t, "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	p.timeout = 50 * time.Millisecond
	const want = "chat template: takes more than 50ms for one conversation"
	for range 2 {
		if _, err := p.Render(t.Context(), Conversation{Messages: []Message{newMessage("user", "hello")}}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestInterrupt(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	p, err := Start(ctx, server(t), "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	time.AfterFunc(50*time.Millisecond, stop)
	if _, err := p.Render(ctx, Conversation{Messages: []Message{newMessage("user", "hello")}}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}
