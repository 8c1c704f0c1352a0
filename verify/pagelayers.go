package verify

import (
	"fmt"
	"html/template"
	"strconv"

	"thimble/internal/chart"
	"thimble/internal/model"
)

// stagePicture draws what each stage costs.
func (r *Report) stagePicture() template.HTML {
	b := chart.BarChart{Title: "What each stage costs", About: "Divergence that each stage adds, in nats per token."}
	most := Value(0)
	for _, s := range r.Stages {
		most = max(most, s.Added)
	}
	for _, s := range r.Stages {
		if s.Stage == stageSource {
			continue
		}
		b.Bars = append(b.Bars, chart.Bar{Name: shown(s.title()), Text: figure(s.Added), Value: float64(s.Added), Highlight: s.Stage == stageConverted && s.Added == most && most > 0})
	}
	if len(b.Bars) == 0 {
		return ""
	}
	return template.HTML(b.SVG("stages"))
}

// title names a stage with what it rounds to.
func (s *Stage) title() string {
	switch a := s.Arithmetic; s.Stage {
	case stageConverted:
		return "conversion"
	case stageWeights:
		return "weights rounded"
	case stageActivations:
		return "activations " + a.Activations
	case stageKV:
		return fmt.Sprintf("keys %s, values %s", a.Keys, a.Values)
	}
	return s.Stage
}

// A pageStep is the layers of a step, or of what is before and after all steps.
type pageStep struct {
	Name   string // the step's number, or its operation
	Worst  *Layer // of the operations, the one that adds most
	Stream Value  // the error behind the step
	first  bool   // it has the first divergence
}

// steps sums the layers up by step.
func (r *Report) steps() (steps []pageStep) {
	for i := range r.Layers {
		l := &r.Layers[i]
		if l.Block == noBlock || i == 0 || r.Layers[i-1].Step != l.Step {
			name := strconv.Itoa(l.Step)
			if l.Block == noBlock {
				name = shown(l.Operation)
			}
			steps = append(steps, pageStep{Name: name, Worst: l, Stream: unknown})
		}
		s := &steps[len(steps)-1]
		if l.Added > s.Worst.Added {
			s.Worst = l
		}
		if l.Block == noBlock || l.Operation == model.FFNResidual {
			s.Stream = l.Added + l.Inherited
		}
		s.first = s.first || r.parts(l)
	}
	return steps
}

// layerPicture draws errors by step.
func (r *Report) layerPicture() template.HTML {
	steps := r.steps()
	if len(steps) < 2 {
		return ""
	}
	l := chart.LineChart{
		Title: "Error by step", XAxis: "step", YAxis: "error, relative to the reference",
		About: fmt.Sprintf("By step, on a logarithmic axis: the most that an operation adds, what rounding explains of it, and the error of the stream behind the step, which is %s at the end.", figure(steps[len(steps)-1].Stream)),
	}
	adds, explained, stream := chart.Line{Name: "most added"}, chart.Line{Name: "explained"}, chart.Line{Name: "in the stream"}
	every := markEvery(len(steps))
	for i, s := range steps {
		adds.Values = append(adds.Values, float64(s.Worst.Added))
		explained.Values = append(explained.Values, float64(s.Worst.Expected))
		stream.Values = append(stream.Values, float64(s.Stream))
		if _, err := strconv.Atoi(s.Name); err == nil && s.Worst.Step%every == 0 {
			l.Marks = append(l.Marks, chart.Mark{At: i, Text: s.Name})
		}
		if s.first {
			l.Highlight = &chart.Mark{At: i, Text: shown(r.FirstDivergence.Operation)}
		}
	}
	l.Lines = []chart.Line{adds, stream, explained}
	return template.HTML(l.SVG("layers"))
}

// markEvery is how many of n places there are to one whose number is written below.
func markEvery(n int) int {
	every := 1
	for n/every > 12 {
		every *= 2
	}
	return every
}

// where says at which step, or beside them, something is.
func where(step, block int) string {
	if block == noBlock {
		return "outside of the blocks"
	}
	return fmt.Sprintf("step %d, block %d", step, block)
}
