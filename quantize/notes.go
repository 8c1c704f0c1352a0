package quantize

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/qtensor"
)

// Notes returns what the user should know of p besides its table: how many tensors
// p rounds that another program has rounded before.
func (p *Plan) Notes() []string {
	var types []string
	n := 0
	for _, e := range p.Tensors {
		if e.From.Kind != qtensor.Foreign || e.To.Kind != qtensor.Int || e.moved() {
			continue
		}
		n++
		if name := e.From.String(); !slices.Contains(types, name) {
			types = append(types, name)
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d tensors are quantized already (%s): rounding comes on top of rounding, and the original checkpoint, where there is one, gives a better file",
		n, strings.Join(types, ", "))}
}
