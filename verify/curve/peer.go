package curve

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/label"
	"thimble/internal/strictyaml"
	"thimble/internal/texts"
)

// MaxRows is the maximum number of rows of a curve, and of peers, so that its tables
// stay readable.
const MaxRows = 100

// A Peer is the size and loss of another tool's file.
type Peer struct {
	Name  string  `yaml:"name" json:"name"`
	Bytes float64 `yaml:"bytes" json:"bytes"` // of the file; may be written 91.9e6
	KL    float64 `yaml:"kl" json:"kl"`       // mean, nats per token
	Text  string  `yaml:"text" json:"text"`   // the text that it was measured on, as label.OfFile names it

	// Further measurements, nil if unknown.
	KLP99 *float64 `yaml:"kl_p99" json:"kl_p99,omitempty"`
	Top1  *float64 `yaml:"top1" json:"top1_agreement,omitempty"` // 0 to 1
	PPL   *float64 `yaml:"ppl" json:"ppl,omitempty"`
}

// ReadPeers reads the file that --peers names; see ParsePeers.
func ReadPeers(ctx context.Context, path string, names []string) (peers []Peer, note string, err error) {
	text, err := texts.Read(ctx, "--peers", path, strictyaml.Limit)
	if err != nil {
		return nil, "", err
	}
	if peers, note, err = ParsePeers([]byte(text), names); err != nil {
		return nil, "", fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return peers, note, nil
}

// ParsePeers reads a list of peers, YAML or JSON. texts names the texts of the curve;
// note mentions the peers measured on other texts.
func ParsePeers(text []byte, texts []string) (peers []Peer, note string, err error) {
	if err := strictyaml.Decode(text, &peers); err != nil {
		return nil, "", err
	}
	if len(peers) > MaxRows {
		return nil, "", fmt.Errorf("there are %d peers, more than %d", len(peers), MaxRows)
	}
	var elsewhere []string
	for i, p := range peers {
		if err := p.check(); err != nil {
			return nil, "", fmt.Errorf("peer %d: %w", i+1, err)
		}
		if !slices.Contains(texts, p.Text) && !slices.Contains(elsewhere, p.Text) {
			elsewhere = append(elsewhere, p.Text)
		}
	}
	if len(elsewhere) > 0 {
		note = fmt.Sprintf("the peers measured on %s are not shown: --text is %s", defect.Printable(strings.Join(elsewhere, ", ")), defect.Printable(strings.Join(texts, ", ")))
	}
	return peers, note, nil
}

func (p *Peer) check() error {
	if err := label.Check(p.Name); err != nil {
		return err
	}
	switch {
	case !(p.Bytes >= 1 && p.Bytes < 1e18):
		return fmt.Errorf("bytes %g: want the size of a file", p.Bytes)
	case !(p.KL > 0 && !math.IsInf(p.KL, 0)):
		return fmt.Errorf("kl %g: want a positive number of nats", p.KL)
	case p.Top1 != nil && !(*p.Top1 >= 0 && *p.Top1 <= 1):
		return fmt.Errorf("top1 %g: want a fraction from 0 to 1", *p.Top1)
	case p.KLP99 != nil && !(*p.KLP99 >= 0 && *p.KLP99 < 1e9), p.PPL != nil && !(*p.PPL >= 1 && *p.PPL < 1e12):
		return fmt.Errorf("kl_p99 or ppl is out of range")
	case p.Text == "":
		return fmt.Errorf("text: want the name of the text that the peer was measured on")
	}
	return nil
}

// peersOn returns the peers measured on a text.
func (r *Report) peersOn(text int) (on []Peer) {
	for _, p := range r.Peers {
		if p.Text == r.Texts[text].Name {
			on = append(on, p)
		}
	}
	return on
}

// others returns the peers measured on a text, and the rows of existing files.
func (r *Report) others(text int) []Peer {
	all := r.peersOn(text)
	for _, row := range r.Rows {
		if row.File != "" {
			all = append(all, Peer{Name: row.Name, Bytes: float64(row.Size()), KL: float64(row.Measured[text].KLMean)})
		}
	}
	return all
}

// commonWords returns the words that all names start with, and the space after them.
// The last word of a name is never among them.
func commonWords(peers []Peer) string {
	common := peers[0].Name[:strings.LastIndex(peers[0].Name, " ")+1]
	for _, p := range peers {
		for !strings.HasPrefix(p.Name, common) {
			common = common[:strings.LastIndex(strings.TrimSuffix(common, " "), " ")+1]
		}
	}
	return common
}
