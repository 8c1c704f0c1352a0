package quantize

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/qtensor"
)

// Notes returns notes on p for the user: the schemes whose name in the recipe is another
// program's, and the number of tensors that p rounds although another program has rounded
// them before.
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
		return p.notes
	}
	return append(slices.Clone(p.notes), fmt.Sprintf("%d tensors are already quantized (%s), so the errors of two roundings add up; quantize the original checkpoint, if available, for a better file",
		n, strings.Join(types, ", ")))
}
