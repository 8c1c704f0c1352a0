package quantize

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/units"
	"thimble/quantize/words"
)

// A Budget limits the size of a quantized model or its divergence from the original, and
// lists the schemes to choose from. It limits exactly one of File, Bits and divergence,
// which is KL, Top1 or both; the other fields are 0.
type Budget struct {
	File    int64    // bytes of the file
	Bits    float64  // per weight, over all tensors
	KL      float64  // mean divergence, nats per token
	Top1    float64  // fraction of positions with the same most likely token, 0 to 1
	Schemes []Scheme // integer schemes to choose from

	// Fits reports whether a matrix with that many columns can have a scheme; nil means all can.
	// One of Schemes fits every matrix.
	Fits func(s Scheme, cols int) bool

	// Resident, if not 0, also limits the bytes of the tensors once the file is loaded.
	Resident int64
}

// shortSchemes lists every width with short scales. At equal loss, no other scheme of this
// package takes fewer bits without a coder.
const shortSchemes = "int2/g16/s4,int3/g16/s4,int4/g16/s4,int5/g16/s4,int6/g16/s4,int7/g16/s4,int8/g16/s4"

// wideSchemes lists every width in wide and narrow groups with float16 scales, with a minimum
// where it can pay off. What Q6_K holds is not among them: see docs/QUANTIZATION.md, "In llama.cpp".
const wideSchemes = "int3/g32/asym,int4/g64,int4/g32,int4/g32/nl,int4/g64/asym,int4/g32/asym,int5/g64,int5/g32,int5/g64/asym,int5/g32/asym," +
	"int6/g64,int6/g32,int6/g64/asym,int7/g64,int7/g32,int8/g64,int8/g32"

// codedSchemes lists the rates of entropy-coded integers.
const codedSchemes = "int8/row@1.5,int8/row@1.75,int8/row@2,int8/row@2.25,int8/row@2.5,int8/row@2.75,int8/row@3,int8/row@3.25,int8/row@3.5," +
	"int8/row@3.75,int8/row@4,int8/row@4.25,int8/row@4.5,int8/row@4.75,int8/row@5,int8/row@5.25,int8/row@5.5,int8/row@5.75,int8/row@6," +
	"int8/row@6.25,int8/row@6.5,int8/row@6.75,int8/row@7"

// CodedSchemes returns the names of the schemes that a budget for an entropy-coded file chooses
// from.
func CodedSchemes() []string { return strings.Split(codedSchemes, ",") }

// lookupScheme is the default scheme of an embedding that is only looked up, which a
// budget does not choose.
const lookupScheme = "int8/g32"

// DefaultSchemes returns the names of the schemes that a budget usually chooses from, for a
// container.
func DefaultSchemes() []string { return strings.Split(shortSchemes, ",") }

// WideSchemes returns those for other programs' files, which may lack types for some.
func WideSchemes() []string { return strings.Split(wideSchemes, ",") }

// Check returns an error unless b has one limit, with a possible value, and integer
// schemes to choose from.
func (b *Budget) Check() error {
	limits := 0
	for _, set := range []bool{b.File != 0, b.Bits != 0, b.KL != 0 || b.Top1 != 0} {
		if set {
			limits++
		}
	}
	switch {
	case limits != 1:
		return errors.New("a budget limits one of file size, bits per weight, and divergence (KL, top-1 agreement)")
	case b.File < 0:
		return fmt.Errorf("a budget of %d bytes: want a positive number", b.File)
	case b.Bits != 0 && !(b.Bits > 0 && b.Bits < 64):
		return fmt.Errorf("a budget of %g bits per weight: want a number between 0 and 64", b.Bits)
	case b.KL != 0 && !(b.KL > 0 && b.KL < 1e6):
		return fmt.Errorf("a budget of KL %g: want a positive number of nats per token", b.KL)
	case b.Top1 != 0 && !(b.Top1 > 0 && b.Top1 < 1):
		return fmt.Errorf("a budget of top-1 agreement %g: want a fraction between 0 and 1", b.Top1)
	case len(b.Schemes) == 0:
		return errors.New("a budget needs schemes to choose from")
	}
	rated := false
	for _, s := range b.Schemes {
		if s.Rate == 0 && rated {
			return fmt.Errorf("schemes with a rate come after all others, %v comes after one", s)
		}
		rated = s.Rate > 0
		if s.Kind != qtensor.Int {
			return fmt.Errorf("%v is not an integer scheme; a budget chooses from integer schemes", s)
		}
	}
	return nil
}

// Measured reports whether b limits divergence, which must be measured.
func (b *Budget) Measured() bool { return b.KL != 0 || b.Top1 != 0 }

// String describes the limit.
func (b *Budget) String() string {
	switch {
	case b.KL != 0 && b.Top1 != 0:
		return fmt.Sprintf("a KL of %g and a top-1 agreement of %g", b.KL, b.Top1)
	case b.KL != 0:
		return fmt.Sprintf("a KL of %g", b.KL)
	case b.Top1 != 0:
		return fmt.Sprintf("a top-1 agreement of %g", b.Top1)
	case b.Bits != 0:
		return fmt.Sprintf("%g bits per weight", b.Bits)
	}
	return fmt.Sprintf("a file of %d bytes", b.File)
}

// Complete returns r with default schemes for the matrices of m: the first of b's schemes
// where b will choose another, and int8/g32 for an embedding that is only looked up, whose
// scheme b does not choose.
func (b *Budget) Complete(m *Model, r *Recipe) *Recipe {
	full := *r
	full.Scheme = cmp.Or(full.Scheme, b.Schemes[0].String())
	if !m.Spec.Tied {
		full.Embedding = cmp.Or(full.Embedding, lookupScheme)
	}
	return &full
}

// Smallest returns the plan that spends least within b: each matrix that b chooses a scheme
// for has the smallest of b's schemes, and the others have those of base, which must be
// complete. It needs no survey. copies is that of File. A limit on size that this plan exceeds cannot be met, and
// any error in base shows here, before the long work.
func (b *Budget) Smallest(m *Model, base *Recipe, copies func(name string) int) (*Plan, error) {
	s := &Survey{Schemes: b.Schemes, cost: map[string][]float64{m.HeadName(): make([]float64, len(b.Schemes))}}
	for _, slot := range m.Spec.Slots() {
		if slot.Role == model.Linear {
			s.cost[slot.Name] = make([]float64, len(b.Schemes))
		}
	}
	a, err := newAllocator(s, m, base, copies, b.Fits)
	if err != nil {
		return nil, err
	}
	return NewPlan(m, a.spend(0, math.Inf(-1)).recipe)
}

// A File describes the file that a limit on its size is about.
type File struct {
	// Size returns the bytes that the limit is about, of the file that a plan makes: all of
	// them, or those of its tensors if the limit is in bits per weight. nil means those of the
	// plan's tensors.
	Size   func(*Plan) (int64, error)
	Copies func(name string) int // the number of times that the file stores a tensor; nil means once each
}

// Choose returns base, which must be complete, with a rule for each surveyed matrix that no
// rule of base matches. According to the survey, the chosen schemes meet b and, for a limit
// on size, have the least divergence. predicted is that divergence in nats per token.
//
// A limit on divergence is met only as accurately as a survey can predict it, see
// MeasuredSearch. Only a limit on size uses f.
func (b *Budget) Choose(m *Model, base *Recipe, s *Survey, f File) (r *Recipe, predicted float64, err error) {
	var copies func(name string) int
	if b.File != 0 {
		copies = f.Copies
	}
	a, err := newAllocator(s, m, base, copies, b.Fits)
	if err != nil {
		return nil, 0, err
	}
	var best allocation
	switch {
	case b.Measured():
		best, err = a.diverging(b.firstAim())
	default:
		best, err = a.fitting(m, b.bytes(m), f.Size)
	}
	if err == nil && b.Resident > 0 {
		best.recipe, err = b.narrow(m, best.recipe)
	}
	return best.recipe, best.predicted, err
}

// bytes returns the limit on the size that File.Size is about.
func (b *Budget) bytes(m *Model) int64 {
	if b.Bits != 0 {
		weights, _ := m.Size()
		return int64(b.Bits * float64(weights) / 8)
	}
	if slices.ContainsFunc(b.Schemes, func(s Scheme) bool { return s.Rate > 0 }) {
		return b.File - planeBytes - b.File/rateMargin // what codes take is known only once they are made
	}
	return b.File
}

// narrow returns r with codes that are as wide as Resident allows. A code of some entropy needs
// a little over a bit more for all values that occur; with less, rows get wider steps.
func (b *Budget) narrow(m *Model, r *Recipe) (*Recipe, error) {
	const wide, narrowest = 8, 1.0 // bits more than the entropy
	least := int64(0)
	for spare := float64(wide); spare >= narrowest; spare -= 0.25 {
		same := *r
		same.Rules = slices.Clone(r.Rules)
		for i := range same.Rules {
			s, err := words.Scheme(same.Rules[i].Scheme)
			if err != nil || s.Rate == 0 {
				continue
			}
			s.Bits = min(8, int(math.Ceil(s.BitsRate()+spare)))
			same.Rules[i].Scheme = s.String()
		}
		plan, err := NewPlan(m, &same)
		if err != nil {
			return nil, err
		}
		if least = plan.Resident(); least <= b.Resident {
			return &same, nil
		}
	}
	return nil, fmt.Errorf("the tensors take %s once they are loaded, more than the %s of --max-resident; use a smaller file, whose codes are narrower", units.Size(least), units.Exact(b.Resident))
}

// rateMargin is the part of a file, one in so many, that its codes may take beyond their rates.
const (
	rateMargin = 4000
	planeBytes = 64 // to which the file is rounded up
)

// fitting returns an allocation whose plan has a size of at most limit bytes. What a file takes
// besides its tensors depends slightly on the allocation, so fitting lowers the limit on
// tensors by the excess until there is none. Without a size, that of the tensors is meant.
func (a *allocator) fitting(m *Model, limit int64, size func(*Plan) (int64, error)) (allocation, error) {
	tensors := limit
	for {
		best, err := a.within(tensors)
		if err != nil || size == nil {
			return best, err
		}
		plan, err := NewPlan(m, best.recipe)
		if err != nil {
			return allocation{}, err
		}
		bytes, err := size(plan)
		if err != nil {
			return allocation{}, err
		}
		excess := bytes - limit
		if excess <= 0 {
			return best, nil
		}
		// Limits down to best.bytes give the same allocation, and so the same excess.
		tensors -= excess * (1 + (tensors-best.bytes)/excess)
	}
}
