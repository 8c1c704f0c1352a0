package logits

import "thimble/internal/kernel"

// KL returns the Kullback-Leibler divergence
//
//	KL(P || Q) = sum over tokens of P (log P - log Q) = E[p - q] - (lseP - lseQ)
//
// in nats, where P is the softmax of the logits p, Q that of q, and E the mean over P. lseP and
// lseQ are their LogSumExp, and c compares p and q with the weights exp(p - max(p)), as
// LogSumExp stores them. Where rounding would make the result negative, KL returns 0.
func KL(c *kernel.Comparison, lseP, lseQ float64) float64 {
	return max(0, c.Difference/c.Weight-(lseP-lseQ))
}

// negligible is a probability so small that all tokens below it together change a
// divergence by at most one percent.
const negligible = 1e-7

// QuickKL returns KL(P || Q) in nats, to within one percent. It skips tokens with
// P below 1e-7, which are most of a large vocabulary, and so most calls of exp.
// prob holds P, the softmax of p, in float32.
//
// With d = q - p, KL(P || Q) = log E[exp(d)] - E[d], where E is the mean over P.
func QuickKL(prob, p, q []float32) float64 {
	var all, exp, mean float64
	for i, v := range prob {
		if v < negligible {
			continue
		}
		w, d := float64(v), float64(q[i])-float64(p[i])
		all += w
		mean += float64(w * d)
		exp += float64(w * kernel.Exp64(d))
	}
	return max(0, kernel.Log64(exp/all)-mean/all)
}
