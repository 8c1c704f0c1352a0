package reference

// What the tests in package reference_test need, which run the verifier.
const KLDBaseHeader = kldBaseHeader

var (
	KLDBaseWidth = kldBaseWidth
	LogProbs     = logProbs
	Near         = near
)
