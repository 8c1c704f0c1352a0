package order

import (
	"math"
	"math/rand/v2"
	"slices"
)

const (
	largest = 256 // channels of the largest groups that an order is for
	swaps   = 128 // tried for each unit
	reviews = 16  // times that the shares of profiles are computed
)

// A search exchanges units, at first single channels, between groups while that lowers the sum
// over profiles of weights times the logarithm of the loss. A profile's loss is the sum over
// groups of the squared step times the power of the columns. For the step stands the eighth root
// of the sum of the columns' eighth powers, which is close to the largest of them.
type search struct {
	profiles int
	weights  []float64 // (profiles)
	units    [][]int32 // channels of each unit
	// Sums over the channels of each unit, (units, profiles).
	magnitude, power []float64

	group int   // units in a group; the last group may have fewer
	place []int // the unit in each place
	// Sums over the units of each group, its loss, all (groups, profiles), and by profile the
	// weight over the sum of losses.
	magnitudes, powers, losses, share []float64
}

// arrange returns the channels in an order for groups of the given number of channels, and then
// for groups of two such groups, of four and so on, given their order at the start.
func arrange(profiles []*profile, channels []int32, group int) []int32 {
	s := &search{profiles: len(profiles)}
	for _, c := range channels {
		s.units = append(s.units, []int32{c})
	}
	for _, p := range profiles {
		s.weights = append(s.weights, p.weights)
	}
	s.group = group
	s.improve(profiles)
	var rest []int32
	if whole := len(channels) / group; whole < len(s.units) { // a last group of fewer channels stays last
		s.units, rest = s.units[:whole], s.units[whole]
	}
	s.group = 2
	for size := 2 * group; size <= largest && len(s.units) > 1; size *= 2 {
		s.improve(profiles)
	}
	return append(slices.Concat(s.units...), rest...)
}

// improve makes groups of the units, exchanges units between them, and makes each group a unit.
func (s *search) improve(profiles []*profile) {
	s.begin(profiles)
	s.run()
	s.join()
}

// begin puts the units into groups in their order.
func (s *search) begin(profiles []*profile) {
	n := s.profiles
	s.magnitude, s.power = make([]float64, len(s.units)*n), make([]float64, len(s.units)*n)
	for u, channels := range s.units {
		for i, p := range profiles {
			for _, c := range channels {
				s.magnitude[u*n+i] += p.magnitude[c]
				s.power[u*n+i] += p.power[c]
			}
		}
	}
	groups := (len(s.units) + s.group - 1) / s.group
	s.magnitudes, s.powers, s.losses = make([]float64, groups*n), make([]float64, groups*n), make([]float64, groups*n)
	s.place, s.share = make([]int, len(s.units)), make([]float64, n)
	for at := range s.place {
		s.place[at] = at
		g := at / s.group * n
		for i := range n {
			s.magnitudes[g+i] += s.magnitude[at*n+i]
			s.powers[g+i] += s.power[at*n+i]
		}
	}
	for i := range s.losses {
		s.losses[i] = loss(s.magnitudes[i], s.powers[i])
	}
}

// join makes each group a unit.
func (s *search) join() {
	var joined [][]int32
	for group := range slices.Chunk(s.place, s.group) {
		var channels []int32
		for _, u := range group {
			channels = append(channels, s.units[u]...)
		}
		joined = append(joined, channels)
	}
	s.units = joined
}

// loss returns that of a group whose eighth powers have the sum magnitude. It rounds the product, so
// that no processor fuses it with a sum: the order must be the same on all.
func loss(magnitude, power float64) float64 {
	return float64(math.Sqrt(math.Sqrt(max(magnitude, 0))) * power)
}

func (s *search) run() {
	random, places := rand.NewPCG(1, 2), uint64(len(s.place))
	for range reviews {
		s.weigh()
		for range swaps * len(s.place) / reviews {
			a, b := int(random.Uint64()%places), int(random.Uint64()%places)
			if s.gain(a, b) > 0 {
				s.swap(a, b)
			}
		}
	}
}

// weigh sets the share of each profile: the derivative of the logarithm of its loss.
func (s *search) weigh() {
	for i, w := range s.weights {
		sum := 0.0
		for g := i; g < len(s.losses); g += s.profiles {
			sum += s.losses[g]
		}
		s.share[i] = 0
		if sum > 0 {
			s.share[i] = w / sum
		}
	}
}

// gain returns by how much the loss falls if the units in places a and b change places.
func (s *search) gain(a, b int) (gain float64) {
	g, h := a/s.group*s.profiles, b/s.group*s.profiles
	if g == h {
		return 0
	}
	x, y := s.place[a]*s.profiles, s.place[b]*s.profiles
	for i, share := range s.share {
		move, shift := s.magnitude[y+i]-s.magnitude[x+i], s.power[y+i]-s.power[x+i]
		after := loss(s.magnitudes[g+i]+move, s.powers[g+i]+shift) + loss(s.magnitudes[h+i]-move, s.powers[h+i]-shift)
		gain += float64(share * (s.losses[g+i] + s.losses[h+i] - after))
	}
	return gain
}

// swap exchanges the units in places a and b, which are in different groups.
func (s *search) swap(a, b int) {
	g, h := a/s.group*s.profiles, b/s.group*s.profiles
	x, y := s.place[a]*s.profiles, s.place[b]*s.profiles
	for i := range s.profiles {
		move, shift := s.magnitude[y+i]-s.magnitude[x+i], s.power[y+i]-s.power[x+i]
		s.magnitudes[g+i] += move
		s.magnitudes[h+i] -= move
		s.powers[g+i] += shift
		s.powers[h+i] -= shift
		s.losses[g+i] = loss(s.magnitudes[g+i], s.powers[g+i])
		s.losses[h+i] = loss(s.magnitudes[h+i], s.powers[h+i])
	}
	s.place[a], s.place[b] = s.place[b], s.place[a]
}
