package gguf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"thimble/format/gguf/kv"
	"thimble/format/gguf/names"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
)

// Open maps the GGUF file at path, and the other files of a split model, and reads everything
// before the tensor data, so its cost depends on the keys and the number of tensors. It does not
// decode the tokenizer or any weight. An unknown item in the file that could affect the model's
// results is an error that names it: a *format.CorruptError, or one that wraps
// format.ErrUnsupported.
//
// The model's tensors alias the mapping. Reading them while another program
// truncates the file is a memory fault, which parallel.Guard turns into an error.
func Open(path string) (*model.Model, error) {
	var p parts
	m, err := p.open(path)
	if err != nil {
		p.close()
		return nil, err
	}
	m.Close = p.close
	return m, nil
}

// model returns the model in the file.
func (f *file) model() (*model.Model, error) {
	keys, arch, err := f.metadata()
	if err != nil {
		return nil, err
	}
	unknown, err := f.unknownKeys(keys)
	if err != nil {
		return nil, err
	}
	spec, err := f.spec(keys, arch)
	if err != nil {
		return nil, err
	}
	m := &model.Model{Path: f.path, Spec: spec, Files: f.files}
	if m.Provenance, err = keys.provenance(f.path, &spec); err != nil {
		return nil, err
	}
	if m.Stated, err = f.stated(); err != nil {
		return nil, err
	}
	if m.Tensors, err = f.matrices(keys, arch, &spec); err != nil {
		return nil, err
	}
	if m.Generation, err = keys.generation(); err != nil {
		m.Notes = append(m.Notes, fmt.Sprintf("general.sampling: %v: ignored", err))
	}
	if n := keys.nextBlocks; n != nil && *n > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("%s for the prediction of further tokens: left out", defect.Counted(int(*n), "block")))
	}
	m.Origin = func(canonical string) (string, string) {
		for _, slot := range spec.Slots() {
			at, _ := arch.place(&spec, slot)
			if t := f.tensors[at.name]; t != nil && slot.Name == canonical {
				return t.path, t.name
			}
		}
		return f.path, canonical
	}
	if len(keys.replaced) > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("the vocabulary of %d has no id %s: ignored, as in llama.cpp", spec.Vocab, strings.Join(keys.replaced, " or ")))
	}
	for _, name := range unknown {
		m.Notes = append(m.Notes, fmt.Sprintf("key %s is unknown and has no effect", name))
	}
	m.Tokenizer = sync.OnceValues(func() (d *tokenizer.Data, err error) {
		if guard := parallel.Guard(func() error { d, err = f.tokenizer(); return nil }); guard != nil {
			return nil, fmt.Errorf("%s: %w", defect.Printable(f.path), guard)
		}
		return d, err
	})
	return m, m.Check()
}

// stated returns the facts that the keys state for people. Those of another type than the
// specification's are no facts.
func (f *file) stated() (facts []string, err error) {
	for _, name := range model.Facts {
		text, v := "", f.keys[name]
		if v == nil || v.Kind != kv.String {
			continue
		}
		if err := kv.EncodingOf(&text).Decode(&text, v); err != nil {
			return nil, &defect.CorruptError{File: f.path, Off: v.At, Field: name, Why: err.Error()}
		}
		facts = append(facts, name+"="+text)
	}
	return facts, nil
}

// isList reports whether a key is one of the tokenizer's lists, which are decoded only
// when the tokenizer is read.
func isList(name string) bool {
	return slices.Contains([]string{"tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.token_type", "tokenizer.ggml.scores"}, name)
}

// metadata decodes the keys of the table except the tokenizer's lists.
func (f *file) metadata() (*metadata, *architecture, error) {
	m := &metadata{}
	if err := f.decodeKeys(m, func(name string) bool { return name == "general.architecture" }); err != nil {
		return nil, nil, err
	}
	if m.architecture == "" {
		return nil, nil, defect.Corrupt(f.path, "general.architecture", "the key is missing")
	}
	arch, ok := architectureNamed(m.architecture)
	switch {
	case m.architecture == "clip":
		return nil, nil, fmt.Errorf("%s: %w; give the file of the language model beside it", defect.Printable(f.path), defect.Unsupported("general.architecture", "a network for images or sound (mmproj)"))
	case !ok:
		var names []string
		for _, a := range architectures {
			names = append(names, a.name)
		}
		slices.Sort(names)
		return nil, nil, fmt.Errorf("%s: %w", defect.Printable(f.path), defect.Unsupported("general.architecture", "%q (want %s)",
			defect.Printable(m.architecture), strings.Join(names, ", ")))
	}
	if f.tensors["blk.0.attn_qkv.weight"] != nil && !arch.joinsQKV && arch.delta == nil { // most loaders accept both
		joining := *arch
		joining.joinsQKV = true
		arch = &joining
	}
	return m, arch, f.decodeKeys(m, func(name string) bool { return !isList(name) })
}

// spec returns the Spec that the keys and the names of the tensors determine.
func (f *file) spec(m *metadata, arch *architecture) (model.Spec, error) {
	if e := f.tensors["token_embd.weight"]; e != nil && m.vocab == nil {
		m.vocab = ptr(uint32(e.rows))
	}
	s, err := arch.spec(m, func(name string) bool { return f.tensors[name] != nil })
	if err == nil {
		err = arch.unused(m, &s)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", defect.Printable(f.path), err)
	}
	m.replaced = m.dropIDs(s.Vocab)
	s.BOS, s.EOS = m.specialIDs()
	if m.ropePairs != nil {
		s.Rope.Pairs = *m.ropePairs && arch.pairs
	}
	if err := f.ropeFactors(arch, m, &s); err != nil {
		return s, err
	}
	if err := s.Check(); err != nil {
		return s, fmt.Errorf("%s: %w", defect.Printable(f.path), err)
	}
	return s, nil
}

// unused returns an error for a key of the architecture that is not reflected in s: one
// that would be absent, or have another value, if s were written again.
func (a *architecture) unused(m *metadata, s *model.Spec) error {
	again := a.describe(s)
	written := make(map[string]any)
	for _, k := range again.keys() {
		if !kv.Absent(k.place) {
			written[k.name] = k.place
		}
	}
	checked := a.checked(m, s, written)
	for _, k := range m.keys() {
		if !strings.HasPrefix(k.name, a.name+".") || slices.Contains(checked, k.place) || kv.Absent(k.place) {
			continue
		}
		got := reflect.ValueOf(k.place).Elem()
		want, ok := written[k.name]
		if ok && reflect.DeepEqual(k.place, want) || !ok && got.Kind() == reflect.Pointer && got.Elem().IsZero() {
			continue
		}
		shown := got
		if got.Kind() == reflect.Pointer {
			shown = got.Elem()
		}
		return defect.Unsupported(k.name, "%v in architecture %s", shown, a.name)
	}
	return nil
}

// checked lists the keys that unused leaves to others, or that have no effect in s. written
// has the keys of s.
func (a *architecture) checked(m *metadata, s *model.Spec, written map[string]any) []any {
	// mapFeatures checks these itself. A window of the whole context has no effect, and
	// neither has the epsilon of the other kind of norm, or rotates, which concerns training, in
	// other architectures.
	checked := []any{&m.ropeScaling, &m.ropeFactor, &m.windowPeriod, &m.windowPattern, &m.sparsity, &m.deltaBlocks, &m.deltaPeriod, &m.ropeSections, &m.rotates}
	if m.window != nil && int64(*m.window) >= int64(s.Context) {
		checked = append(checked, &m.window)
	}
	if s.Rope.Scaling != model.RopeYarn { // only yarn and the temperature use these
		checked = append(checked, &m.ropeOriginal, &m.betaFast, &m.betaSlow, &m.yarnLog)
	} else {
		checked = append(checked, &m.ropeAttn, &m.yarnLog) // both are parts of the scale
		if !a.betas {
			checked = append(checked, &m.betaFast, &m.betaSlow) // llama.cpp reads them in few architectures
		}
	}
	for _, one := range []**float32{&m.ropeAttn, &m.embedScale, &m.residScale, &m.logitScale} {
		if *one != nil && **one == 1 {
			checked = append(checked, one)
		}
	}
	if s.Experts.Count == 0 {
		checked = append(checked, &m.sharedFFN) // files of Granite 4.0 H without experts have it
	}
	if m.nextBlocks != nil {
		checked = append(checked, &m.blocks, &m.nextBlocks)
	}
	for _, place := range []any{&m.eps, &m.layerEps} {
		if written[m.nameOf(place)] == nil {
			checked = append(checked, place)
		}
	}
	return checked
}

// specialIDs returns the tokens that start and end a text; -1 and none without keys.
func (m *metadata) specialIDs() (bos int, eos []int) {
	bos = -1
	switch {
	case m.specBOS != nil:
		bos = int(*m.specBOS)
	case m.bos != nil:
		bos = int(*m.bos)
	}
	eos = []int{}
	if m.specEOS != nil {
		for _, id := range m.specEOS {
			eos = append(eos, int(id))
		}
		return bos, eos
	}
	add := func(id int) {
		if !slices.Contains(eos, id) {
			eos = append(eos, id)
		}
	}
	for _, id := range []*uint32{m.eos, m.eot, m.eom} {
		if id != nil {
			add(int(*id))
		}
	}
	for _, id := range m.eog {
		add(int(id))
	}
	for _, id := range m.eogUnsigned {
		add(int(id))
	}
	return bos, eos
}

// dropIDs drops the ids that are not of n tokens, as llama.cpp does, and returns those of the
// tokens that start and end a text, which programs mark as none by 4294967295. For a vocabulary of
// sentencepiece, these become 1 and 2.
func (m *metadata) dropIDs(n int) (replaced []string) {
	for _, of := range []struct {
		id    **uint32
		piece uint32 // sentencepiece's
		name  string
	}{{&m.bos, 1, "bos"}, {&m.eos, 2, "eos"}} {
		id := *of.id
		if id == nil || int64(*id) < int64(n) {
			continue
		}
		if *of.id = nil; *id == math.MaxUint32 {
			continue
		}
		replaced = append(replaced, fmt.Sprintf("%s %d", of.name, *id))
		if m.tokenizer == "llama" && int64(of.piece) < int64(n) {
			*of.id = &of.piece
		}
	}
	for _, id := range []**uint32{&m.pad, &m.unk, &m.eot, &m.eom} {
		if *id != nil && int64(**id) >= int64(n) {
			*id = nil
		}
	}
	m.eog = slices.DeleteFunc(m.eog, func(id int32) bool { return id < 0 || int(id) >= n })
	m.eogUnsigned = slices.DeleteFunc(m.eogUnsigned, func(id uint32) bool { return int64(id) >= int64(n) })
	return replaced
}

// provenance returns the provenance recorded in the keys.
func (m *metadata) provenance(path string, s *model.Spec) (p model.Provenance, err error) {
	p = model.Provenance{Architecture: cmp.Or(m.origin, m.architecture), Tool: m.madeBy, Recipe: m.recipe, Overrides: m.overrides, Channels: m.channels}
	if err := s.CheckChannels(m.channels); err != nil {
		return p, defect.Corrupt(path, "thimble.channels", "%v", err)
	}
	if !slices.IsSorted(p.Overrides) {
		return p, defect.Corrupt(path, "thimble.overrides", "are not sorted")
	}
	n := len(m.sources)
	if len(m.sourceBytes) != n || len(m.sourceSums) != n {
		return p, defect.Corrupt(path, "thimble.source", "%d names, %d lengths and %d digests", n, len(m.sourceBytes), len(m.sourceSums))
	}
	for i, name := range m.sources {
		sum, err := hex.DecodeString(m.sourceSums[i])
		if err != nil || len(sum) != 32 || m.sourceBytes[i] > math.MaxInt64 {
			return p, defect.Corrupt(path, "thimble.source", "source %d has %d bytes and digest %q", i, m.sourceBytes[i], defect.Printable(m.sourceSums[i]))
		}
		p.Sources = append(p.Sources, model.Source{Name: name, Bytes: int64(m.sourceBytes[i]), SHA256: sum})
	}
	return p, nil
}

// matrices returns the tensors by the model's names. The file must have exactly the
// tensors of s, in their shapes.
func (f *file) matrices(keys *metadata, arch *architecture, s *model.Spec) (map[string]*qtensor.Matrix, error) {
	all := make(map[string]*qtensor.Matrix)
	used := map[string]bool{}
	for _, name := range arch.factorNames() {
		used[name] = true // ropeFactors has read it
	}
	for _, slot := range s.Slots() {
		if list, block := arch.listOf(keys, slot); list != nil {
			var err error
			if all[slot.Name], err = f.number(keys, list, block, s); err != nil {
				return nil, err
			}
			continue
		}
		where, ok := arch.place(s, slot)
		t := f.tensors[where.name]
		if !ok || t == nil {
			return nil, defect.Corrupt(f.path, where.name, "tensor is missing, want shape %s", shape(where.dims))
		}
		used[where.name] = true
		if !slices.Equal(withoutOnes(t.dims), withoutOnes(where.dims)) {
			return nil, f.fault(t, "shape is %s, the keys require %s", shape(t.dims), shape(where.dims))
		}
		if slot.Role == model.Vector && !t.kind.Scheme.Float() {
			return nil, f.fault(t, "is stored as %s, a vector is F32, F16 or BF16", t.kind.Name)
		}
		m := arch.order(slot, where, s).Matrix(t.part(slot, where.first), t.data, slot.Role == model.Vector)
		all[slot.Name] = rawDecay(slot, m)
	}
	for _, name := range unusedKeys(s) {
		used[name] = true
	}
	for _, t := range f.listed {
		if !used[t.name] && !predictsFurther(keys, t.name, s) {
			return nil, fmt.Errorf("%s: %w", defect.Printable(f.path), defect.Unsupported(t.name, "this tensor in architecture %s", arch.name))
		}
	}
	return all, nil
}

// predictsFurther reports whether name is a tensor of the blocks that predict further tokens,
// which follow those of s.
func predictsFurther(keys *metadata, name string, s *model.Spec) bool {
	number, _, _ := strings.Cut(strings.TrimPrefix(name, "blk."), ".")
	block, err := strconv.Atoi(number)
	return keys.nextBlocks != nil && err == nil && block >= s.Blocks && block < int(*keys.blocks) && strings.HasPrefix(name, names.Block(block))
}

// withoutOnes returns dimensions without the last ones, if those are 1: they do not change what
// a tensor is.
func withoutOnes(dims []uint64) []uint64 {
	for len(dims) > 1 && dims[len(dims)-1] == 1 {
		dims = dims[:len(dims)-1]
	}
	return dims
}

// shape formats dimensions with the innermost last, as a matrix is (rows, columns).
func shape(dims []uint64) string {
	var all []string
	for _, n := range slices.Backward(dims) {
		all = append(all, strconv.FormatUint(n, 10))
	}
	if len(all) == 1 {
		all = []string{"1", all[0]}
	}
	return "(" + strings.Join(all, ", ") + ")"
}

func (f *file) fault(t *tensorInfo, format string, args ...any) error {
	return &defect.CorruptError{File: t.path, Off: t.at, Field: t.name, Why: fmt.Sprintf(format, args...)}
}

// ropeFactors sets the rope scaling that the tensor of rotary factors represents. Files of
// other programs have Llama 3's factors without their parameters.
func (f *file) ropeFactors(arch *architecture, m *metadata, s *model.Spec) error {
	t, err := f.factorTensor(arch, m, s)
	if err != nil {
		return err
	}
	ours := s.Rope.Scaling == model.RopeLlama3
	if t == nil {
		if ours {
			return defect.Corrupt(f.path, names.RopeFreqs, "tensor is missing, the keys have its parameters")
		}
		return nil
	}
	n := ropeDims(s) / 2
	if s.Check() != nil || t.kind.Scheme.Kind != qtensor.F32 || t.rows != 1 || t.cols != n {
		return f.fault(t, "is %s (%d, %d), want F32 (1, %d)", t.kind.Name, t.rows, t.cols, n)
	}
	got := make([]float32, t.cols)
	if _, err := binary.Decode(t.data, binary.LittleEndian, got); err != nil {
		return f.fault(t, "%v", err)
	}
	if ours {
		if want := ropeFactors(s); !near(got, want, 0) {
			return f.fault(t, "does not match the keys %s*", "thimble.rope.llama3.")
		}
		return nil
	}
	if near(got, slices.Repeat([]float32{1}, len(got)), 0) {
		return nil
	}
	// Llama 3.1, 3.2 and 3.3 differ only in the factor (their config.json).
	guess := *s
	guess.Rope = model.Rope{Base: s.Rope.Base, Pairs: s.Rope.Pairs, Scaling: model.RopeLlama3,
		Factor: float64(got[len(got)-1]), LowFreq: 1, HighFreq: 4, Original: 8192}
	// llama.cpp's converter computes in float32.
	if s.Rope.Scaling == model.RopePlain && s.Rope.Scale == 0 && guess.Check() == nil && near(got, ropeFactors(&guess), 1e-5) {
		s.Rope = guess.Rope
		return nil
	}
	if s.Rope.Scaling != model.RopePlain || !arch.factors {
		return fmt.Errorf("%s: %w", defect.Printable(f.path), defect.Unsupported(names.RopeFreqs, "a tensor of rotary factors, with other scaling or in architecture %s,", arch.name))
	}
	s.Rope.Scaling, s.Rope.Factors = model.RopeFactors, make([]float64, len(got))
	for i, x := range got {
		s.Rope.Factors[i] = min(float64(x), model.MaxRopeFactor)
	}
	return nil
}

// factorTensor returns the tensor of rotary factors, or nil. If there is one for long texts and
// another for short ones, it is that of short ones, and the context of s is the original one.
func (f *file) factorTensor(arch *architecture, m *metadata, s *model.Spec) (*tensorInfo, error) {
	names := arch.factorNames()
	t := f.tensors[names[len(names)-1]]
	if len(names) == 1 || t == nil {
		return t, nil
	}
	long := f.tensors[names[0]]
	if long == nil {
		return nil, defect.Corrupt(f.path, names[0], "tensor is missing, but there is one for short texts")
	}
	if !bytes.Equal(long.data, t.data) && m.ropeOriginal != nil {
		s.Context = min(s.Context, int(*m.ropeOriginal))
	}
	return t, nil
}

// near reports whether each value of a differs from b's by at most a fraction of b's.
func near(a, b []float32, fraction float64) bool {
	for i := range a {
		if !(math.Abs(float64(a[i])-float64(b[i])) <= fraction*math.Abs(float64(b[i]))) {
			return false
		}
	}
	return true
}
