package quantize

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/model"
	"thimble/internal/transformer"
	"thimble/quantize/rounding"
)

// A Survey predicts how much each matrix of a model adds to the KL divergence in each of
// several schemes. As long as they are small, these divergences add up (the linearity
// theorem of HIGGS, arXiv 2411.17525): a model's divergence is a sum over matrices of a
// sensitivity times a loss. The loss is predicted from the weights, the second moments of their
// input and what errors of each output cost (Calibration.outputs). The sensitivity of linear
// layers is measured, by rounding one kind of layer in one fifth of the depth at a time; the
// head's is known in closed form.
type Survey struct {
	Schemes []Scheme
	// Together names what holds a matrix together with others, which must then have one
	// scheme, such as a tensor of a file; "" if nothing does. May be nil.
	Together func(name string) string

	cost map[string][]float64 // nats per token by scheme, of each matrix
}

const (
	surveyStride   = 2 // a survey uses the input of every surveyStride-th position
	surveySections = 5 // sections of the depth, each with its own sensitivities

	evalTexts  = 4   // that sensitivities are measured on
	evalTokens = 128 // from the start of each
	evalStride = 2   // every evalStride-th position is evaluated: logits cost more than a layer
)

// A surveyor makes a Survey.
type surveyor struct {
	Survey
	ctx      context.Context
	m        *Model
	noisy    map[string]*disturbance // of every linear layer
	loss     map[string]float64      // of noisy
	measured map[string]bool         // layers whose sensitivity is known
	kl       *klEvaluator
	work     *work
	outputs  map[string][]float64 // see Calibration.outputs

	tokens int // number that rounding will be calibrated on
}

// NewSurvey surveys the linear layers and the head of m for the given schemes, with
// the texts of c, through which it also runs m ahead for a run on c. Unless progress is
// nil, NewSurvey calls it with the multiply-adds done and their total.
func NewSurvey(ctx context.Context, m *Model, c *Calibration, schemes []Scheme, progress func(done, total int64)) (*Survey, error) {
	s := &surveyor{
		Survey: Survey{Schemes: schemes, cost: map[string][]float64{}}, ctx: ctx, m: m, tokens: c.Tokens(),
		noisy: map[string]*disturbance{}, loss: map[string]float64{}, measured: map[string]bool{},
	}
	texts := evalPieces(c.Texts)
	s.work = &work{total: s.totalWork(c.first(), texts) + c.fisherWork(m), report: progress}
	s.work.add(0)
	if err := c.CheckFinite(ctx, m); err != nil {
		return nil, err
	}
	var err error
	if s.outputs, err = c.outputs(ctx, m); err != nil {
		return nil, err
	}
	s.work.add(c.fisherWork(m))
	if err := s.losses(c); err != nil {
		return nil, err
	}
	if err := s.sensitivities(texts); err != nil {
		return nil, err
	}
	s.unseen()
	return &s.Survey, nil
}

// totalWork returns the work of a survey that predicts losses on ahead and measures
// sensitivities on texts.
func (s *surveyor) totalWork(ahead, texts [][]int) float64 {
	n := tokensOf(texts)
	steps := blockWork(s.m, n)
	total := sum(blockWork(s.m, tokensOf(ahead))) + s.lossWork(sum(blockWork(s.m, 1))) + s.headWork(tokensOf(ahead)) + sum(steps) + s.evalWork(n)
	for i := range s.sections() {
		total += float64(len(s.m.Spec.Classes())) * (sum(steps[s.start(i):]) + s.evalWork(n))
	}
	return total
}

// lossWork returns the work of predicting the losses of some weights.
func (s *surveyor) lossWork(weights float64) float64 {
	return weights * float64(len(s.Schemes)) * costOfLoss
}

// headWork returns the work of predicting the head's losses after n positions.
func (s *surveyor) headWork(n int) float64 {
	weights := float64(s.m.Spec.Vocab) * float64(s.m.Spec.Hidden)
	return headStates(s.m, n) + s.lossWork(weights)
}

// evalWork returns the work of evaluating the divergence on texts of n tokens.
func (s *surveyor) evalWork(n int) float64 {
	return float64(n/evalStride) * float64(s.m.Spec.Vocab) * float64(s.m.Spec.Hidden)
}

// sections returns the number of sections of the depth.
func (s *surveyor) sections() int { return min(surveySections, len(s.m.Spec.Schedule)) }

// start returns the first step of section i.
func (s *surveyor) start(i int) int { return i * len(s.m.Spec.Schedule) / s.sections() }

// evalPieces returns the starts of some texts, spread evenly over all of them.
func evalPieces(texts [][]int) [][]int { return starts(texts, evalTexts, evalTokens) }

// starts returns the first tokens of at most most texts, spread evenly over all of them.
func starts(texts [][]int, most, tokens int) [][]int {
	n := min(len(texts), most)
	some := make([][]int, n)
	for i := range some {
		t := texts[i*len(texts)/n]
		some[i] = t[:min(len(t), tokens)]
	}
	return some
}

// losses runs texts through the float model and predicts the loss of every matrix.
func (s *surveyor) losses(c *Calibration) error {
	t, err := newTrace(s.m, c.first(), c.room(s.m, c.first(), 1, surveyWork(s.m, c)))
	if err != nil {
		return err
	}
	defer t.Close()
	for {
		g, err := t.Next()
		if err != nil {
			return err
		}
		if g == nil {
			break
		}
		if err := s.group(g, g.Len()); err != nil {
			return err
		}
		if err := t.Run(s.ctx); err != nil {
			return err
		}
		s.work.add(groupWork(s.m, g, t.Len()) + s.lossWork(groupWork(s.m, g, 1)))
	}
	h, err := t.Hidden()
	if err != nil {
		return err
	}
	if c.final, err = newFinalStates(s.ctx, s.m, h); err != nil {
		return err
	}
	s.work.add(headStates(s.m, t.Len()))
	if err := s.head(c.final); err != nil {
		return err
	}
	s.work.add(s.headWork(0))
	return nil
}

// group predicts the losses of layers that share an input of n positions, and rounds the
// layers to measure their sensitivity.
func (s *surveyor) group(g *transformer.Group, n int) error {
	if n == 0 { // of an expert that no text reaches
		return nil
	}
	moments := &rounding.Moments{Width: g.Width()}
	at, err := addInput(s.ctx, moments, g, nil, n, surveyStride)
	if err != nil {
		return err
	}
	moments.Close()
	var loudest []float32
	if at >= 0 {
		if err := g.Load(at, 1); err != nil {
			return err
		}
		loudest = slices.Clone(g.Row(at))
	}
	in, err := rounding.NewInput(s.ctx, moments, rounding.Damping)
	if err != nil {
		return s.m.InTensor(model.Name(g.Block, g.Kinds[0]), err)
	}
	for _, kind := range g.Kinds {
		name := model.Name(g.Block, kind)
		src := s.m.Tensors[name]
		losses, err := s.expected(in, src, s.outputs[name])
		if err != nil {
			return err
		}
		for i := range losses {
			losses[i] *= moments.Optimism(float64(s.tokens))
		}
		if in.Silent {
			clear(losses)
		}
		q, made, err := s.disturb(src, in, loudest, s.outputs[name])
		if err != nil {
			return s.m.InTensor(name, err)
		}
		src.Release()
		if old := s.cost[name]; old != nil { // the block runs again
			for i, v := range old {
				losses[i] += v
			}
		}
		s.cost[name], s.noisy[name] = losses, q
		s.loss[name] += made
	}
	return nil
}

// expected predicts the loss of src in each scheme: those with a rate come after all others or
// alone. cost multiplies the loss of each row; nil means 1.
func (s *surveyor) expected(in *rounding.Input, src *Matrix, cost []float64) ([]float64, error) {
	plain, rated := s.split()
	losses, err := in.ExpectedLoss(s.ctx, src, plain, cost)
	if err != nil || len(rated) == 0 {
		return losses, err
	}
	more, err := in.RateLoss(s.ctx, src, rated, steps(cost, src.Cols), cost)
	return append(losses, more...), err
}

// split divides the schemes into those without and with a rate.
func (s *surveyor) split() (plain, rated []Scheme) {
	i := slices.IndexFunc(s.Schemes, func(x Scheme) bool { return x.Rate > 0 })
	if i < 0 {
		return s.Schemes, nil
	}
	return s.Schemes[:i], s.Schemes[i:]
}

// head predicts the divergence that the head adds, plus a little for an embedding that is
// also looked up.
func (s *surveyor) head(final *finalStates) error {
	const lookedUp = 1.15 // measured on SmolLM2-135M: lookups add a seventh to the head's divergence
	name := s.m.HeadName()
	src := s.m.Tensors[name]
	plain, rated := s.split()
	costs := make([]float64, len(plain))
	for _, b := range final.bins {
		in, err := b.input(s.ctx, final.hidden)
		if err != nil {
			return s.m.InTensor(name, err)
		}
		weight := make([]float64, src.Rows)
		mean := 0.0
		for _, w := range b.weights {
			mean += float64(w) / float64(len(b.weights))
		}
		for _, r := range b.rows {
			weight[r] = mean / 2
		}
		if in.Silent {
			continue
		}
		losses, err := in.ExpectedLoss(s.ctx, src, plain, weight)
		if err != nil {
			return err
		}
		for i, v := range losses {
			costs[i] += float64(v * lookedUp * in.Moments.Optimism(in.Moments.EffectivePositions()))
		}
	}
	if len(rated) > 0 {
		more, err := s.rateCosts(final, src, rated)
		if err != nil {
			return s.m.InTensor(name, err)
		}
		costs = append(costs, more...)
	}
	s.cost[name] = costs
	return nil
}

// sensitivities converts the losses of the linear layers into nats.
func (s *surveyor) sensitivities(texts [][]int) error {
	t, err := newTrace(s.m, texts, transformer.Room{Positions: tokensOf(texts)})
	if err != nil {
		return err
	}
	sections, classes := s.sections(), s.m.Spec.Classes()
	starts := make([]*transformer.Stream, sections)
	steps := blockWork(s.m, t.Len())
	for i := range sections {
		if err := t.RunSteps(s.ctx, s.start(i)-t.Step()); err != nil {
			return err
		}
		if starts[i], err = t.Stream(); err != nil {
			return err
		}
	}
	if err := t.Finish(s.ctx); err != nil {
		return err
	}
	h, err := evalStates(t)
	if err != nil {
		return err
	}
	if s.kl, err = newKLEvaluator(s.ctx, h, s.m.Spec.Vocab); err != nil {
		return err
	}
	s.work.add(sum(steps) + s.evalWork(t.Len()))
	for i, start := range starts {
		first, last := s.start(i), s.start(i+1)
		for _, class := range classes {
			names := s.unmeasured(first, last, class)
			if err := t.Rewind(first, start); err != nil {
				return err
			}
			if err := s.measure(t, names); err != nil {
				return err
			}
			s.work.add(sum(steps[first:]) + s.evalWork(t.Len()))
		}
	}
	return nil
}

// evalStates returns the final hidden states that are evaluated. t must be past the last
// block.
func evalStates(t *transformer.Trace) (*transformer.Hidden, error) {
	var some []int
	for i := 0; i < t.Len(); i += evalStride {
		some = append(some, i)
	}
	h, err := t.Hidden()
	if err != nil {
		return nil, err
	}
	return h.Select(some), nil
}

// unmeasured returns the layers of one class in the blocks of steps [first, last)
// whose sensitivity is not known, and from then on counts it as known.
func (s *surveyor) unmeasured(first, last int, class string) (names []string) {
	for _, b := range s.m.Spec.Schedule[first:last] {
		for _, name := range s.layers(b, class) {
			if s.noisy[name] != nil && !s.measured[name] {
				s.measured[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// layers returns the names of the layers of a class in a block.
func (s *surveyor) layers(block int, class string) (names []string) {
	before, after, experts := strings.Cut(class, "*")
	if !experts {
		return []string{model.Name(block, class)}
	}
	for e := range s.m.Spec.Experts.Count {
		names = append(names, model.Name(block, before+strconv.Itoa(e)+after))
	}
	return names
}

// unseen gives experts that no text reaches the mean costs of the other experts of their
// blocks.
func (s *surveyor) unseen() {
	for b := range s.m.Spec.Blocks {
		for _, class := range s.m.Spec.Classes() {
			all := s.layers(b, class)
			mean := s.meanCost(all)
			for _, name := range all {
				if s.m.Tensors[name] != nil && s.cost[name] == nil {
					s.cost[name] = mean
				}
			}
		}
	}
}

// meanCost returns the mean cost of those of the layers whose cost is known.
func (s *surveyor) meanCost(layers []string) []float64 {
	mean, n := make([]float64, len(s.Schemes)), 0.0
	for _, name := range layers {
		if cost := s.cost[name]; cost != nil {
			n++
			for i, v := range cost {
				mean[i] += v
			}
		}
	}
	for i := range mean {
		mean[i] /= max(n, 1)
	}
	return mean
}

// measure rounds the named layers, runs t from its current position to the end, and
// converts the layers' losses into nats: it multiplies each by their divergence divided by
// their loss.
func (s *surveyor) measure(t *transformer.Trace, names []string) error {
	sum := 0.0
	for _, name := range names {
		sum += s.loss[name]
	}
	if sum == 0 { // exact in every scheme, or the input is zero
		for _, name := range names {
			clear(s.cost[name])
		}
		return nil
	}
	for _, name := range names {
		noisy, err := s.noisy[name].of(s.ctx, s.m.Tensors[name])
		if err != nil {
			return s.m.InTensor(name, err)
		}
		t.Replace(name, noisy)
	}
	if err := t.Finish(s.ctx); err != nil {
		return err
	}
	h, err := evalStates(t)
	if err != nil {
		return err
	}
	kl, err := s.kl.mean(s.ctx, h)
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
