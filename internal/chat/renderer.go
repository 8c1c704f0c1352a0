package chat

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"thimble/internal/tokenizer"
)

// A Renderer renders conversations with the template of one model. It is safe for
// concurrent use.
type Renderer struct {
	command  []string
	source   string
	specials map[string]string
	turn     chan struct{} // held while process or local is in use
	process  *Process
	local    *Template
	wedged   error // the template in this process exceeded its time
}

// ErrNoTemplate reports that a model has no chat template.
var ErrNoTemplate = errors.New("the model has no chat template; put the checkpoint's tokenizer_config.json or chat_template.jinja next to its weights and convert it again")

// NewRenderer returns a Renderer for the template of d. command is a program, with its
// arguments, that runs Serve. A template that exceeds a limit ends that process, and the
// next conversation gets a new one.
//
// Without a command, where a program cannot start others, this process renders. A
// template that loops is then abandoned after some seconds, and the Renderer refuses
// further conversations; one that recurses or doubles a string without end can still
// exhaust the memory of this process.
func NewRenderer(command []string, d *tokenizer.Data) (*Renderer, error) {
	if d.ChatTemplate == "" {
		return nil, ErrNoTemplate
	}
	r := &Renderer{command: command, source: d.ChatTemplate, specials: Specials(d), turn: make(chan struct{}, 1)}
	if len(command) > 0 {
		return r, nil
	}
	var err error
	r.local, err = Compile(r.source, r.specials)
	return r, err
}

// Render returns the text of a conversation.
func (r *Renderer) Render(ctx context.Context, c Conversation) (string, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
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
	if r.wedged != nil {
		return "", r.wedged
	}
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
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

// Close ends the process, if there is one.
func (r *Renderer) Close() {
	r.turn <- struct{}{}
	if r.process != nil {
		r.process.Close()
		r.process = nil
	}
	<-r.turn
}
