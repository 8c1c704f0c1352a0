package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/internal/strictyaml"
	"thimble/verify"
	"thimble/verify/metric"
)

// rowsIn reads rows as --rows does, with or without a text to calibrate on.
func rowsIn(text string, withText bool) (rows []*row, err error) {
	var specs []rowSpec
	if err := strictyaml.Decode([]byte(text), &specs); err != nil {
		return nil, err
	}
	for _, s := range specs {
		r, err := s.row(withText)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func TestRowSentences(t *testing.T) {
	for text, want := range map[string]string{
		"- {}":                "it says neither how large the file may be (size, bpw or kl) nor a scheme",
		"- {size: 92BM}":      "size: 92BM is not a size such as 92MB, 88MiB or 92000000",
		"- {bpw: 0}":          "bpw 0: want a number of bits between 0 and 64",
		"- {kl: .nan}":        "kl NaN: want a positive number of nats",
		"- {kl: -1}":          "kl -1: want a positive number of nats",
		"- {bpw: a}":          "[1:",
		"- {szie: 92MB}":      `unknown field "szie"`,
		"- {size: [1]}":       "[1:",
		"- {bpw: 5, kl: 0.1}": "size, bpw and kl exclude each other; give one",
		"- {scheme: int4/g32, schemes: [int4/g32]}":                   "schemes has no effect without size, bpw or kl",
		"- {size: 92MB, calib: false}":                                "calib: false: a budget is spent by what a text shows",
		"- {scheme: int4/g32, calib: false, method: gptq}":            "calib: false: method gptq needs a text",
		"- {scheme: int4/g32, method: gtpq}":                          `there is no method "gtpq", did you mean "gptq"?`,
		"- {scheme: int4/g32, without: [refti]}":                      `method gptq has no step "refti", did you mean "refit"?`,
		"- {scheme: int4/g32, calib: false, without: [refit]}":        `method rtn has no step "refit"`,
		"- {file: x.gguf, size: 92MB}":                                "file is measured as it is; beside it there is only name",
		"- {file: x.gguf, calib: false}":                              "file is measured as it is; beside it there is only name",
		"- {size: 92MB, for: llama.ccp}":                              `for: llama.ccp is not one of llama.cpp`,
		"- {scheme: int4/g32, calibration: {tokens: 5}}":              "calibration: the text is what --calib names",
		"- {scheme: int4/g32, name: \"a\\nb\"}":                       `the name "a\nb" is not 1 to 40 letters`,
		"- {scheme: int4/g32, name: " + strings.Repeat("x", 41) + "}": "is not 1 to 40 letters",
	} {
		if _, err := rowsIn(text, true); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// A row is what thimble quantize makes of the same words.
func TestRowDefaults(t *testing.T) {
	const text = "- {size: 92MB}\n- {scheme: int4/g32}\n- {scheme: int4/g32, method: rtn}\n- {bpw: 5, name: five, schemes: [int4/g32, int8/g32]}\n- {kl: 0.1}"
	for _, withText := range []bool{true, false} {
		rows, err := rowsIn(text, withText)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rows {
			words := []string{r.name, r.recipe.Method}
			if r.calibrated {
				words = append(words, "calibrated")
			}
			got = append(got, strings.Join(words, " "))
		}
		want := "92MB gptq calibrated, int4/g32 gptq calibrated, int4/g32 rtn calibrated, five gptq calibrated, KL 0.1 gptq calibrated"
		if !withText {
			want = "92MB gptq calibrated, int4/g32 , int4/g32 rtn, five gptq calibrated, KL 0.1 gptq calibrated"
		}
		if all := strings.Join(got, ", "); all != want {
			t.Errorf("rows %s, want %s", all, want)
		}
		if rows[0].kind == "" || rows[0].kind != rows[4].kind || rows[0].kind == rows[3].kind || rows[1].kind != "" {
			t.Errorf("kinds %q", []string{rows[0].kind, rows[1].kind, rows[3].kind, rows[4].kind})
		}
	}
}

// The files of docs/curve say what they are meant to.
func TestCurveFilesOfDocs(t *testing.T) {
	for name, n := range map[string]int{"rows-smollm2.yaml": 6, "rows-ablation.yaml": 10} {
		text, err := os.ReadFile(filepath.Join("../../docs/curve", name))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := rowsIn(string(text), true)
		if err != nil || len(rows) != n {
			t.Errorf("%s: %d rows, %v, want %d", name, len(rows), err, n)
		}
	}
	text, err := os.ReadFile("../../docs/curve/peers-smollm2.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var peers []peer
	if err := strictyaml.Decode(text, &peers); err != nil || len(peers) != 16 || commonWords(peers) != "llama.cpp " {
		t.Errorf("%d peers, %v, want 8 of llama.cpp on each of two texts", len(peers), err)
	}
}

// A curve's figures are those of thimble verify.
func TestCurveIsVerified(t *testing.T) {
	const model = "../../fixtures/trained"
	dir := t.TempDir()
	out, rows := filepath.Join(dir, "out"), filepath.Join(dir, "rows")
	if err := os.WriteFile(rows, []byte("[{name: 4 bits, scheme: int4/g32, calib: false}]"), 0o644); err != nil {
		t.Fatal(err)
	}
	measuring := []string{"--text", model + "/heldout.txt", "--context", "128", "--chunks", "2", "--json"}
	var c curve
	if err := json.Unmarshal([]byte(mustRun(t, append(measuring, "curve", model, "--rows", rows, "-o", out, "--keep")...)), &c); err != nil {
		t.Fatal(err)
	}
	var r verify.Report
	file := filepath.Join(out, "4-bits.thimble")
	if err := json.Unmarshal([]byte(mustRun(t, append(measuring, "verify", file, "--against", model, "--gate", "kl<=1")...)), &r); err != nil {
		t.Fatal(err)
	}
	m := r.Metrics
	want := curvePoint{m.KLMean, m.KLMeanSE, m.KLP99, m.Top1Agreement, m.PPL, m.PPL / m.PPLReference}
	if got := c.Rows[0]; got.Measured[0] != want || got.Bytes != r.Model.Bytes || got.SHA256 != r.Model.SHA256 || got.BitsPerWeight != r.Model.BitsPerWeight || c.Texts[0].PPL != m.PPLReference {
		t.Errorf("%+v, thimble verify has %+v", got, r)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Between the points of a line, the logarithm of the divergence is linear.
func TestCurveAt(t *testing.T) {
	v := &curve{}
	for _, p := range []struct {
		kind  string
		bytes int64
		kl    metric.Value
	}{{"a", 200, 0.01}, {"a", 100, 0.1}, {"a", 300, 0.0001}, {"", 150, 1e-6}, {"b", 100, 0.2}, {"b", 110, 0.001}} {
		v.Rows = append(v.Rows, curveRow{Bytes: p.bytes, kind: p.kind, Measured: []curvePoint{{KLMean: p.kl}}})
	}
	for bytes, want := range map[float64]float64{100: 0.1, 200: 0.01, 150: math.Sqrt(0.001), 250: 0.001, 300: 0.0001, 99: 0.1 * math.Pow(10, 0.01), 305: 0.0001 * math.Pow(10, -0.1), 110: 0.001, 97: 0, 307: 0} {
		got, ok := v.at(0, bytes)
		if ok != (want > 0) || math.Abs(got-want) > 1e-9*want {
			t.Errorf("at %v it is %v, %t, want %v", bytes, got, ok, want)
		}
	}
}
