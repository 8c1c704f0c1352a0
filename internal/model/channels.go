package model

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"thimble/internal/qtensor"
)

// The channels of the residual stream have no order: embeddings, norms and what a block adds
// treat each alike, and a layer that reads them sums over all. A model whose tensors have them
// in another order computes the same, apart from the rounding of these sums. Quantizers use that
// to put channels of similar magnitude into one group.

// writers lists the kinds whose rows are channels of the stream.
var writers = []string{O, Down, ConvOut, DeltaOut, ScanOut, LaurelRight, LayerOut}

// readers lists the kinds whose columns are channels of the stream, or whose only row has one
// number for each.
var readers = []string{
	Embed, Positions, EmbedNorm, Norm, Head, AttnNorm, AttnPost, FFNNorm, FFNPost,
	Q, K, V, LatentQ, LatentKV, AttnGate, Gate, Up, Router, SharedGate, ConvIn, DeltaIn, DeltaGate, DeltaA, DeltaB,
	ScanGate, ScanIn, ScanStep,
	LaurelLeft, LaurelNorm, LayerIn, LayerGate, LayerPost,
}

// StreamAxes reports whether the rows of a tensor of s, and whether its columns, are channels of
// the residual stream.
func (s *Spec) StreamAxes(slot Slot) (rows, cols bool) {
	rows, cols = slot.streamAxes()
	if s.IsLatent() {
		switch slot.Kind() {
		case K, V:
			cols = false
		case Q:
			cols = s.Latent.Query == 0
		}
	}
	return rows, cols
}

func (s Slot) streamAxes() (rows, cols bool) {
	kind := s.Kind()
	if _, of, ok := SplitExpert(kind); ok {
		kind = of
	}
	kind = strings.TrimPrefix(kind, SharedIn+".")
	base, bias := strings.CutSuffix(kind, BiasSuffix)
	switch {
	case !bias:
		return slices.Contains(writers, kind), slices.Contains(readers, kind)
	case s.Name == Head+BiasSuffix: // by token
		return false, false
	case s.Role == Vector && slices.Contains(biasedNorms, base):
		return false, true
	}
	return false, slices.Contains(writers, base)
}

// biasedNorms lists the readers that may have a bias by channel.
var biasedNorms = []string{EmbedNorm, Norm, AttnNorm, AttnPost, FFNNorm, FFNPost}

// MaxChannels bounds the order of channels that a file may have.
const MaxChannels = 1 << 15

// Reorders reports whether a model of s may have the channels of its stream in another order. One
// of several streams (AltUp) would need its coefficients in that order, too.
func (s *Spec) Reorders() bool { return s.AltUp.Streams == 0 && s.Hidden <= MaxChannels }

// ChannelsKey is the key of Provenance.Channels in a config.json.
const ChannelsKey = "thimble_channels"

// CheckChannels returns an error unless channels, which may be empty, is an order of a model's
// channels that Reordered may give it.
func (s *Spec) CheckChannels(channels []int32) error {
	switch {
	case len(channels) == 0:
		return nil
	case len(channels) != s.Hidden:
		return fmt.Errorf("is an order of %d channels, the model has %d", len(channels), s.Hidden)
	case !s.Reorders():
		return fmt.Errorf("is an order of channels, which a model with several streams or more than %d channels has not", MaxChannels)
	}
	seen := make([]bool, s.Hidden)
	for _, c := range channels {
		if c < 0 || int(c) >= s.Hidden || seen[c] {
			return fmt.Errorf("has channel %d twice or out of range", c)
		}
		seen[c] = true
	}
	return nil
}

// Reordered returns m with other tensors, which have channel order[i] of m's residual stream in
// place i. It makes their rows on demand: those of a float type in this type, others in float32.
func (m *Model) Reordered(order []int32) *Model {
	out := *m
	out.Tensors = maps.Clone(m.Tensors)
	for _, slot := range m.Spec.Slots() {
		t := m.Tensors[slot.Name]
		rows, cols := m.Spec.StreamAxes(slot)
		if t == nil || !rows && !cols {
			continue
		}
		r, kind := &reordered{src: t}, qtensor.F32
		if t.Scheme.Float() {
			kind = t.Scheme.Kind
		}
		if rows {
			r.rows = order
		}
		if cols {
			r.cols = order
		}
		out.Tensors[slot.Name] = &qtensor.Matrix{Scheme: qtensor.Scheme{Kind: kind}, Rows: t.Rows, Cols: t.Cols, Source: r}
	}
	out.Provenance.Channels = make([]int32, len(order))
	for i, c := range order {
		if len(m.Provenance.Channels) > 0 {
			c = m.Provenance.Channels[c]
		}
		out.Provenance.Channels[i] = c
	}
	return &out
}

// InOrderOf returns m with its channels in the order of a model with other's provenance. If that
// has another number of channels, it returns m.
func (m *Model) InOrderOf(other *Provenance) *Model {
	from, to := m.Provenance.Channels, other.Channels
	if slices.Equal(from, to) || len(to) > 0 && len(to) != m.Spec.Hidden {
		return m
	}
	place := make([]int32, m.Spec.Hidden) // of each of the source's channels in m
	order := make([]int32, m.Spec.Hidden)
	for i := range place {
		place[channelOf(from, i)] = int32(i)
	}
	for i := range order {
		order[i] = place[channelOf(to, i)]
	}
	return m.Reordered(order)
}

// channelOf returns the source's channel in place i.
func channelOf(channels []int32, i int) int32 {
	if len(channels) == 0 {
		return int32(i)
	}
	return channels[i]
}

// A reordered produces the rows of src in another order, or with columns in another order.
type reordered struct {
	src        *qtensor.Matrix
	rows, cols []int32 // nil for the order of src
}

func (t *reordered) Row(dst []byte, r int) {
	if t.rows != nil {
		r = int(t.rows[r])
	}
	var reader qtensor.Reader
	if !t.src.Scheme.Float() {
		x := make([]float32, t.src.Cols)
		reader.Row(x, t.src, r)
		for i := range x {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x[channelOf(t.cols, i)]))
		}
		return
	}
	row := reader.Stored(t.src, r)
	switch {
	case t.cols == nil:
		copy(dst, row)
	case len(row) == 2*len(t.cols):
		gather16(dst, row, t.cols)
	default:
		for i, c := range t.cols {
			binary.LittleEndian.PutUint32(dst[4*i:], binary.LittleEndian.Uint32(row[4*c:]))
		}
	}
}

// gather16 writes the values of two bytes that row has in the places order to dst.
func gather16(dst, row []byte, order []int32) {
	for len(order) >= 4 {
		v := uint64(binary.LittleEndian.Uint16(row[2*order[0]:])) | uint64(binary.LittleEndian.Uint16(row[2*order[1]:]))<<16 |
			uint64(binary.LittleEndian.Uint16(row[2*order[2]:]))<<32 | uint64(binary.LittleEndian.Uint16(row[2*order[3]:]))<<48
		binary.LittleEndian.PutUint64(dst, v)
		dst, order = dst[8:], order[4:]
	}
	for i, c := range order {
		binary.LittleEndian.PutUint16(dst[2*i:], binary.LittleEndian.Uint16(row[2*c:]))
	}
}

func (t *reordered) Release() { t.src.Release() }

func (t *reordered) ReleaseBehind(r, n int) {
	if t.rows == nil {
		t.src.ReleaseBehind(r, n)
	}
}
