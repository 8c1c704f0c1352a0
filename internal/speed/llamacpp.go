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

// Run returns the tokens per second of a prompt fed at once, and of tokens fed one by one
// after it. Each follows a warm-up run.
func (b *LlamaBench) Run(ctx context.Context, prompt, steps int) (prefill, decode float64, err error) {
	if prefill, err = b.time(ctx, prompt, 0, 0); err != nil {
		return 0, 0, err
	}
	decode, err = b.time(ctx, 0, steps, prompt)
	return prefill, decode, err
}

// time returns the tokens per second of a prompt or of steps after depth tokens; one of
// prompt and steps is 0.
func (b *LlamaBench) time(ctx context.Context, prompt, steps, depth int) (float64, error) {
	cmd := exec.CommandContext(ctx, b.program, "-m", b.file, "-p", strconv.Itoa(prompt), "-n", strconv.Itoa(steps), "-d", strconv.Itoa(depth),
		"-r", "1", "-t", strconv.Itoa(b.cores), "-o", "json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return 0, fmt.Errorf("llama-bench: %w: %s", err, lastLine(stderr.String()))
	}
	var runs []struct {
		Prompt int     `json:"n_prompt"`
		Steps  int     `json:"n_gen"`
		Speed  float64 `json:"avg_ts"`
	}
	if err := json.Unmarshal(out, &runs); err != nil {
		return 0, fmt.Errorf("llama-bench: its output is no JSON: %w", err)
	}
	for _, r := range runs {
		if r.Prompt == prompt && r.Steps == steps && r.Speed > 0 {
			return r.Speed, nil
		}
	}
	return 0, errors.New("llama-bench: its output lacks a speed")
}

// lastLine returns the last line of text that is not empty.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return defect.OneLine(lines[len(lines)-1])
}
