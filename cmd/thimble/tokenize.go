package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

func tokenizeCommand() *cli.Command {
	return &cli.Command{
		Name:      "tokenize",
		Usage:     "show the token ids of a text",
		UsageText: "thimble tokenize MODEL|tokenizer.json (-p TEXT | --text FILE | --jsonl)",
		Description: "Examples:\n" +
			"   thimble tokenize smol.thimble -p 'Hello, world'\n" +
			"   thimble tokenize tokenizer.json --text notes.txt --json\n" +
			"   thimble tokenize smol.thimble --jsonl < strings.jsonl > ids.jsonl",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "tokenize `TEXT`"},
			&cli.StringFlag{Name: "text", Usage: "tokenize the text in `FILE` (- for standard input)"},
			&cli.BoolFlag{Name: "jsonl", Usage: "read one JSON string a line from standard input, write one array of ids a line"},
			&cli.BoolFlag{Name: "add-special", Usage: "add the tokens that start or end a text, if the tokenizer does so"},
			setFlag, jsonFlag,
		},
		Action: tokenizeAction,
	}
}

// A tokenization is the report of tokenize.
type tokenization struct {
	IDs    []int    `json:"ids"`
	Tokens []string `json:"tokens"` // bytes that are not UTF-8 become U+FFFD
}

func (t *tokenization) String() string {
	var b strings.Builder
	for i, id := range t.IDs {
		fmt.Fprintf(&b, "%8d  %q\n", id, t.Tokens[i])
	}
	fmt.Fprintf(&b, "%8d tokens\n", len(t.IDs))
	return b.String()
}

func tokenizeAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	tok, err := tokenizerAt(path, c.StringSlice(setFlag.Name))
	if err != nil {
		return err
	}
	special := c.Bool("add-special")
	if c.Bool("jsonl") {
		if c.IsSet("prompt") || c.IsSet("text") {
			return errors.New("--jsonl reads standard input; leave out -p and --text")
		}
		return tokenizeLines(tok, special, stdin(c.Context), c.App.Writer)
	}
	text := c.String("prompt")
	switch {
	case c.IsSet("prompt") == c.IsSet("text"):
		return errors.New("tokenize needs one of -p TEXT, --text FILE and --jsonl")
	case c.IsSet("text"):
		if text, err = readText(c.Context, c.String("text"), maxText); err != nil {
			return err
		}
	}
	ids, err := encode(c.Context, tok, text, special)
	if err != nil {
		return err
	}
	t := &tokenization{IDs: append([]int{}, ids...), Tokens: []string{}} // in JSON, none is []
	for _, id := range ids {
		piece, _ := tok.Token(id)
		t.Tokens = append(t.Tokens, string(piece))
	}
	return print(c, t)
}

// tokenizerAt opens a bare tokenizer.json, or the tokenizer of a model.
func tokenizerAt(path string, overrides []string) (*tokenizer.Tokenizer, error) {
	if filepath.Ext(path) == ".model" {
		return nil, model.Unsupported(path, "a sentencepiece tokenizer")
	}
	if filepath.Ext(path) != ".json" {
		m, err := openModel(path, overrides)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		return openTokenizer(m)
	}
	data, err := convert.OpenTokenizer(path)
	if err != nil {
		return nil, err
	}
	return tokenizer.New(data)
}

// tokenizeLines answers each JSON string on r with an array of ids on w.
func tokenizeLines(tok *tokenizer.Tokenizer, special bool, r io.Reader, w io.Writer) error {
	const longest = 1 << 26
	out := bufio.NewWriter(w)
	lines := bufio.NewScanner(flushing{r, out})
	lines.Buffer(nil, longest)
	for n := 1; lines.Scan(); n++ {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			return fmt.Errorf("standard input: line %d is not a JSON string: %w", n, err)
		}
		ids := tok.Encode(text, special)
		if ids == nil {
			ids = []int{}
		}
		line, err := json.Marshal(ids)
		if err != nil {
			return err
		}
		out.Write(append(line, '\n')) // a failed write stays with out until Flush
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	return out.Flush()
}

// flushing writes out what is buffered before it waits for more to read, so
// that a program which writes one line and reads one gets its answer.
type flushing struct {
	io.Reader
	out *bufio.Writer
}

func (f flushing) Read(p []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(p)
}
