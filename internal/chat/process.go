package chat

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"
)

// What a template may use.
const (
	maxTime   = 10 * time.Second // for one conversation
	maxMemory = 512 << 20        // bytes, of the process that renders it
	maxStack  = 64 << 20         // bytes of it
)

// A Process renders one template in a process of its own, since Go cannot stop a
// template that loops, nor outlive one that takes all of the stack or of memory.
type Process struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	requests *json.Encoder
	answers  chan answer
	stderr   *head
	patience time.Duration // for one answer
	broken   error         // what ended it
}

// The first line that a process is given, then one line of messages after the
// other, each of which it answers.
type job struct {
	Template string            `json:"template"`
	Specials map[string]string `json:"specials"`
}

type answer struct {
	Text  string `json:"text"`
	Error string `json:"error,omitempty"`
}

// Start starts cmd, a program that calls Serve, and gives it the template. The
// process ends with Close, or with ctx.
func Start(ctx context.Context, cmd *exec.Cmd, template string, specials map[string]string) (*Process, error) {
	p := &Process{cmd: cmd, answers: make(chan answer), stderr: new(head), patience: maxTime}
	p.cmd.Env = []string{"GOTRACEBACK=none"} // and nothing that a template could be told
	p.cmd.Stderr = p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("chat template: starting a process to render it: %w", err)
	}
	go func() {
		defer close(p.answers)
		d := json.NewDecoder(out)
		for {
			var a answer
			if d.Decode(&a) != nil {
				return
			}
			p.answers <- a
		}
	}()
	p.requests = json.NewEncoder(p.in)
	if _, err := p.ask(ctx, job{template, specials}); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Render returns the text of a conversation. An error of the template's does not
// end the process, except where it used too much.
func (p *Process) Render(ctx context.Context, messages []Message) (string, error) {
	if p.broken != nil {
		return "", p.broken
	}
	return p.ask(ctx, messages)
}

// ask sends one line and waits for its answer.
func (p *Process) ask(ctx context.Context, request any) (string, error) {
	sent := make(chan error, 1)
	go func() { sent <- p.requests.Encode(request) }()
	late := time.NewTimer(p.patience)
	defer late.Stop()
	select {
	case a, ok := <-p.answers:
		switch {
		case !ok:
			if p.broken = p.death(); ctx.Err() != nil { // which kills it, too
				p.broken = ctx.Err()
			}
			return "", p.broken
		case a.Error != "":
			return "", errors.New(a.Error)
		}
		return a.Text, <-sent
	case <-late.C:
		p.broken = fmt.Errorf("chat template: it takes more than %v for one conversation", p.patience)
	case <-ctx.Done():
		p.broken = ctx.Err()
	}
	p.cmd.Process.Kill()
	<-p.answers // closed, or one that came too late
	return "", p.broken
}

// death says why the process ended unasked.
func (p *Process) death() error {
	err := p.cmd.Wait()
	said := p.stderr.String()
	switch {
	case strings.Contains(said, "stack overflow"):
		return errors.New("chat template: it recurses without end")
	case strings.Contains(said, outgrown), strings.Contains(said, "out of memory"), strings.Contains(said, "cannot allocate memory"):
		return fmt.Errorf("chat template: it takes more than %d MB of memory for one conversation", maxMemory>>20)
	}
	line, _, _ := strings.Cut(said, "\n")
	return fmt.Errorf("chat template: the process that renders it ended: %v %s", err, line)
}

// Close ends the process.
func (p *Process) Close() {
	p.in.Close()
	if p.broken != nil {
		p.cmd.Process.Kill()
	}
	for range p.answers {
	}
	p.cmd.Wait()
}

// outgrown is what a process says that uses too much memory.
const outgrown = "chat: outgrown"

// Serve is the other side of a Process: it reads a job and conversations from r
// and writes their texts to w. It limits the memory of the process that it runs in
// and is to be all that this does.
func Serve(r io.Reader, w io.Writer) error {
	lines := json.NewDecoder(bufio.NewReader(r))
	answers := json.NewEncoder(w)
	var j job
	if err := lines.Decode(&j); err != nil {
		return fmt.Errorf("no chat template to render: %w", err)
	}
	limit()
	t, err := Compile(j.Template, j.Specials)
	if err := answers.Encode(reply("", err)); err != nil {
		return err
	}
	for t != nil {
		var line json.RawMessage
		if err := lines.Decode(&line); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		l, err := ParseLine("messages", 0, append(append([]byte(`{"messages":`), line...), '}'))
		text := ""
		if err == nil {
			text, err = t.Render(l.Messages)
		}
		if err := answers.Encode(reply(text, err)); err != nil {
			return err
		}
	}
	return nil
}

func reply(text string, err error) answer {
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Text: text}
}

// limit ends the process as soon as it uses too much.
func limit() {
	debug.SetMaxStack(maxStack)
	go func() {
		total := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
		for range time.Tick(5 * time.Millisecond) {
			if metrics.Read(total); total[0].Value.Uint64() > maxMemory {
				fmt.Fprintln(os.Stderr, outgrown)
				os.Exit(3)
			}
		}
	}()
}

// A head keeps the first bytes that are written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(b []byte) (int, error) {
	const most = 4096
	h.Buffer.Write(b[:min(len(b), max(0, most-h.Len()))])
	return len(b), nil
}
