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

// Limits of a template.
const (
	maxTime   = 10 * time.Second // for one conversation
	maxMemory = 512 << 20        // bytes of the process that renders it
	maxStack  = 64 << 20         // bytes of one goroutine's stack
)

// A Process renders one template in a separate process. The limits of package python bound
// what a template does; this process bounds the time and memory that it takes, whatever the
// limits leave, and would survive a defect of them.
type Process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	lines   *json.Encoder // writes to stdin
	replies chan reply
	stderr  *prefixBuffer
	timeout time.Duration // for one reply
	err     error         // why the process ended
}

// A job is the first line that a process receives. Each further line is a Conversation.
// The process answers every line with a reply.
type job struct {
	Template string            `json:"template"`
	Specials map[string]string `json:"specials"`
}

type reply struct {
	Text  string `json:"text"`
	Error string `json:"error,omitempty"`
}

// Start starts cmd, a program that calls Serve, and sends it the template. The process
// ends when Close is called or ctx is done.
func Start(ctx context.Context, cmd *exec.Cmd, template string, specials map[string]string) (*Process, error) {
	return startWithin(ctx, maxTime, cmd, template, specials)
}

// startWithin is Start with another limit of time than maxTime.
func startWithin(ctx context.Context, timeout time.Duration, cmd *exec.Cmd, template string, specials map[string]string) (*Process, error) {
	p := &Process{cmd: cmd, replies: make(chan reply), stderr: new(prefixBuffer), timeout: timeout}
	p.cmd.Env = []string{"GOTRACEBACK=none"} // and nothing else, so that a template learns nothing
	p.cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("chat template: starting a process to render it: %w", err)
	}
	go func() {
		defer close(p.replies)
		d := json.NewDecoder(stdout)
		for {
			var r reply
			if d.Decode(&r) != nil {
				return
			}
			p.replies <- r
		}
	}()
	p.lines = json.NewEncoder(p.stdin)
	if _, err := p.send(ctx, job{template, specials}); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Render returns the text of a conversation. After an error in the template, the process
// can render other conversations, unless the template exceeded a limit.
func (p *Process) Render(ctx context.Context, c Conversation) (string, error) {
	if p.err != nil {
		return "", p.err
	}
	return p.send(ctx, c)
}

// send sends one line and waits for the reply.
func (p *Process) send(ctx context.Context, line any) (string, error) {
	sent := make(chan error, 1)
	go func() { sent <- p.lines.Encode(line) }()
	timer := time.NewTimer(p.timeout)
	defer timer.Stop()
	select {
	case r, ok := <-p.replies:
		switch {
		case !ok:
			if p.err = p.exitError(); ctx.Err() != nil { // ctx may have killed the process
				p.err = ctx.Err()
			}
			return "", p.err
		case r.Error != "":
			return "", errors.New(r.Error)
		}
		return r.Text, <-sent
	case <-timer.C:
		p.err = fmt.Errorf("chat template: takes more than %v for one conversation", p.timeout)
	case <-ctx.Done():
		p.err = ctx.Err()
	}
	p.cmd.Process.Kill()
	<-p.replies // closed, or a reply that came too late
	return "", p.err
}

// exitError returns the reason why the process ended by itself.
func (p *Process) exitError() error {
	err := p.cmd.Wait()
	output := p.stderr.String()
	switch {
	case strings.Contains(output, "stack overflow"):
		return errors.New("chat template: recurses without end")
	case strings.Contains(output, memoryExceeded), strings.Contains(output, "out of memory"), strings.Contains(output, "cannot allocate memory"):
		return fmt.Errorf("chat template: takes more than %d MB of memory for one conversation", maxMemory>>20)
	}
	line, _, _ := strings.Cut(output, "\n")
	return fmt.Errorf("chat template: the process that renders it ended: %v %s", err, line)
}

// Close ends the process.
func (p *Process) Close() {
	p.stdin.Close()
	if p.err != nil {
		p.cmd.Process.Kill()
	}
	for range p.replies {
	}
	p.cmd.Wait()
}

// memoryExceeded is the message of a process that uses more than maxMemory.
const memoryExceeded = "chat: memory limit exceeded"

// Serve is the other side of a Process: it reads a job and conversations from r and
// writes their texts to w. It limits the memory of the whole process, which should do
// nothing else.
func Serve(r io.Reader, w io.Writer) error {
	lines := json.NewDecoder(bufio.NewReader(r))
	replies := json.NewEncoder(w)
	var j job
	if err := lines.Decode(&j); err != nil {
		return fmt.Errorf("no chat template to render: %w", err)
	}
	limitResources()
	t, err := Compile(j.Template, j.Specials)
	if err := replies.Encode(newReply("", err)); err != nil {
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
		c, err := parseConversation(line)
		text := ""
		if err == nil {
			text, err = t.Render(c)
		}
		if err := replies.Encode(newReply(text, err)); err != nil {
			return err
		}
	}
	return nil
}

func newReply(text string, err error) reply {
	if err != nil {
		return reply{Error: err.Error()}
	}
	return reply{Text: text}
}

// limitResources makes the process exit when it exceeds maxStack or maxMemory.
func limitResources() {
	debug.SetMaxStack(maxStack)
	go func() {
		total := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
		for range time.Tick(5 * time.Millisecond) {
			if metrics.Read(total); total[0].Value.Uint64() > maxMemory {
				fmt.Fprintln(os.Stderr, memoryExceeded)
				os.Exit(3)
			}
		}
	}()
}

// A prefixBuffer keeps only the first bytes that are written to it.
type prefixBuffer struct{ bytes.Buffer }

func (p *prefixBuffer) Write(b []byte) (int, error) {
	const limit = 4096
	p.Buffer.Write(b[:min(len(b), max(0, limit-p.Len()))])
	return len(b), nil
}
