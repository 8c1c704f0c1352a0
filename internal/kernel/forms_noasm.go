//go:build purego || !(amd64 || arm64)

package kernel

// forms lists what this processor can run, the fastest last.
var forms = []*form{portable}
