//go:build purego || !(amd64 || arm64)

package kernel

// forms lists the forms that this processor can run, the fastest last.
var forms = []*form{portable}
