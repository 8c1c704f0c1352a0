package names

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A binding assigns the tensors of one checkpoint to the slots of its Spec.
type binding struct {
	*Table
	headDim      int
	blocks       int
	blocksKey    string                                 // of the config
	storedBlocks int                                    // with any tensor
	next         int                                    // see Stored.Next
	file         string                                 // the config's path
	scaling      *Scaling                               // of 8-bit floats
	kept         map[*checkpoint.Tensor]*qtensor.Matrix // integers of packed matrices
	unused       map[string]*checkpoint.Tensor          // not assigned yet
	count        map[string]int                         // of tensors, by the note on them
	rows         map[string]int                         // of stored tensors that hold several, by their names
}

// Notes on tensors whose stored type Thimble does not compute with.
const (
	roundedFloat64 = "float64 tensors: rounded to float32, to nearest even"
	widenedFP8     = "tensors of 8-bit floats without a scale: widened to bfloat16, exactly"
	scaledFP8      = "tensors of 8-bit floats: multiplied by their scales, rounded to float32 once, to nearest even"
	inputScales    = "scales of activations: dropped, activations are not quantized here"
)

// matrix returns t as the matrix for slot s, over the same bytes.
func (b *binding) matrix(t *checkpoint.Tensor, s model.Slot) (*qtensor.Matrix, error) {
	if len(t.Shape) == 2 && t.Source == nil && s.Role == model.Vector && s.Cols > b.headDim && t.Shape[0] > 1 && t.Shape[1] == b.headDim && t.Shape[0]*t.Shape[1] == s.Cols {
		flat := *t // gains of several heads
		flat.Shape = []int{s.Cols}
		t = &flat
	}
	if len(t.Shape) == 0 && s.Role == model.Vector && s.Cols == 1 {
		one := *t // a scalar
		one.Shape = []int{1}
		t = &one
	}
	t, err := b.flat(t, s)
	if err != nil {
		return nil, err
	}
	if want := shape(s); !slices.Equal(t.Shape, want) {
		return nil, defect.Corrupt(t.File, t.Name, "shape is %v, %s requires %v%s", t.Shape, filepath.Base(b.file), want, remedy(t, s))
	}
	if b.Pairs && (strings.HasSuffix(s.Name, "."+model.Q) || strings.HasSuffix(s.Name, "."+model.K)) {
		t = deinterleave(t, b.headDim)
	}
	if m := b.kept[t]; m != nil {
		return m, nil
	}
	m := &qtensor.Matrix{Rows: s.Rows, Cols: s.Cols}
	if kind, ok := Kinds[t.DType]; ok {
		m.Scheme.Kind, m.Codes = kind, t.Data
		if t.Source != nil {
			m.Source = t.Source
		}
		return m, nil
	}
	switch t.DType {
	case checkpoint.F64:
		b.count[roundedFloat64]++
		m.Source = float64Rows{t}
	case checkpoint.F8E4M3:
		return m, b.fp8(m, t, e4m3, s)
	case checkpoint.F8E5M2:
		return m, b.fp8(m, t, e5m2, s)
	default:
		return nil, fmt.Errorf("%s: %w; save the checkpoint as bfloat16, float16 or float32", defect.Printable(t.File),
			defect.Unsupported(t.Name, "type %s", t.DType))
	}
	return m, nil
}

// remedy says how to mend the wrong shape of t, or returns "".
func remedy(t *checkpoint.Tensor, s model.Slot) string {
	switch {
	case slices.Contains(t.Shape, 0):
		return "; it is empty, as DeepSpeed's ZeRO stage 3 saves weights that it has not gathered: join its shards with zero_to_fp32.py, or convert the last checkpoint that is whole"
	case (s.Name == model.Embed || s.Name == model.Head) && len(t.Shape) == 2 && t.Shape[1] == s.Cols:
		return fmt.Sprintf("; if the embedding was resized, --set vocab_size=%d corrects the config", t.Shape[0])
	}
	return ""
}

// flat returns t with one dimension if s is the gate of a shared expert, which is stored as
// a matrix of one row, or the factors of a convolution, (channels, 1, length).
func (b *binding) flat(t *checkpoint.Tensor, s model.Slot) (*checkpoint.Tensor, error) {
	n := len(t.Shape)
	_, kind, _ := model.SplitName(s.Name)
	row, factors := n == 2 && t.Shape[0] == 1 && kind == model.SharedGate, n == 3 && t.Shape[1] == 1 && (kind == model.Conv || kind == model.DeltaConv || kind == model.ScanConv)
	if !row && !factors || t.Rows()*t.Shape[n-1] != s.Cols {
		return t, nil
	}
	if t.Source != nil {
		return nil, defect.Unsupported(t.Name, "a vector that is not stored in one piece")
	}
	out := *t
	out.Shape = []int{s.Cols}
	return &out, nil
}

// fp8 makes m hold the values of t, multiplied by their scale if the config declares
// scales.
func (b *binding) fp8(m *qtensor.Matrix, t *checkpoint.Tensor, values *[256]float32, s model.Slot) error {
	rows := fp8Rows{Tensor: t, values: values}
	if b.scaling == nil {
		b.count[widenedFP8]++
		m.Scheme.Kind, m.Source = qtensor.BF16, rows
		return nil
	}
	name := t.Name + b.scaling.Suffix
	stored := b.unused[name]
	if stored == nil {
		return defect.Corrupt(t.File, name, "scale is missing, but %s declares scales for 8-bit floats", filepath.Base(b.file))
	}
	var err error
	if rows.scale, err = b.scaling.read(t, stored, s); err != nil {
		return err
	}
	delete(b.unused, name)
	for _, suffix := range []string{"input_scale", "input_scale_ub"} {
		if name := strings.TrimSuffix(t.Name, "weight") + suffix; b.unused[name] != nil {
			delete(b.unused, name)
			b.count[inputScales]++
		}
	}
	b.count[scaledFP8]++
	m.Source = rows // float32
	return nil
}
