package rows

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/internal/label"
	"thimble/internal/strictyaml"
)

// rowsIn parses rows as --rows does, with or without a calibration text.
func rowsIn(text string, withText bool) (rows []*Row, err error) {
	var specs []Spec
	if err := strictyaml.Decode([]byte(text), &specs); err != nil {
		return nil, err
	}
	for _, s := range specs {
		r, err := s.Row(withText)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func TestRowErrors(t *testing.T) {
	for text, want := range map[string]string{
		"- {}":                "it has neither a limit (size, bpw or kl) nor a scheme",
		"- {size: 92BM}":      "size: 92BM is not a size such as 92MB, 1.5GB or 92000000",
		"- {bpw: 0}":          "bpw 0: want a number of bits between 0 and 64",
		"- {kl: .nan}":        "kl NaN: want a positive number of nats",
		"- {kl: -1}":          "kl -1: want a positive number of nats",
		"- {bpw: a}":          "[1:",
		"- {szie: 92MB}":      `unknown field "szie"`,
		"- {size: [1]}":       "[1:",
		"- {bpw: 5, kl: 0.1}": "size, bpw and kl exclude each other; give one",
		"- {scheme: int4/g32, schemes: [int4/g32]}":                   "schemes has no effect without size, bpw or kl",
		"- {size: 92MB, calib: false}":                                "calib: false: a budget needs a calibration text",
		"- {scheme: int4/g32, calib: false, method: gptq}":            "calib: false: method gptq needs a text",
		"- {scheme: int4/g32, method: gtpq}":                          `there is no method "gtpq" (did you mean "gptq"?)`,
		"- {scheme: int4/g32, without: [refti]}":                      `method gptq has no step "refti" (did you mean "refit"?)`,
		"- {scheme: int4/g32, calib: false, without: [refit]}":        `method rtn has no step "refit"`,
		"- {file: x.gguf, size: 92MB}":                                "file names an existing file, so the only other key is name",
		"- {file: x.gguf, calib: false}":                              "file names an existing file, so the only other key is name",
		"- {size: 92MB, for: llama.ccp}":                              `for: llama.ccp is not one of llama.cpp`,
		"- {scheme: int4/g32, calibration: {tokens: 5}}":              "calibration: --calib names the text, the same for all rows; remove this key",
		"- {scheme: int4/g32, name: \"a\\nb\"}":                       `the name "a\nb" is not 1 to 40 printable characters`,
		"- {scheme: int4/g32, name: " + strings.Repeat("x", 41) + "}": "is not 1 to 40 printable characters",
	} {
		if _, err := rowsIn(text, true); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// A row has the defaults of thimble quantize.
func TestRowDefaults(t *testing.T) {
	const text = "- {size: 92MB}\n- {scheme: int4/g32}\n- {scheme: int4/g32, method: rtn}\n- {bpw: 5, name: five, schemes: [int4/g32, int8/g32]}\n- {kl: 0.1}"
	for _, withText := range []bool{true, false} {
		rows, err := rowsIn(text, withText)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rows {
			words := []string{r.Name, r.Recipe.Method}
			if r.Calibrated {
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
		if rows[0].Series == "" || rows[0].Series != rows[4].Series || rows[0].Series == rows[3].Series || rows[1].Series != "" {
			t.Errorf("series %q", []string{rows[0].Series, rows[1].Series, rows[3].Series, rows[4].Series})
		}
	}
}

// The files of ../../docs/curve have the expected numbers of rows.
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
}

// Any text is a list of rows, whose names and recipes are valid, or an error in one
// line.
func FuzzRows(f *testing.F) {
	for _, text := range []string{
		"- {size: 92MB, schemes: [int4/g32, int8/g32], for: llama.cpp}", "- {bpw: 5, name: five}\n- {kl: 0.1}", "- {file: a/b.gguf}",
		"- {scheme: int4/g32, calib: false, without: [search], set: [{tensors: 'blocks.*.q', scheme: int8/row}]}", "- {scheme: f16, vectors: f32}", "[{}]",
	} {
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, withText bool) {
		rows, err := rowsIn(text, withText)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		for _, r := range rows {
			switch {
			case label.Check(r.Name) != nil:
				t.Errorf("the name %q is not valid", r.Name)
			case r.File == "" && r.Budget == nil && r.Recipe.Scheme == "":
				t.Errorf("row %q has no scheme", r.Name)
			case r.Budget != nil && len(r.Budget.Schemes) > 0 && r.Budget.Check() != nil:
				t.Errorf("row %q: %v", r.Name, r.Budget.Check())
			}
		}
	})
}
