package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Reports with --layers on chunks of 512 tokens stay far below 1 MB.
func TestReportSize(t *testing.T) {
	source, dir := "../../fixtures/trained", t.TempDir()
	quantized, page, document := filepath.Join(dir, "q"), filepath.Join(dir, "r.html"), filepath.Join(dir, "r.json")
	mustRun(t, "quantize", source, "-o", quantized, "--scheme", "int4/g32")
	mustRun(t, "verify", quantized, "--against", source, "--text", source+"/heldout.txt", "--context", "512", "--chunks", "4", "--layers",
		"--report", page, "--report", document)
	for _, path := range []string{page, document} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s has %d bytes", filepath.Base(path), info.Size())
		if n := info.Size(); n < 20_000 || n > 200_000 {
			t.Errorf("%s has %d bytes", filepath.Base(path), n)
		}
	}
}
