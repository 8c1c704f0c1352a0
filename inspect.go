package thimble

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	container "thimble/format/thimble"
	"thimble/internal/bom"
	"thimble/internal/defect"
	"thimble/internal/device"
	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/quantize"
	"thimble/target"
)

// InspectOptions specify what Inspect reads.
type InspectOptions struct {
	Model string   // path
	Set   []string // config overrides for a checkpoint
	Check bool     // read every tensor of a container and compare its SHA-256

	// Trust is the path of a public key or an allowed_signers file of OpenSSH. Without a
	// signature by such a key beside the model, Inspect fails. It implies Check.
	Trust     string
	Signature string // path of the signature; "" is that of SignaturePath

	Bill bool // add a bill of materials, for which all files are hashed

	Device     string     // add what the model costs on this phone, or on device.All; "" for none
	Arithmetic Arithmetic // whose cache the costs are of

	Progress Progress
}

// An Inspection describes a model file.
type Inspection struct {
	Path       string            `json:"path"`
	Format     string            `json:"format"` // "thimble", "GGUF" or "checkpoint"
	Container  *ContainerInfo    `json:"container,omitempty"`
	Spec       model.Spec        `json:"spec"`
	Weights    int64             `json:"weights"`
	Bytes      int64             `json:"tensor_bytes"` // in memory
	Tokenizer  string            `json:"tokenizer"`    // its kind, or why there is none
	Generation model.Generation  `json:"generation,omitzero"`
	Notes      []string          `json:"notes,omitempty"`
	Tensors    []InspectedTensor `json:"tensors"`
	Provenance ProvenanceInfo    `json:"provenance"`
	Device     *device.Sheet     `json:"device,omitempty"`
	Signature  *SignatureInfo    `json:"signature,omitempty"` // the one that Trust accepts
	Bill       *bom.Document     `json:"-"`                   // in CycloneDX
}

// ContainerInfo describes the header of a .thimble file.
type ContainerInfo struct {
	Version        int              `json:"version"`
	Bytes          int64            `json:"bytes"`
	HeaderBytes    int64            `json:"header_bytes"`
	HeaderSHA256   Digest           `json:"header_sha256"`
	TokenizerBytes int64            `json:"tokenizer_bytes"`
	DataOffset     int64            `json:"data_offset"`
	Gates          []container.Gate `json:"gates,omitempty"`
	Checked        bool             `json:"checked"`                  // every digest was verified
	TensorBytes    int64            `json:"tensor_bytes"`             // in the file
	Coded          int              `json:"entropy_coded,omitempty"`  // tensors
	DecodeSeconds  float64          `json:"decode_seconds,omitempty"` // that loading coded tensors took, if checked
}

// An InspectedTensor is a tensor as it is stored.
type InspectedTensor struct {
	model.StoredTensor
	SHA256    *Digest `json:"sha256,omitempty"`     // containers only
	FileBytes int64   `json:"file_bytes,omitempty"` // in the file, if it is entropy coded there; Bytes is in memory
}

// ProvenanceInfo describes where a model came from. Digests are hexadecimal.
type ProvenanceInfo struct {
	Architecture string       `json:"architecture"`
	Overrides    []string     `json:"overrides,omitempty"`
	Recipe       string       `json:"recipe,omitempty"`
	Predicted    float64      `json:"predicted,omitempty"` // nats per token, by the recipe
	Tool         string       `json:"tool,omitempty"`
	Reordered    bool         `json:"reordered,omitempty"` // the channels of the residual stream are not in the source's order
	Sources      []SourceInfo `json:"sources,omitempty"`
}

// SourceInfo describes a file that a model was made from.
type SourceInfo struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Inspect describes a model file. Opening a container verifies its header and accounts
// for every byte of the file; with Check, Inspect also reads every tensor.
func Inspect(ctx context.Context, o InspectOptions) (*Inspection, error) {
	m, err := Open(o.Model, o.Set...)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	noteTemplates(m)
	r := &Inspection{Path: o.Model, Format: formatOf(o.Model), Spec: m.Spec, Notes: m.Remarks(), Tokenizer: tokenizerText(m), Generation: m.Generation}
	r.Weights, r.Bytes = m.Size()
	for _, s := range m.Stored() {
		r.Tensors = append(r.Tensors, InspectedTensor{StoredTensor: s})
	}
	p := m.Provenance
	r.Provenance = ProvenanceInfo{Architecture: p.Architecture, Overrides: p.Overrides, Recipe: p.Recipe, Predicted: target.Predicted(m), Tool: p.Tool, Reordered: len(p.Channels) > 0}
	for _, s := range p.Sources {
		r.Provenance.Sources = append(r.Provenance.Sources, SourceInfo{s.Name, s.Bytes, hex.EncodeToString(s.SHA256)})
	}
	if o.Device != "" {
		if r.Device, err = device.SheetOf(m, o.Device, o.Arithmetic); err != nil {
			return nil, err
		}
	}
	if isContainer(o.Model) {
		if err := r.addContainer(o.Model); err != nil {
			return nil, err
		}
	}
	if o.Trust != "" {
		if r.Signature, err = o.trusted(ctx); err != nil {
			return nil, err
		}
		o.Check = o.Check || r.Container != nil
	}
	if o.Bill {
		if err := r.addBill(ctx, m, o.Progress); err != nil {
			return nil, err
		}
	}
	if !o.Check {
		return r, nil
	}
	if r.Container == nil {
		return nil, fmt.Errorf("%s: %s files carry no digests to check, only containers do; thimble sign makes a signature, which --trust checks; or compare sha256sum with the one that quantize or the download page printed", defect.Printable(o.Model), r.Format)
	}
	decoding, err := container.CheckTimed(ctx, o.Model, o.Progress.stage("check", Bytes))
	if err != nil {
		return nil, err
	}
	if err := mmap.Changed(o.Model); err != nil { // m, the signature and the digests are then not of one file
		return nil, err
	}
	r.Container.DecodeSeconds = decoding.Seconds()
	r.Container.Checked = true
	return r, nil
}

// Coded reports whether the tensors are entropy coded, so that they take more in memory than
// in the file.
func (r *Inspection) Coded() bool { return r.Container != nil && r.Container.Coded > 0 }

// FileBytes returns the bytes that the tensors take in the file; Bytes are those in memory.
func (r *Inspection) FileBytes() int64 {
	if r.Coded() {
		return r.Container.TensorBytes
	}
	return r.Bytes
}

// addContainer adds the header of the container at path.
func (r *Inspection) addContainer(path string) error {
	info, err := container.Inspect(path)
	if err != nil {
		return err
	}
	r.Container = &ContainerInfo{
		Version: info.Version, Bytes: info.Bytes, HeaderBytes: info.HeaderBytes, HeaderSHA256: info.Header,
		TokenizerBytes: info.TokenizerBytes, DataOffset: info.DataOffset, Gates: info.Gates,
	}
	for i := range info.Tensors {
		r.Container.TensorBytes += info.Tensors[i].Bytes
		if info.Tensors[i].Coded {
			r.Container.Coded++
			r.Tensors[i].FileBytes = info.Tensors[i].Bytes
		}
		r.Tensors[i].SHA256 = &info.Tensors[i].SHA256
	}
	return nil
}

func tokenizerText(m *model.Model) string {
	data, err := m.Tokenizer()
	switch {
	case err != nil:
		return defect.OneLine(err.Error())
	case data == nil:
		return "none"
	case data.ChatTemplate != "" && data.ToolTemplate != "":
		return fmt.Sprintf("%d tokens, with a chat template and one for tools", len(data.Tokens))
	case data.ChatTemplate != "":
		return fmt.Sprintf("%d tokens, with a chat template", len(data.Tokens))
	case data.ToolTemplate != "":
		return fmt.Sprintf("%d tokens, with a chat template for tools only", len(data.Tokens))
	}
	return fmt.Sprintf("%d tokens", len(data.Tokens))
}

// RecipeSummary describes the recipe of the model in one line, "" if it has none.
func (r *Inspection) RecipeSummary() string {
	if r.Provenance.Recipe == "" {
		return ""
	}
	recipe, err := quantize.ParseRecipe([]byte(r.Provenance.Recipe))
	if err != nil { // of a later version
		return fmt.Sprintf("%d lines", strings.Count(r.Provenance.Recipe, "\n")+1)
	}
	return recipe.Summary()
}
