package speed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"thimble/internal/defect"
)

// A LlamaBench runs llama.cpp's own benchmark.
type LlamaBench struct {
	program string
	file    string // GGUF
	cores   int
}

// FindLlamaBench returns the benchmark in dir, where llama.cpp was built or installed.
func FindLlamaBench(dir, file string, cores int) (*LlamaBench, error) {
	for _, path := range []string{"llama-bench", "bin/llama-bench", "build/bin/llama-bench"} {
		program, err := filepath.Abs(filepath.Join(dir, path))
		if err != nil {
			return nil, err
		}
		if s, err := os.Stat(program); err == nil && !s.IsDir() {
			return &LlamaBench{program, file, cores}, nil
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: neither it nor its bin or build/bin has a program llama-bench; build llama.cpp's tools there first", defect.Printable(dir))
}

// Run returns the tokens per second of a prompt fed at once, and of tokens fed one by one,
// after a warm-up run of each.
func (b *LlamaBench) Run(ctx context.Context, prompt, steps int) (prefill, decode float64, err error) {
	cmd := exec.CommandContext(ctx, b.program, "-m", b.file, "-p", strconv.Itoa(prompt), "-n", strconv.Itoa(steps),
		"-r", "1", "-t", strconv.Itoa(b.cores), "-o", "json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		return 0, 0, fmt.Errorf("llama-bench: %w: %s", err, lastLine(stderr.String()))
	}
	var runs []struct {
		Prompt int     `json:"n_prompt"`
		Steps  int     `json:"n_gen"`
		Speed  float64 `json:"avg_ts"`
	}
	if err := json.Unmarshal(out, &runs); err != nil {
		return 0, 0, fmt.Errorf("llama-bench: its output is no JSON: %w", err)
	}
	for _, r := range runs {
		switch {
		case r.Prompt == prompt && r.Steps == 0:
			prefill = r.Speed
		case r.Steps == steps && r.Prompt == 0:
			decode = r.Speed
		}
	}
	if !(prefill > 0 && decode > 0) {
		return 0, 0, errors.New("llama-bench: its output lacks a speed")
	}
	return prefill, decode, nil
}

// lastLine returns the last line of text that has a letter.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return defect.OneLine(lines[len(lines)-1])
}
