package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"thimble"

	"github.com/urfave/cli/v2"
)

const tokenizeHelp = `For a bare tokenizer.model the ids are those of sentencepiece; in a checkpoint's
directory they are those of transformers' LlamaTokenizer.

Examples:
   thimble tokenize smol.thimble -p 'Hello, world'
   thimble tokenize tokenizer.json --text notes.txt --json
   thimble tokenize MobileLLM-125M/tokenizer.model -p 'Hello, world'
   thimble tokenize MobileLLM-125M -p 'Hello, world' --add-special
   thimble tokenize smol.thimble --jsonl < strings.jsonl > ids.jsonl`

func tokenizeCommand() *cli.Command {
	return &cli.Command{
		Name:        "tokenize",
		Usage:       "show the token ids of a text",
		UsageText:   "thimble tokenize MODEL|tokenizer.json|tokenizer.model (-p TEXT | --text FILE | --jsonl [--decode])",
		Description: tokenizeHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "tokenize `TEXT`"},
			&cli.StringFlag{Name: "text", Usage: "tokenize the text in `FILE` (- reads standard input)"},
			&cli.BoolFlag{Name: "jsonl", Usage: "read one JSON string per line from standard input, write one array of ids per line"},
			&cli.BoolFlag{Name: "decode", Usage: "with --jsonl: write {\"ids\": [...], \"text\": the decoded ids} instead"},
			&cli.BoolFlag{Name: "add-special", Usage: "add the special tokens at the start and end that the tokenizer adds by default"},
			setFlag, dropFlag, loraFlag, jsonFlag,
		},
		Action: tokenizeAction,
	}
}

// A tokenization is the result of tokenize.
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
	set := overridesOf(c)
	if err := fetch(c, set, &path); err != nil {
		return err
	}
	tok, err := thimble.OpenTokenizer(path, set...)
	if err != nil {
		return err
	}
	special := c.Bool("add-special")
	if c.Bool("jsonl") {
		if c.IsSet("prompt") || c.IsSet("text") {
			return errors.New("--jsonl reads standard input; leave out -p and --text")
		}
		return tokenizeLines(tok, special, c.Bool("decode"), stdin(c.Context), c.App.Writer)
	}
	if c.Bool("decode") {
		return errors.New("--decode has no effect without --jsonl")
	}
	text := c.String("prompt")
	switch {
	case c.IsSet("prompt") == c.IsSet("text"):
		return errors.New("tokenize needs one of -p TEXT, --text FILE and --jsonl")
	case c.IsSet("text"):
		if text, err = thimble.ReadText(c.Context, "--text", c.String("text"), thimble.MaxText); err != nil {
			return err
		}
	}
	ids, err := thimble.Encode(c.Context, tok, text, special)
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

// tokenizeLines reads JSON strings from r, one per line, and writes to w an array of ids
// for each, or an object of ids and decoded text.
func tokenizeLines(tok *thimble.Tokenizer, special, decode bool, r io.Reader, w io.Writer) error {
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
		var answer any = ids
		if decode {
			answer = decoded{ids, string(tok.Decode(ids))}
		}
		line, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		out.Write(append(line, '\n')) // Flush reports a failed write
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	return out.Flush()
}

type decoded struct {
	IDs  []int  `json:"ids"`
	Text string `json:"text"` // bytes that are not UTF-8 become U+FFFD
}

// A flushing reader flushes the buffered output before each read, so that a program that
// writes a line and waits for the answer gets it.
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

// stdin returns standard input; reads fail once ctx ends.
func stdin(ctx context.Context) io.Reader {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.Copy(w, os.Stdin)
		w.CloseWithError(err)
	}()
	return r
}
