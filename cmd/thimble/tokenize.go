package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

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
	text := ""
	for i, id := range t.IDs {
		text += fmt.Sprintf("%8d  %q\n", id, t.Tokens[i])
	}
	return text + fmt.Sprintf("%d tokens\n", len(t.IDs))
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
		return tokenizeLines(tok, special, os.Stdin, c.App.Writer)
	}
	text := c.String("prompt")
	switch {
	case c.IsSet("prompt") == c.IsSet("text"):
		return errors.New("tokenize needs one of -p TEXT, --text FILE and --jsonl")
	case c.IsSet("text"):
		if text, err = readText(c.String("text")); err != nil {
			return err
		}
	}
	t := &tokenization{IDs: tok.Encode(text, special)}
	for _, id := range t.IDs {
		piece, _ := tok.Token(id)
		t.Tokens = append(t.Tokens, string(piece))
	}
	return print(c, t)
}

// tokenizerAt opens a bare tokenizer.json, or the tokenizer of a model.
func tokenizerAt(path string, overrides []string) (*tokenizer.Tokenizer, error) {
	if filepath.Ext(path) != ".json" {
		m, err := openModel(path, overrides)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		return openTokenizer(m)
	}
	text, err := readText(path)
	if err != nil {
		return nil, err
	}
	data, err := tokenizer.ParseJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", model.Printable(path), err)
	}
	return tokenizer.New(data)
}

// tokenizeLines answers each JSON string on r with an array of ids on w.
func tokenizeLines(tok *tokenizer.Tokenizer, special bool, r io.Reader, w io.Writer) error {
	const longest = 1 << 26
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longest)
	out := bufio.NewWriter(w)
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
