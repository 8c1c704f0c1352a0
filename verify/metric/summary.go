package metric

import (
	"math"
	"slices"

	"thimble/internal/kernel"
)

// A Summary holds the metrics of a set of positions.
type Summary struct {
	Tokens        int   `json:"tokens"`         // positions scored
	KLMean        Value `json:"kl_mean"`        // nats per token; for a compact reference an estimate or a lower bound
	KLMeanSE      Value `json:"kl_mean_se"`     // standard error of KLMean between prompts, see ClusterError
	KLMedian      Value `json:"kl_median"`      // nats
	KLP90         Value `json:"kl_p90"`         // nats, 90th percentile
	KLP99         Value `json:"kl_p99"`         // nats, 99th percentile
	KLP999        Value `json:"kl_p999"`        // nats, 99.9th percentile
	KLHidden      Value `json:"kl_hidden"`      // the most that a compact reference may hide: the true mean is at most KLMean+KLHidden
	Top1Agreement Value `json:"top1_agreement"` // share of positions, 0 to 1
	Top5Agreement Value `json:"top5_agreement"` // share of positions where the model's first five include the reference's first
	MaxAbs        Value `json:"max_abs"`        // largest |difference| of two logits
	MaxAbsRel     Value `json:"max_abs_rel"`    // MaxAbs/LogitStd
	LogitStd      Value `json:"logit_std"`      // standard deviation of the reference's logits; of the model's if the reference does not keep all of its own
	CosineMin     Value `json:"cosine_min"`     // least cosine of two rows of logits
	PPLReference  Value `json:"ppl_reference"`  // perplexity
	PPL           Value `json:"ppl"`            // the model's perplexity
	PPLRatio      Value `json:"ppl_ratio"`      // PPL/PPLReference
}

// Table lists the metrics of a Summary.
var Table = []Entry[Summary]{
	{Name: "tokens", Unit: Tokens, Of: func(s *Summary) Value { return positions(s.Tokens) }, Means: "positions scored"},
	{Name: "kl_mean", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.KLMean }, Means: "nats per token"},
	{Name: "kl_mean_se", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.KLMeanSE }, Means: "standard error, between prompts"},
	{Name: "kl_median", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.KLMedian }, Means: "nats"},
	{Name: "kl_p90", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.KLP90 }, Means: "nats, 90th percentile"},
	{Name: "kl_p99", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.KLP99 }, Means: "nats, 99th percentile"},
	{Name: "kl_p999", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.KLP999 }, Means: "nats, 99.9th percentile"},
	{Name: "kl_hidden", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.KLHidden }, Means: "most that kl_mean may lack"},
	{Name: "top1_agreement", Unit: Tokens, Share: true, Reference: true, Of: func(s *Summary) Value { return s.Top1Agreement }, Means: "share with the same first choice"},
	{Name: "top5_agreement", Unit: Tokens, Share: true, Reference: true, Of: func(s *Summary) Value { return s.Top5Agreement }, Means: "share with it in the first five"},
	{Name: "max_abs", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.MaxAbs }, Means: "largest logit difference"},
	{Name: "max_abs_rel", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.MaxAbsRel }, Means: "max_abs / logit_std"},
	{Name: "logit_std", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.LogitStd }, Means: "standard deviation of logits"},
	{Name: "cosine_min", Unit: Tokens, Share: true, Signed: true, Reference: true, Of: func(s *Summary) Value { return s.CosineMin }, Means: "least cosine of logit rows"},
	{Name: "ppl_reference", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.PPLReference }, Means: "perplexity of the reference"},
	{Name: "ppl", Unit: Tokens, Of: func(s *Summary) Value { return s.PPL }, Means: "perplexity of the model"},
	{Name: "ppl_ratio", Unit: Tokens, Reference: true, Of: func(s *Summary) Value { return s.PPLRatio }, Means: "ppl / ppl_reference"},
}

// positions returns n, or Unknown if n is 0: there was no text to score.
func positions(n int) Value {
	if n == 0 {
		return Unknown
	}
	return Value(n)
}

// Summarize computes all metrics of scores except KLMeanSE.
func Summarize(scores []Score) Summary {
	n := float64(len(scores))
	s := Summary{Tokens: len(scores), KLMeanSE: Unknown, MaxAbs: Unknown, CosineMin: Unknown}
	var (
		kl, agree, agree5 float64
		kls               = make([]float64, len(scores))
		logits            Moments
	)
	for i, x := range scores {
		kls[i] = x.KL
		kl += x.KL
		if x.Top1 {
			agree++
		}
		if x.Top5 {
			agree5++
		}
		logits.Add(x.Logits)
		if i == 0 {
			s.MaxAbs, s.CosineMin = Value(x.MaxAbs), Value(x.Cosine)
		}
		s.MaxAbs, s.CosineMin = max(s.MaxAbs, Value(x.MaxAbs)), min(s.CosineMin, Value(x.Cosine))
	}
	s.KLMean = Value(kl / n)
	_, high := meanBounds(scores)
	s.KLHidden = max(0, Value(high)-s.KLMean)
	s.KLMedian, s.KLP90, s.KLP99, s.KLP999 = Unknown, Unknown, Unknown, Unknown
	s.Top1Agreement, s.Top5Agreement = Unknown, Unknown
	if s.KLMean.Known() {
		slices.Sort(kls)
		s.KLMedian, s.KLP90 = Value(Quantile(kls, 0.5)), Value(Quantile(kls, 0.9))
		s.KLP99, s.KLP999 = Value(Quantile(kls, 0.99)), Value(Quantile(kls, 0.999))
		s.Top1Agreement, s.Top5Agreement = Value(agree/n), Value(agree5/n)
	}
	s.LogitStd = Value(logits.Deviation())
	s.MaxAbsRel = relative(s.MaxAbs, s.LogitStd)
	s.PPL = perplexity(scores, func(x *Score) float64 { return x.NLL })
	s.PPLReference = perplexity(scores, func(x *Score) float64 { return x.RefNLL })
	s.PPLRatio = perplexity(scores, func(x *Score) float64 { return x.NLL - x.RefNLL })
	return s
}

// relative returns a/std. If the logits do not vary, it returns 0 for a difference of 0,
// and Unknown for any other, which no multiple expresses.
func relative(a, std Value) Value {
	switch {
	case a == 0:
		return 0
	case std == 0:
		return Unknown
	}
	return a / std
}

// perplexity returns exp of the mean of nll over the positions with a next token,
// which are those where the model's NLL is known. It returns Unknown if there is no
// such position, or if nll is unknown at one of them.
func perplexity(scores []Score, nll func(*Score) float64) Value {
	sum, n := 0.0, 0
	for i := range scores {
		if s := &scores[i]; s.NLL == s.NLL {
			sum += nll(s)
			n++
		}
	}
	if n == 0 {
		return Unknown
	}
	return Value(min(kernel.Exp64(sum/float64(n)), math.MaxFloat64))
}

// Mean returns the mean of x, which is not empty.
func Mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// Quantile returns quantile q of x, which is sorted and not empty. It interpolates
// linearly between the neighbours of rank q*(len(x)-1).
func Quantile(x []float64, q float64) float64 {
	rank := float64(q * float64(len(x)-1))
	at := min(int(rank), len(x)-1)
	low, high := x[at], x[min(at+1, len(x)-1)]
	return low + float64((rank-float64(at))*(high-low))
}

// A Cluster is the mean of a figure over the tokens of one prompt.
type Cluster struct {
	Tokens int
	Mean   float64
}

// ClusterError returns the standard error of the mean over all tokens, with the
// prompt as the unit of sampling: tokens of one text are correlated, and an error
// that took them for independent would be too small. The formula is that of a ratio
// of cluster totals (Cochran, Sampling Techniques, section 9A). For C prompts, each
// with n tokens and mean k, it is
//
//	sqrt( C/(C-1) * sum of (n (k - mean))^2 ) / sum of n
//
// ClusterError returns NaN for fewer than two prompts.
func ClusterError(clusters []Cluster) float64 {
	c := float64(len(clusters))
	if c < 2 {
		return math.NaN()
	}
	var tokens, total float64
	for _, x := range clusters {
		tokens += float64(x.Tokens)
		total += float64(float64(x.Tokens) * x.Mean)
	}
	mean, sum := total/tokens, 0.0
	for _, x := range clusters {
		d := float64(x.Tokens) * (x.Mean - mean)
		sum += float64(d * d)
	}
	return math.Sqrt(sum*c/(c-1)) / tokens
}
