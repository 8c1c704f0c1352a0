package main

import (
	"fmt"
	"math"
	"time"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/session"
)

// samplingFlags say how chat and serve choose tokens. What is not set is as the model's
// authors recommend, if the file says.
var samplingFlags = []cli.Flag{
	&cli.Float64Flag{Name: "temperature", Usage: "sample at temperature `T`; 0 takes the most likely token (default: the model's, else 0)"},
	&cli.IntFlag{Name: "top-k", Usage: "sample from the `N` most likely tokens (default: the model's)"},
	&cli.Float64Flag{Name: "top-p", Usage: "sample from the most likely tokens that together have probability `P` (default: the model's)"},
	&cli.Float64Flag{Name: "min-p", Usage: "sample from tokens with at least `SHARE` of the largest probability (default: the model's)"},
	&cli.Float64Flag{Name: "repetition-penalty", Usage: "divide the logits of tokens that occurred before by `FACTOR` (default: the model's)"},
	&cli.IntFlag{Name: "tokens", Aliases: []string{"n"}, Usage: "end an answer after `N` tokens (default: at the end of the context)"},
}

// contextLimitFlag limits the memory of a KV cache.
var contextLimitFlag = &cli.IntFlag{Name: "context", Usage: "hold at most `N` positions (default: the model's context)"}

// dateFlag makes answers of a model that is told the date the same on any day.
var dateFlag = &cli.StringFlag{Name: "date", Usage: "tell a model whose chat template asks for the date that it is `DATE` (default: today)"}

// clockOf returns the clock for the chat template.
func clockOf(c *cli.Context) (func() time.Time, error) {
	if !c.IsSet(dateFlag.Name) {
		return time.Now, nil
	}
	date, err := time.Parse(time.DateOnly, c.String(dateFlag.Name))
	if err != nil {
		return nil, fmt.Errorf("--date %s: want a date such as 2024-07-26", defect.Printable(c.String(dateFlag.Name)))
	}
	return func() time.Time { return date }, nil
}

// samplingOf returns the model's defaults, changed by samplingFlags.
func samplingOf(c *cli.Context, m *thimble.Model) (r session.Request, err error) {
	r.Generation = m.Generation
	for name, field := range map[string]*float64{
		"temperature": &r.Temperature, "top-p": &r.TopP, "min-p": &r.MinP, "repetition-penalty": &r.RepetitionPenalty,
	} {
		if c.IsSet(name) {
			*field = c.Float64(name)
		}
	}
	if c.IsSet("top-k") {
		r.TopK = c.Int("top-k")
	}
	if r.Tokens = c.Int("tokens"); r.Tokens < 0 || r.Tokens > model.MaxLength || c.IsSet("tokens") && r.Tokens == 0 {
		return r, fmt.Errorf("%s: -n %d is out of range, want 1 to %d", c.Command.Name, r.Tokens, model.MaxLength)
	}
	if err := r.Check(); err != nil {
		return r, fmt.Errorf("%s: --%w", c.Command.Name, err)
	}
	return r, nil
}

// openEngine opens and verifies the model that c names. Close both results.
func openEngine(c *cli.Context) (*thimble.Model, *session.Engine, error) {
	path, err := oneModel(c)
	if err != nil {
		return nil, nil, err
	}
	o := session.Options{Integers: !choosesArithmetic(c), Context: c.Int(contextLimitFlag.Name)}
	if o.Context < 0 || o.Context > math.MaxInt32 || c.IsSet(contextLimitFlag.Name) && o.Context == 0 {
		return nil, nil, fmt.Errorf("--context %d: want a positive number of tokens", o.Context)
	}
	if o.Arithmetic, err = arithmeticOf(c); err != nil {
		return nil, nil, err
	}
	if o.Now, err = clockOf(c); err != nil {
		return nil, nil, err
	}
	if o.Render, err = renderCommandLine(); err != nil {
		return nil, nil, err
	}
	m, err := thimble.Open(path, overridesOf(c)...)
	if err != nil {
		return nil, nil, err
	}
	meter := newMeter(c)
	o.Progress = func(done, total int64) {
		meter.Step(thimble.Step{Stage: "check", Unit: thimble.Bytes, Done: done, Total: total})
	}
	e, err := session.New(c.Context, m, o)
	meter.Done()
	if err != nil {
		m.Close()
		return nil, nil, err
	}
	return m, e, nil
}
