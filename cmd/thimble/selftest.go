package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/verify"
	"thimble/verify/reference"
	"thimble/verify/render"
	"thimble/verify/selftest"
)

var selfTestFlag = &cli.BoolFlag{Name: "selftest", Usage: "make known mistakes in copies of the model, and fail if one is not found where it was made; without --text or --reference on a text of its own"}

// checkSelfTest refuses what a self-test would leave out.
func checkSelfTest(c *cli.Context) error {
	if !c.Bool(selfTestFlag.Name) {
		return nil
	}
	for _, name := range []string{
		"record", "decode", "layers", "attribute", tasksFlag.Name, continueFlag.Name,
		reportFlag.Name, formatFlag.Name, baselineFlag.Name, updateBaselineFlag.Name, benchFlag.Name,
	} {
		if c.IsSet(name) {
			return fmt.Errorf("--selftest compares copies of the model with it, and prints a table or JSON; leave out --%s", name)
		}
	}
	return nil
}

// selfTest is verify --selftest of m.
func selfTest(c *cli.Context, m *model.Model, gates []verify.Gate, a verify.Arithmetic) error {
	with, err := comparisonOf(c, m)
	if err != nil {
		return err
	}
	defer with.close()
	hashing := newMeter(c, "hash", "MB", 1e6)
	info, err := identity(c.Context, m, hashing)
	hashing.done()
	if err != nil {
		return err
	}
	progress := newMeter(c, "self-test", "faults", 1)
	if with.source != nil {
		with.reference = nil // the same, which is then cached
	}
	report, err := selftest.Run(c.Context, m, with.source, with.reference, with.prompts, verify.Options{
		Gates: gates, Model: info, Arithmetic: a, Against: c.String("reference") + c.String("against"),
		Strict: c.Bool("strict"), Seed: c.Uint64("seed"),
		Progress: func(done, total int) { progress.at(int64(done), int64(total)) },
	})
	progress.done()
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(m.Path), err)
	}
	if err := print(c, selfTestReport{report}); err != nil {
		return err
	}
	if !report.Pass {
		return errRefused
	}
	return nil
}

// A selfTestReport prints a selftest.Report.
type selfTestReport struct{ *selftest.Report }

func (r selfTestReport) String() string { return render.SelfTest(r.Report) }

// The text of its own is scored in so many chunks of so many tokens: it is there
// so that mistakes show, not to measure them.
const (
	selfTestContext = 128
	selfTestChunks  = 2
)

// selfTestPrompts cuts the text of a self-test as the flags say, where they do.
func selfTestPrompts(c *cli.Context, m *model.Model) ([]reference.Prompt, error) {
	tok, err := openTokenizer(m)
	if err != nil {
		return nil, err
	}
	context, chunks := min(selfTestContext, m.Spec.Context), selfTestChunks
	if c.IsSet(contextFlag.Name) {
		context = c.Int(contextFlag.Name)
		if err := checkContext(m, context, fmt.Sprintf("use --context %d or less", m.Spec.Context)); err != nil {
			return nil, err
		}
	}
	if c.IsSet(chunksFlag.Name) {
		chunks = c.Int(chunksFlag.Name)
	}
	prompts, err := reference.TextPrompts(tok.Encode(selfTestText, true), context, chunks, tok.Start())
	if err != nil {
		return nil, fmt.Errorf("the text of a self-test: %w", err)
	}
	return prompts, nil
}

// selfTestText is plain English with a few numbers, a list and a line of code, so
// that neighbouring tokens differ and distant ones are needed.
const selfTestText = `The ferry leaves the old harbour at seven in the morning and takes forty minutes to cross
the strait. Most passengers are fishermen, teachers and children with heavy bags; on market days there
are also baskets of apples, two or three goats, and once a piano. Captain Alder has made the crossing
11,480 times. She keeps the count in a blue notebook, one stroke for each trip, a long line through
every ten, and she has never lost a passenger, although in the winter of 1987 she lost a door.

What does the island need? Her list has not changed for years: a dry road to the school, a doctor on
Tuesdays, better coffee. "The first two are politics," she says, "the third is a matter of will." When
the engine was replaced, the company sent a young engineer who wrote the timetable as a program:

    for hour in range(7, 20, 2):
        depart(hour, minutes=40)

He was proud of it until the clocks changed and the boat left without him. The captain, who had read
the code over his shoulder, waited at the other side, because she had noticed that nobody had told the
program about summer. She brought him back at noon, and gave him coffee, and charged him nothing.

Some evenings, when the water is still, the whole island can hear the engine long before the lights
come round the headland. People put down what they are doing and listen. It is not that anything
depends on it; the bread is baked, the goats are in, the school is shut until the morning. But a sound
that comes back at the same hour is a kind of promise, and the captain, who knows this, is never late.
`
