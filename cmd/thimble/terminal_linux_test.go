package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// onTerminal runs thimble with a terminal as its standard error and returns what the
// terminal received.
func onTerminal(t *testing.T, env string, args ...string) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("thimble-on-terminal", args...)
	cmd.Env = append(os.Environ(), "TERM=xterm", env)
	cmd.Stderr = slave
	err = cmd.Start()
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	shown, err := io.ReadAll(master) // fails with EIO once the other side is closed
	if len(shown) == 0 && err == nil {
		t.Fatal("reading a closed terminal did not fail")
	}
	cmd.Wait() // other tests check the exit status
	return strings.ReplaceAll(string(shown), "\r\n", "\n")
}

// Progress appears on a terminal, and is wiped before anything else appears.
func TestTerminal(t *testing.T) {
	model, out := wideCheckpoint(t), filepath.Join(t.TempDir(), "out")
	const wipe = "\r\x1b[K"
	args := []string{"convert", model, "-o", out, "--force"}
	for _, c := range []struct {
		env  string
		args []string
	}{{"LANG=C", append(args, "--quiet")}, {"TERM=dumb", args}, {"LANG=C", append(args, "--dry-run")}} {
		if shown := onTerminal(t, c.env, c.args...); shown != "" {
			t.Errorf("%s %q: %q", c.env, c.args, shown)
		}
	}
	shown := onTerminal(t, "LANG=C", args...)
	if !strings.HasPrefix(shown, wipe+"convert   0%  0.00 of 25.9 MB") || !strings.HasSuffix(shown, wipe) {
		t.Errorf("%q", shown)
	}
	shown = onTerminal(t, "LANG=C", "inspect", "--check", out)
	if !strings.Contains(shown, wipe+"check ") || !strings.HasSuffix(shown, wipe) {
		t.Errorf("%q", shown)
	}

	h := goodCheckpoint(t)
	x := h.tensors["model.norm.weight"]
	x.data = []byte(strings.Repeat("\x80\x7f", x.Shape[0]))
	h.tensors["model.norm.weight"] = x
	shown = onTerminal(t, "LANG=C", "convert", h.write(t), "-o", filepath.Join(t.TempDir(), "out"))
	if _, last, ok := strings.Cut(shown, "MB"+wipe+"thimble: "); !ok || !strings.Contains(last, "+Inf") {
		t.Errorf("%q", shown)
	}
}
