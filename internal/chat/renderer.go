package chat

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"thimble/internal/tokenizer"
)

// A Renderer renders conversations with the templates of one model. It is safe for
// concurrent use.
type Renderer struct {
	tools    *Renderer // of conversations with tools; nil if this one serves both
	command  []string
	source   string
	specials map[string]string
	turn     chan struct{} // held while process or local is in use
	process  *Process
	local    *Template
	wedged   error // there is no template, or the one in this process does not compile or exceeded its time
}

// ErrNoTemplate reports that a model has no chat template.
var ErrNoTemplate = errors.New("the model has no chat template; put the checkpoint's tokenizer_config.json or chat_template.jinja next to its weights and convert it again")

// ErrToolsOnly reports a conversation without tools where the model has no chat template for one.
var ErrToolsOnly = errors.New("the model's chat template is for conversations with tools, which only serve takes, and none is named default")

// NewRenderer returns a Renderer for the templates of d. command is a program, with its
// arguments, that runs Serve. A template that exceeds a limit ends that process, and the
// next conversation gets a new one.
//
// Without a command, where a program cannot start others, this process renders, within the
// limits of package python. A template that takes some seconds is abandoned then, and the
// Renderer refuses further conversations; a hostile one can take some hundred MB of memory.
func NewRenderer(command []string, d *tokenizer.Data) (*Renderer, error) {
	if d.ChatTemplate == "" && d.ToolTemplate == "" {
		return nil, ErrNoTemplate
	}
	specials := Specials(d)
	r := newRenderer(command, d.ChatTemplate, specials)
	switch {
	case d.ChatTemplate == "":
		r.wedged = ErrToolsOnly
	case r.wedged != nil:
		return nil, r.wedged
	}
	if d.ToolTemplate != "" {
		r.tools = newRenderer(command, d.ToolTemplate, specials)
	}
	return r, nil
}

// newRenderer returns a Renderer for one template. Where it does not compile in this process, the
// Renderer refuses every conversation.
func newRenderer(command []string, source string, specials map[string]string) *Renderer {
	r := &Renderer{command: command, source: source, specials: specials, turn: make(chan struct{}, 1)}
	if len(command) == 0 {
		r.local, r.wedged = Compile(source, specials)
	}
	return r
}

// Render returns the text of a conversation.
func (r *Renderer) Render(ctx context.Context, c Conversation) (string, error) {
	if r.tools != nil && len(c.Tools) > 0 {
		return r.tools.Render(ctx, c)
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if r.wedged != nil {
		return "", r.wedged
	}
	if r.local != nil {
		return r.renderHere(ctx, c)
	}
	if r.process == nil {
		p, err := Start(context.Background(), exec.Command(r.command[0], r.command[1:]...), r.source, r.specials)
		if err != nil {
			return "", err
		}
		r.process = p
	}
	text, err := r.process.Render(ctx, c)
	if r.process.err != nil {
		r.process.Close()
		r.process = nil
	}
	return text, err
}

// renderHere renders in this process.
func (r *Renderer) renderHere(ctx context.Context, c Conversation) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil { // a defect of ours; it must not end an app
				done <- result{err: fmt.Errorf("chat template: %v", p)}
			}
		}()
		text, err := r.local.Render(c)
		done <- result{text, err}
	}()
	timer := time.NewTimer(maxTime)
	defer timer.Stop()
	select {
	case d := <-done:
		return d.text, d.err
	case <-timer.C:
		r.wedged = fmt.Errorf("chat template: takes more than %v for one conversation", maxTime)
		return "", r.wedged
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Close ends the processes, if there are any.
func (r *Renderer) Close() {
	if r.tools != nil {
		r.tools.Close()
	}
	r.turn <- struct{}{}
	if r.process != nil {
		r.process.Close()
		r.process = nil
	}
	<-r.turn
}
