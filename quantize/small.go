package quantize

import (
	"fmt"
	"math"
	"strings"

	"thimble/internal/qtensor"
)

// A smallScales says how many groups of a rounded tensor have a scale that float16 holds
// badly: with fewer than its 11 bits because it is subnormal, or as zero although the
// weights of the group differ from zero or, with a minimum, from each other.
type smallScales struct {
	tensor                  string
	subnormal, zero, groups int64
}

// A tensor is reported if that many of its scales are subnormal: a few small groups, such
// as the rows of unused tokens, are common and matter little.
const smallShare = 0.01

// examine records the small scales of out, which e rounds from src.
func (p *Plan) examine(e *Entry, src, out *Matrix) {
	if !e.rounds() {
		return
	}
	s := smallScales{tensor: e.Name}
	groups := out.Scheme.Groups(out.Cols)
	var read, factors qtensor.Reader
	row := make([]float32, out.Cols)
	for r := range out.Rows {
		fresh := true
		scales, _ := factors.Factors(out, r)
		for g := range groups {
			s.groups++
			switch scale := math.Abs(float64(scales[g])); {
			case scale >= qtensor.MinNormal16:
			case scale > 0:
				s.subnormal++
			default:
				if fresh {
					read.Row(row, src, r)
					fresh = false
				}
				lo, hi := out.Scheme.Span(g, out.Cols)
				if varies(row[lo:hi], out.Scheme.Asym) {
					s.zero++
				}
			}
		}
	}
	if s.zero > 0 || float64(s.subnormal) > smallShare*float64(s.groups) {
		p.small = append(p.small, s)
	}
}

// varies reports whether x has a value that is not zero or, with a minimum, two values.
func varies(x []float32, asym bool) bool {
	from := float32(0)
	if asym {
		from = x[0]
	}
	for _, v := range x {
		if v != from {
			return true
		}
	}
	return false
}

// Warnings returns what Run found in the tensors that it wrote.
func (p *Plan) Warnings() []string {
	if len(p.small) == 0 {
		return nil
	}
	const most = 6
	var names []string
	var sum smallScales
	for i, s := range p.small {
		if i < most {
			names = append(names, s.tensor)
		}
		sum.subnormal, sum.zero, sum.groups = sum.subnormal+s.subnormal, sum.zero+s.zero, sum.groups+s.groups
	}
	tensors := strings.Join(names, ", ")
	if more := len(p.small) - most; more > 0 {
		tensors += fmt.Sprintf(" and %d more", more)
	}
	return []string{fmt.Sprintf("%s: of %d scales, %d are below the smallest normal float16 and %d became zero, so these weights lose precision; "+
		"scale the weights up in the checkpoint, with the inverse in the layer that they meet, or keep these tensors in bf16 by a rule", tensors, sum.groups, sum.subnormal, sum.zero)}
}
