module thimble/internal/checkpoint/_oracle

go 1.26.0

require (
	github.com/nlpodyssey/gopickle v0.2.0
	thimble v0.0.0
)

require (
	github.com/nlpodyssey/safetensors v0.0.0-20250209183917-bfb01cc25f7c // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace thimble => ../../..
