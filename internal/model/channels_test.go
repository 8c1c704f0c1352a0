package model

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"thimble/internal/qtensor"
)

// Every tensor with as many rows or columns as the stream has channels, and no other size in
// common with it, is one of the stream in that axis.
func TestStreamAxes(t *testing.T) {
	plain := Spec{
		Vocab: 11, Hidden: 13, Blocks: 2, Heads: 2, KVHeads: 1, HeadDim: 4, FFN: 17, Positions: 19, EmbedNorm: true, PostNorm: true, Norm: NormLayer,
		Bias:    Bias{QKV: true, O: true, FFN: true, Head: true},
		Experts: Experts{Count: 3, Used: 1, FFN: 5, Shared: 7, SharedGate: true, Dense: []int{1}},
	}
	latent := plain
	latent.KVHeads, latent.Rope.Dims, latent.Latent = 2, 2, Latent{Query: 6, KeyValue: 9, Value: 3}
	direct := latent
	direct.Latent.Query = 0
	for _, s := range []Spec{plain, latent, direct} {
		rows, cols := 0, 0
		for _, slot := range s.Slots() {
			r, c := s.StreamAxes(slot)
			if r != (slot.Rows == s.Hidden) || c != (slot.Cols == s.Hidden) {
				t.Errorf("%s, (%d, %d): %t, %t", slot.Name, slot.Rows, slot.Cols, r, c)
			}
			if r {
				rows++
			}
			if c {
				cols++
			}
		}
		if rows < 7 || cols < 39 {
			t.Errorf("only %d and %d tensors of the stream", rows, cols)
		}
	}
}

func TestCheckChannels(t *testing.T) {
	s := Spec{Hidden: 3}
	for _, c := range []struct {
		channels []int32
		want     string
	}{
		{nil, ""}, {[]int32{2, 0, 1}, ""}, {[]int32{0, 1}, "is an order of 2 channels, the model has 3"},
		{[]int32{0, 1, 1}, "has channel 1 twice or out of range"}, {[]int32{0, 1, 3}, "channel 3"}, {[]int32{0, -1, 1}, "channel -1"},
	} {
		if err := s.CheckChannels(c.channels); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.channels, err, c.want)
		}
	}
	for _, s := range []Spec{{Hidden: 2, AltUp: AltUp{Streams: 2}}, {Hidden: MaxChannels + 1}} {
		if err := s.CheckChannels(make([]int32, s.Hidden)); err == nil {
			t.Errorf("%d channels of %d streams: no error", s.Hidden, s.AltUp.Streams)
		}
	}
	if s := (Spec{Hidden: MaxChannels}); !s.Reorders() {
		t.Error("the largest order is refused")
	}
}

// Orders compose, and a model comes back to its own. Integers become float32 of the same values.
func TestInOrderOf(t *testing.T) {
	s := Spec{Vocab: 2, Hidden: 3, Tied: true}
	codes, err := qtensor.New(qtensor.Scheme{Kind: qtensor.Int, Bits: 8, Group: 8}, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	for r := range 2 {
		codes.SetRow(r, []uint8{130, uint8(131 + r), 140}, []uint16{0x3c00}, nil)
	}
	gains := &qtensor.Matrix{Scheme: qtensor.Scheme{Kind: qtensor.BF16}, Rows: 1, Cols: 3}
	for _, v := range []float32{1, 2, 3} {
		gains.Codes = binary.LittleEndian.AppendUint16(gains.Codes, uint16(math.Float32bits(v)>>16))
	}
	m := &Model{Spec: s, Tensors: map[string]*qtensor.Matrix{Embed: codes, Norm: gains}}
	row := func(m *Model, name string, r int) []float32 {
		x := make([]float32, 3)
		new(qtensor.Reader).Row(x, m.Tensors[name], r)
		return x
	}
	turned := m.Reordered([]int32{1, 2, 0})
	if got := row(turned, Embed, 1); !slices.Equal(got, []float32{4, 12, 2}) {
		t.Error(got)
	}
	if got := row(turned, Norm, 0); !slices.Equal(got, []float32{2, 3, 1}) || turned.Tensors[Norm].Scheme.Kind != qtensor.BF16 {
		t.Error(got)
	}
	twice := turned.Reordered([]int32{2, 1, 0})
	if got := twice.Provenance.Channels; !slices.Equal(got, []int32{0, 2, 1}) || !slices.Equal(row(twice, Norm, 0), []float32{1, 3, 2}) {
		t.Error(got, row(twice, Norm, 0))
	}
	for _, from := range []*Model{m, turned, twice} {
		for _, to := range []*Model{m, turned, twice} {
			if got, want := row(from.InOrderOf(&to.Provenance), Embed, 0), row(to, Embed, 0); !slices.Equal(got, want) {
				t.Errorf("%v in the order %v: %v, want %v", from.Provenance.Channels, to.Provenance.Channels, got, want)
			}
		}
	}
	if other := (&Provenance{Channels: make([]int32, 7)}); m.InOrderOf(other) != m {
		t.Error("a model got an order of another number of channels")
	}
}
