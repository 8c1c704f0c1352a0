package quantize

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// A Survey predicts what each matrix of a model adds to the KL divergence in
// each of several schemes. To first order these add up while they are small
// (the linearity theorem of HIGGS, arXiv 2411.17525): the divergence is a sum
// over matrices of a sensitivity times a loss. The loss is predicted from the
// weights and their input's second moments; the sensitivity of linear layers is
// measured, for each kind in each fifth of the depth at once, by rounding just
// those; that of the head is known in closed form.
type Survey struct {
	Schemes []qtensor.Scheme
	cost    map[string][]float64 // nats per token, by scheme
}

const (
	surveyStride = 2 // positions from one whose input is looked at to the next

	judgeTexts  = 4   // for sensitivities
	judgeTokens = 128 // of the beginning of each
	judgeStride = 2   // positions from one that is judged to the next: a vocabulary costs more than a layer
	depthParts  = 5   // that sensitivities tell apart
)

// noises are how layers are rounded to measure their sensitivity: the first that
// is felt. Weights may lie near the lattice of a scheme already, as those of a model
// that was int4 once, or ternary; int4/g32 usually costs half a percent of the power
// of what comes out.
var noises = []qtensor.Scheme{
	{Kind: qtensor.Int, Bits: 4, Group: 32},
	{Kind: qtensor.Int, Bits: 3, Group: 32},
	{Kind: qtensor.Int, Bits: 2, Group: 32},
	{Kind: qtensor.Int, Bits: 2},
}

const felt = 1e-4 // of that power

// A surveyor is a Survey being made.
type surveyor struct {
	Survey
	ctx   context.Context
	m     *model.Model
	noisy map[string]*qtensor.Matrix // every linear layer, rounded
	loss  map[string]float64         // of noisy
	known map[string]bool            // whose sensitivity is measured
	judge *judge

	tokens int // that will be calibrated on
}

// NewSurvey surveys the matrices of m that recipe turns into integers, whatever
// it turns them into.
func NewSurvey(ctx context.Context, m *model.Model, c *Calibration, schemes []qtensor.Scheme, progress func(done, of int)) (*Survey, error) {
	s := &surveyor{
		Survey: Survey{schemes, map[string][]float64{}}, ctx: ctx, m: m,
		noisy: map[string]*qtensor.Matrix{}, loss: map[string]float64{}, known: map[string]bool{},
	}
	if err := checkFinite(ctx, m); err != nil {
		return nil, err
	}
	s.tokens = c.Tokens()
	if err := s.losses(c); err != nil {
		return nil, err
	}
	if err := s.sensitivities(judged(c.Texts), progress); err != nil {
		return nil, err
	}
	return &s.Survey, nil
}

// judged are the beginnings of some texts, spread evenly over all.
func judged(texts [][]int) [][]int {
	n := min(len(texts), judgeTexts)
	some := make([][]int, n)
	for i := range some {
		t := texts[i*len(texts)/n]
		some[i] = t[:min(len(t), judgeTokens)]
	}
	return some
}

// losses takes texts through the float model and predicts every matrix's loss.
func (s *surveyor) losses(c *Calibration) error {
	d, err := transformer.New(s.m)
	if err != nil {
		return err
	}
	t, err := d.NewTrace(c.first())
	if err != nil {
		return err
	}
	for g := t.Next(); g != nil; g = t.Next() {
		if err := s.group(g, t.Len()); err != nil {
			return err
		}
		if err := t.Run(s.ctx); err != nil {
			return err
		}
	}
	if c.ahead, err = newEnding(s.ctx, s.m, t.Hidden()); err != nil {
		return err
	}
	return s.head(c.ahead)
}

func (s *surveyor) group(g *transformer.Group, n int) error {
	x := positionRows{(n + surveyStride - 1) / surveyStride, func(i int) []float32 { return g.Row(i * surveyStride) }}
	mo, err := momentsOf(s.ctx, x, positionWeights(x))
	if err != nil {
		return err
	}
	in, err := newInput(s.ctx, mo, damping)
	if err != nil {
		return inTensor(s.m, model.Name(g.Block, g.Kinds[0]), err)
	}
	for _, kind := range g.Kinds {
		name := model.Name(g.Block, kind)
		src := s.m.Tensors[name]
		losses, err := expectedLoss(s.ctx, src, in, s.Schemes, nil)
		if err != nil {
			return err
		}
		for i := range losses {
			losses[i] *= optimism(mo, float64(s.tokens))
		}
		if in.silent {
			clear(losses)
		}
		q, made, err := s.disturb(src, in)
		if err != nil {
			return inTensor(s.m, name, err)
		}
		src.Release()
		if old := s.cost[name]; old != nil { // a block that runs again
			for i, v := range old {
				losses[i] += v
			}
		}
		s.cost[name], s.noisy[name] = losses, q
		s.loss[name] += made
	}
	return nil
}

// optimism is how many times larger a loss is than expectedLoss has it, which knows
// the second moments of n positions and takes them for the truth. The part of d
// columns that others explain is fitted to these positions as a regression is, so
// what is left of it is d/n too small there; and rounding, which is fitted to as many
// positions as it will be calibrated on, leaves d/tokens more elsewhere.
func optimism(m *moments, tokens float64) float64 {
	d := float64(m.width)
	return (1 + d/tokens) / max(1-d/m.positions(), 0.25)
}

// disturb rounds src by the first of noises that is felt, or by the loudest, and
// returns the loss that makes.
func (s *surveyor) disturb(src *qtensor.Matrix, in *Input) (q *qtensor.Matrix, made float64, err error) {
	all, err := outputPower(s.ctx, src, in)
	if err != nil {
		return nil, 0, err
	}
	for _, noise := range noises {
		next, err := qtensor.New(noise, src.Rows, src.Cols)
		if err != nil {
			return nil, 0, err
		}
		if err := (rtn{skips{StepSearch}}).Quantize(s.ctx, next, src, in); err != nil {
			return nil, 0, err
		}
		l, err := loss(s.ctx, src, next, in.h, in.stride)
		if err != nil {
			return nil, 0, err
		}
		if q == nil || l > made {
			q, made = next, l
		}
		if made > felt*all {
			break
		}
	}
	if in.silent {
		made = 0
	}
	return q, made, nil
}

// outputPower estimates the power of src's output as if its input's columns were
// independent, sum of w^2 H_jj.
func outputPower(ctx context.Context, src *qtensor.Matrix, in *Input) (float64, error) {
	rows := make([]float64, src.Rows)
	err := eachRow(ctx, src, func(_, r int, x []float32) error {
		for c, v := range x {
			rows[r] += float64(float64(v*v) * float64(in.h[c*in.stride+c]))
		}
		return nil
	})
	sum := 0.0
	for _, v := range rows {
		sum += v
	}
	return sum, err
}

// head predicts the divergence that the head adds, and an embedding that is
// also looked up a little more.
func (s *surveyor) head(end *ending) error {
	const lookedUp = 1.15 // measured on SmolLM2-135M: lookups add a seventh to the head's
	name := s.m.HeadName()
	src := s.m.Tensors[name]
	costs := make([]float64, len(s.Schemes))
	for _, b := range end.bins {
		in, err := b.input(s.ctx, end.hidden)
		if err != nil {
			return inTensor(s.m, name, err)
		}
		weight := make([]float64, src.Rows)
		mean := 0.0
		for _, w := range b.weights {
			mean += float64(w) / float64(len(b.weights))
		}
		for _, r := range b.rows {
			weight[r] = mean / 2
		}
		if in.silent {
			continue
		}
		part, err := expectedLoss(s.ctx, src, in, s.Schemes, weight)
		if err != nil {
			return err
		}
		for i, v := range part {
			costs[i] += float64(v * lookedUp * optimism(in.moments, in.moments.positions()))
		}
	}
	s.cost[name] = costs
	return nil
}

// sensitivities turns the losses of the linear layers into nats.
func (s *surveyor) sensitivities(texts [][]int, progress func(done, of int)) error {
	d, err := transformer.New(s.m)
	if err != nil {
		return err
	}
	t, err := d.NewTrace(texts)
	if err != nil {
		return err
	}
	steps := len(s.m.Spec.Schedule)
	parts := min(depthParts, steps)
	starts := make([][]float32, parts)
	for g := t.Next(); g != nil; g = t.Next() {
		for p := range parts {
			if starts[p] == nil && g.Step >= p*steps/parts {
				starts[p] = t.Stream()
			}
		}
		if err := t.Run(s.ctx); err != nil {
			return err
		}
	}
	if s.judge, err = newJudge(s.ctx, heard(t), s.m.Spec.Vocab); err != nil {
		return err
	}
	done := 0
	for p, start := range starts {
		for _, kind := range model.LinearKinds {
			if progress != nil {
				progress(done, parts*len(model.LinearKinds))
			}
			done++
			first, last := p*steps/parts, (p+1)*steps/parts
			if err := s.measure(t, first, last, kind, start); err != nil {
				return err
			}
		}
	}
	return nil
}

// heard are the final hidden states that are judged.
func heard(t *transformer.Trace) *transformer.Hidden {
	var some []int
	for i := 0; i < t.Len(); i += judgeStride {
		some = append(some, i)
	}
	return t.Hidden().Select(some)
}

// measure rounds one kind of layer in the blocks of steps [first, last), and
// divides the divergence by the loss.
func (s *surveyor) measure(t *transformer.Trace, first, last int, kind string, start []float32) error {
	var names []string
	sum := 0.0
	for _, b := range s.m.Spec.Schedule[first:last] {
		name := model.Name(b, kind)
		if s.noisy[name] == nil || s.known[name] {
			continue
		}
		s.known[name] = true
		names = append(names, name)
		sum += s.loss[name]
	}
	if len(names) == 0 {
		return nil
	}
	if sum == 0 { // exact in every scheme, or nothing goes in
		for _, name := range names {
			clear(s.cost[name])
		}
		return nil
	}
	for _, name := range names {
		t.Replace(name, s.noisy[name])
	}
	t.Rewind(first, start)
	if err := t.Finish(s.ctx); err != nil {
		return err
	}
	kl, err := s.judge.kl(s.ctx, heard(t))
	if err != nil {
		return err
	}
	for _, name := range names {
		t.Replace(name, s.m.Tensors[name])
		for i := range s.cost[name] {
			s.cost[name][i] *= kl / sum
		}
	}
	return nil
}
