package reference

// Exported for package reference_test, whose tests run the verifier.
const KLDBaseHeader = kldBaseHeader

var (
	KLDBaseWidth = kldBaseWidth
	LogProbs     = logProbs
	Near         = near
)
