// Package device estimates from first principles what a model costs on a phone: memory,
// the fastest decoding that the memory's bandwidth allows, and energy. Its table of phones
// has a source for each figure.
package device

import (
	"fmt"

	"thimble/internal/digest"
	"thimble/internal/model"
	"thimble/internal/speed"
	"thimble/internal/spell"
	"thimble/internal/transformer"
)

// Energy is what a byte read and an operation take, in joules.
type Energy struct {
	Byte      float64 `json:"joules_per_byte"`
	Operation float64 `json:"joules_per_operation"` // of a multiplication or an addition
}

const (
	// readEnergy is 0.1 J/GB. It makes MobileLLM's 0.1 J per token and billion weights
	// (arXiv 2402.14905, section 1), which are stored in 8 bits there. A DRAM read in the
	// paper's source takes 640 pJ for 32 bits, 0.16 J/GB, in a process of 45 nm (EIE,
	// arXiv 1602.01528, table 1).
	readEnergy = 0.1e-9

	// Half a multiplication and an addition, in 45 nm (Horowitz, "Computing's energy problem",
	// ISSCC 2014, figure 1.1.9; a multiplication by a sum of int8 is 0.2 + 0.03 pJ, of float32
	// 3.7 + 0.9 pJ). Fetching and decoding instructions comes on top.
	int8Energy  = (0.2e-12 + 0.03e-12) / 2
	floatEnergy = (3.7e-12 + 0.9e-12) / 2
)

// Conversation is the number of tokens of the conversation that a Cost has figures for.
const Conversation = 1000

// What a process takes beside the file and the cache, as docs/MOBILE.md measures it.
const (
	program      = 6_000_000 // the library
	vocabularies = 240       // for each token of the vocabulary
)

// MemoryShare is the part of a phone's memory that an app should stay within, because the
// system and other apps share it (MobileLLM, arXiv 2402.14905, section 1).
const MemoryShare = 0.1

// A Cost is what a model costs on any phone. Tokens are decoded one at a time.
type Cost struct {
	File       int64   `json:"file_bytes"`
	Resident   int64   `json:"resident_bytes"` // the file, the cache of a conversation, and the program
	Cache      int64   `json:"kv_bytes_per_1000_tokens"`
	Keys       string  `json:"kv_keys"` // how the cache stores them
	Values     string  `json:"kv_values"`
	Read       int64   `json:"bytes_per_token"` // weights; the cache comes on top
	CacheRead  int64   `json:"kv_bytes_read_at_1000_tokens"`
	Operations float64 `json:"operations_per_token"` // of linear layers and the head
	Integers   bool    `json:"int8_operations"`      // rather than float32
	Energy     Energy  `json:"energy"`

	Joules             float64 `json:"joules_per_token"`       // of the weights and operations
	ConversationJoules float64 `json:"joules_per_1000_tokens"` // from an empty cache, which is read too
}

// CostOf returns the cost of m, whose files have so many bytes, if the cache stores keys and
// values as a says. Layers that are stored as integers multiply integers, as chat does. m
// must have passed Check.
func CostOf(m *model.Model, file int64, a transformer.Arithmetic) *Cost {
	s := &m.Spec
	work := speed.WorkOf(m)
	head := m.Tensors[m.HeadName()]
	c := &Cost{
		File: file, Read: work.Bytes, Operations: work.FLOP + 2*float64(head.Rows)*float64(head.Cols),
		Keys: a.Keys.String(), Values: a.Values.String(), Integers: transformer.HasIntegers(m),
	}
	for _, block := range s.Schedule {
		c.Cache += Conversation * transformer.EntryBytes(s, a, block)
	}
	c.Cache += transformer.FixedBytes(s)
	sum := int64(0) // bytes of the cache that all tokens of a conversation read
	for pos := range Conversation {
		c.CacheRead = transformer.ReadBytes(s, a, pos)
		sum += c.CacheRead
	}
	c.Resident = file + c.Cache + program + vocabularies*int64(s.Vocab)
	c.fill(sum)
	return c
}

// fill computes the energy. sum is what a conversation reads of the cache.
func (c *Cost) fill(sum int64) {
	c.Energy = Energy{readEnergy, floatEnergy}
	if c.Integers {
		c.Energy.Operation = int8Energy
	}
	c.Joules = float64(float64(c.Read)*c.Energy.Byte) + float64(c.Operations*c.Energy.Operation)
	c.ConversationJoules = float64(Conversation*c.Joules) + float64(float64(sum)*c.Energy.Byte)
}

// A Fit is what a model costs on one phone.
type Fit struct {
	Phone
	Share   float64 `json:"memory_share"` // that the model takes of the phone's memory
	Within  bool    `json:"within_tenth"` // Share is at most MemoryShare
	Allowed bool    `json:"within_app_limit"`

	Speed     float64 `json:"tokens_per_second"`                // at most: bandwidth over the bytes of a token
	SpeedLate float64 `json:"tokens_per_second_at_1000_tokens"` // with the cache of a conversation
	Battery   float64 `json:"battery_share_per_1000_tokens"`
	Hours     float64 `json:"battery_hours_at_10_tokens_per_second"` // of nothing else
}

// On returns what c is on p.
func (c *Cost) On(p Phone) Fit {
	f := Fit{
		Phone: p, Share: float64(c.Resident) / float64(p.Memory), Allowed: p.App == 0 || c.Resident <= p.App,
		Speed: p.Bandwidth / float64(c.Read), SpeedLate: p.Bandwidth / float64(c.Read+c.CacheRead),
		Battery: c.ConversationJoules / p.Energy,
	}
	f.Within = f.Share <= MemoryShare
	f.Hours = p.Energy / (f.pace() * c.Joules) / 3600
	return f
}

// reading is how many tokens a second a person reads, MobileLLM's assumption.
const reading = 10

// pace is the rate of a conversation: a slow phone does not reach the reader's.
func (f *Fit) pace() float64 { return min(reading, f.Speed) }

// A Sheet is the cost of a model on some phones.
type Sheet struct {
	*Cost
	Phones []Fit `json:"phones"`
}

// All, as the name of a phone, stands for every phone.
const All = "all"

// SheetOf returns the cost of m, whose cache stores keys and values as a says, on a phone or
// on All.
func SheetOf(m *model.Model, name string, a transformer.Arithmetic) (*Sheet, error) {
	files, err := digest.Sized(m.Files)
	if err != nil {
		return nil, err
	}
	bytes := int64(0)
	for _, f := range files {
		bytes += f.Bytes
	}
	s := &Sheet{Cost: CostOf(m, bytes, a)}
	for _, p := range Phones() {
		if name == All || name == p.Name {
			s.Phones = append(s.Phones, s.On(p))
		}
	}
	if s.Phones == nil {
		return nil, Unknown(name)
	}
	return s, nil
}

// Unknown is the error for a name that no phone has.
func Unknown(name string) error {
	return fmt.Errorf("--device %q: there is no such phone in the table%s; --device alone shows all", name, spell.Suggest(name, Names()))
}
