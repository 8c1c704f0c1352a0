package main

import (
	"os/exec"
	"strings"
	"testing"

	"thimble/cmd/thimble/internal/manual"
)

func TestCandidates(t *testing.T) {
	app := newApp(nil, nil)
	for _, c := range []struct{ words, want string }{
		{"q", "quantize"},
		{"--v", "--version"},
		{"quantize --sch", "--scheme --schemes"},
		{"quantize m --f", "--for --force"},
		{"quantize m --for ll", "llama.cpp"},
		{"quantize m --scheme int8/g1", "int8/g128"},
		{"quantize m --scheme=int8/g1", "--scheme=int8/g128"},
		{"quantize m --scheme = int8/g1", "int8/g128"},
		{"quantize m --schemes int3", "int3/g16/s4 int3/g32/asym"},
		{"quantize m --schemes int4/g32,int8/g", "int4/g32,int8/g16/s4 int4/g32,int8/g64 int4/g32,int8/g32"},
		{"quantize m --schemes=int4/g32,int7/g6", "--schemes=int4/g32,int7/g64"},
		{"quantize m --resu", "--resume"},
		{"quantize m --sta", "--stats"},
		{"quantize m --stats a", ""},
		{"convert m --dtype b", "bf16"},
		{"verify m --gate kl_me", "kl_mean kl_mean_se kl_median"},
		{"verify m --activations int8/", "int8/row int8/g32"},
		{"run m --kv k", "k8v4"},
		{"logits m --to s", "safetensors"},
		{"logits m --to=k", "--to=kld-base"},
		{"help verif", "verify"},
		{"completion z", "zsh"},
		{"completion p", "powershell"},
		{"completion __next", "bash zsh fish powershell"},
		{"man verif", "verify"},
		{"inspect mod", ""},
		{"quantize m -o out", ""},
		{"nope x", ""},
	} {
		if got := strings.Join(manual.Candidates(app, strings.Fields(c.words), valuesOf), " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.words, got, c.want)
		}
	}
	if all := manual.Candidates(app, []string{"quantize", "m", "--method", ""}, valuesOf); len(all) == 0 {
		t.Error("completion offers no methods")
	}
}

// The completion script works in bash; the test calls its function as the tab key
// would.
func TestBash(t *testing.T) {
	const ask = `
source <(thimble completion bash) || exit
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _thimble; echo "${COMPREPLY[*]}"; }
ask thimble quan
ask thimble quantize --sche
ask thimble quantize --scheme = int8/g1
ask thimble inspect mod
complete -p thimble
`
	out, err := exec.Command("bash", "--norc", "-c", ask).CombinedOutput()
	const want = "quantize\n--scheme --schemes\nint8/g128\n\ncomplete -o bashdefault -o default -F _thimble thimble\n"
	if err != nil || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
}
