package terminal

import (
	"strings"
	"testing"
)

func TestPlainText(t *testing.T) {
	var b strings.Builder
	n, err := PlainText{&b}.Write([]byte("a\tb\n\x1b[2Jé\r\u009b\x7f"))
	if n != 14 || err != nil || b.String() != "a\tb\n\ufffd[2Jé\ufffd\ufffd\ufffd" {
		t.Errorf("%d, %v, %q", n, err, b.String())
	}
}

func TestColorsByDefault(t *testing.T) {
	for _, c := range []struct {
		env      map[string]string
		terminal bool
		want     bool
	}{
		{nil, true, true},
		{nil, false, false},
		{map[string]string{"NO_COLOR": "1"}, true, false},
		{map[string]string{"NO_COLOR": ""}, true, true},
		{map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, true, false},
		{map[string]string{"CLICOLOR_FORCE": "1"}, false, true},
		{map[string]string{"CLICOLOR_FORCE": "0"}, false, false},
		{map[string]string{"CLICOLOR": "0"}, true, false},
		{map[string]string{"TERM": "dumb"}, true, false},
	} {
		if got := colorsByDefault(func(name string) string { return c.env[name] }, c.terminal); got != c.want {
			t.Errorf("%v, terminal %v: %v", c.env, c.terminal, got)
		}
	}
}

func TestUnicodeLocale(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"LANG": "de_DE.UTF-8"}, true},
		{map[string]string{"LANG": "en_US.utf8"}, true},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "C.UTF-8"}, true},
		{map[string]string{"LANG": "C.UTF-8", "TERM": "dumb"}, false},
	} {
		if got := unicodeLocale(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: %v", c.env, got)
		}
	}
}

// Only verdicts are colored, not the same words in the names of files.
func TestColored(t *testing.T) {
	const text = "FAIL  kl_mean 0.1, the gate is <= 0.05\n  model    PASS  FAIL.thimble\n" +
		"  kl_mean                0.1  <= 0.05 FAIL      nats\n  top1_agreement         0.9  >= 0.8 pass       share\n"
	const want = red + "FAIL" + plain + "  kl_mean 0.1, the gate is <= 0.05\n  model    PASS  FAIL.thimble\n" +
		"  kl_mean                0.1  <= 0.05 " + red + "FAIL" + plain + "      nats\n  top1_agreement         0.9  >= 0.8 " + green + "pass" + plain + "       share\n"
	if got := Colored(text); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
