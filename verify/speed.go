package verify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/speed"
	"thimble/internal/strictjson"
)

// A Speed holds the speed at which a machine runs a model, and the memory it takes, as
// measured by "thimble bench". docs/REPORT.md describes its JSON.
type Speed struct {
	Path    string    `json:"path"`
	SHA256  string    `json:"sha256,omitempty"` // of the model, hexadecimal
	Cores   int       `json:"cores"`
	Prefill []float64 `json:"prefill_tokens_per_second"` // one for each run
	Decode  []float64 `json:"decode_tokens_per_second"`
	FLOP    float64   `json:"flop_per_token"` // of the linear layers
	Prompt  int       `json:"prefill_tokens"`
	Steps   int       `json:"decode_tokens"`

	Load   float64     `json:"load_seconds,omitempty"`       // of opening and checking the file
	Bytes  int64       `json:"bytes_per_token,omitempty"`    // of weights that one token reads
	Read   int64       `json:"kv_bytes_per_token,omitempty"` // of keys and values that one of the single tokens reads, on average
	Energy []float64   `json:"joules_per_token,omitempty"`   // one for each run of single tokens, of the whole machine
	Roof   *speed.Roof `json:"roof,omitempty"`               // of the machine
	Peer   *PeerSpeed  `json:"llama_cpp,omitempty"`          // of the same model, in turn with the runs

	Arithmetic ArithmeticInfo `json:"arithmetic"`
	Cache      int64          `json:"kv_bytes"`               // size of the cache for all positions
	Memory     int64          `json:"memory_bytes,omitempty"` // peak resident memory of the runs, including mapped files
}

// A PeerSpeed holds the runs of another program.
type PeerSpeed struct {
	Prefill []float64 `json:"prefill_tokens_per_second"`
	Decode  []float64 `json:"decode_tokens_per_second"`
}

// Add adds a run.
func (s *Speed) Add(r speed.Run) {
	s.Prefill, s.Decode = append(s.Prefill, r.Prefill), append(s.Decode, r.Decode)
	if r.Joules > 0 {
		s.Energy = append(s.Energy, r.Joules)
	}
}

// AddPeer adds the other program's run after the last run.
func (s *Speed) AddPeer(r speed.Run) {
	if s.Peer == nil {
		s.Peer = new(PeerSpeed)
	}
	s.Peer.Prefill, s.Peer.Decode = append(s.Peer.Prefill, r.Prefill), append(s.Peer.Decode, r.Decode)
}

// Ratios returns the ratio of each pair of runs.
func Ratios(ours, others []float64) (all []float64) {
	for i, x := range ours {
		all = append(all, x/others[i])
	}
	return all
}

// Median returns the median of x, which is not empty.
func Median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// ParseSpeed parses the JSON of bench. path is for error messages.
func ParseSpeed(path string, text []byte) (*Speed, error) {
	if _, err := strictjson.Decode(path, text); err != nil {
		return nil, err
	}
	s := new(Speed)
	err := json.Unmarshal(text, s)
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: want what \"thimble bench --json\" prints", defect.Printable(path), strings.TrimPrefix(err.Error(), "json: "))
	}
	return s, nil
}

// Check returns an error if s has values that bench never writes.
func (s *Speed) Check() error {
	for _, runs := range []struct {
		name  string
		speed []float64
	}{{"prefill_tokens_per_second", s.Prefill}, {"decode_tokens_per_second", s.Decode}} {
		if len(runs.speed) == 0 {
			return fmt.Errorf("%s is missing", runs.name)
		}
		for _, v := range runs.speed {
			if !(v > 0 && v < 1e15) {
				return fmt.Errorf("%s has %v", runs.name, v)
			}
		}
	}
	if s.Cores < 1 || s.Prompt < 1 || s.Steps < 1 || s.Cache < 0 || s.Memory < 0 {
		return fmt.Errorf("%d cores, %d and %d tokens, %d and %d bytes were not measured", s.Cores, s.Prompt, s.Steps, s.Cache, s.Memory)
	}
	return nil
}

// differingSpeed returns the first setting in which two measurements differ, with its
// two values, or "" if there is none.
func differingSpeed(before, s *Speed) (field, then, now string) {
	for _, f := range []struct{ field, then, now string }{
		{"cores", fmt.Sprint(before.Cores), fmt.Sprint(s.Cores)},
		{"prefill_tokens", fmt.Sprint(before.Prompt), fmt.Sprint(s.Prompt)},
		{"decode_tokens", fmt.Sprint(before.Steps), fmt.Sprint(s.Steps)},
		{"arithmetic", before.Arithmetic.String(), s.Arithmetic.String()},
	} {
		if f.then != f.now {
			return f.field, f.then, f.now
		}
	}
	return "", "", ""
}
