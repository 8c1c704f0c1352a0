package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Gemma 3n is published with its vision and audio towers: the text model is taken.
func TestAudioLeftOut(t *testing.T) {
	from, to := filepath.Join("..", "fixtures", "families", "gemma3n"), t.TempDir()
	rewriteWeights(t, to, from, func(header string, data []byte) (string, []byte) {
		header = strings.ReplaceAll(header, `"model.`, `"model.language_model.`)
		size := len(data)
		header = fmt.Sprintf(`{"model.audio_tower.x":{"dtype":"BF16","shape":[1],"data_offsets":[%d,%d]},%s`, size, size+2, header[1:])
		return header, append(slices.Clone(data), 0, 0)
	})
	config, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	config = fmt.Appendf(nil, `{"model_type":"gemma3n","vision_config":{},"audio_config":{"hidden_size":8},"audio_token_id":3,"text_config":%s}`, config)
	if err := os.WriteFile(filepath.Join(to, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Open(to, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, want := range []string{
		"gemma3n is converted without its images and audio: text_config is the model, audio_config, vision_config left out",
		"1 tensor of the images' and the audio's parts of gemma3n: left out",
	} {
		if !slices.Contains(m.Notes, want) {
			t.Errorf("notes %q, want %q", m.Notes, want)
		}
	}
	alone, err := Open(from, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if !m.Spec.Equal(&alone.Spec) || m.Spec.AltUp.Streams != 4 {
		t.Errorf("spec %+v, that of the text model alone is %+v", m.Spec, alone.Spec)
	}
}
