package convert

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rewriteWeights writes what change makes of the header and the data of from's weights to the
// folder to.
func rewriteWeights(t *testing.T, to, from string, change func(header string, data []byte) (string, []byte)) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(from, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b)
	text, data := change(string(b[8:8+n]), b[8+n:])
	header := []byte(text)
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	file := slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header, data)
	if err := os.WriteFile(filepath.Join(to, "model.safetensors"), file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The text model of Qwen 3.5 alone, with tensors that predict further tokens: transformers does
// not load these either.
func TestTensorsLeftApart(t *testing.T) {
	from, to := filepath.Join("..", "fixtures", "architectures", "qwen3_5"), t.TempDir()
	rename := strings.NewReplacer("model.language_model.", "model.", "model.visual.", "mtp.")
	rewriteWeights(t, to, from, func(header string, data []byte) (string, []byte) { return rename.Replace(header), data })
	var config map[string]json.RawMessage
	text, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(to, "config.json"), config["text_config"], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open(to, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if want := "mtp.* (21 of them): dropped, transformers does not load them either"; !slices.Contains(m.Notes, want) {
		t.Errorf("notes %q, want %q", m.Notes, want)
	}
	if m.Spec.Rope.Dims != 4 || !m.Spec.AttnGate || m.Spec.Attention[0].Delta != 4 || !m.Spec.Attention[1].Attends() {
		t.Errorf("spec %+v", m.Spec)
	}
}
