package kernel

// Ranges is the number of ranges that RangeErrors and RangeSums take at once. The codes of a
// range are those of x in steps from low on: (x-low)*inverse, clamped to [0, top] and rounded
// to the nearest integer, ties to even. top is at most 2^22.
const Ranges = 4

// RangeErrors sets, for each range, errors to the weighted squared error of the codes q,
//
//	sum over i of power[i] * (x[i] - (step*q + low))²
//
// in ascending i, with every operation rounded. It panics unless x and power have the same
// length.
func RangeErrors(errors *[Ranges]float32, x, power []float32, step, low, inverse *[Ranges]float32, top float32) {
	check(len(power) == len(x), "RangeErrors")
	best.rangeErrors(errors, x, power, step, low, inverse, top)
}

func rangeErrorsPortable(errors *[Ranges]float32, x, power []float32, step, low, inverse *[Ranges]float32, top float32) {
	var sums [Ranges]float32
	for i, v := range x {
		for l := range sums {
			d := v - (float32(step[l]*gridCode(v, low[l], inverse[l], 0, top)) + low[l])
			sums[l] += float32(power[i] * float32(d*d))
		}
	}
	*errors = sums
}

// RangeSums sets, for each range, what the normal equations for its step and minimum need:
// the sums of power, power*q, power*q², power*x and power*q*x over the codes q, in ascending
// i, with every operation rounded. It panics unless x and power have the same length.
func RangeSums(sums *[5][Ranges]float32, x, power []float32, low, inverse *[Ranges]float32, top float32) {
	check(len(power) == len(x), "RangeSums")
	best.rangeSums(sums, x, power, low, inverse, top)
}

func rangeSumsPortable(sums *[5][Ranges]float32, x, power []float32, low, inverse *[Ranges]float32, top float32) {
	var s [5][Ranges]float32
	for i, v := range x {
		for l := range low {
			q, a := gridCode(v, low[l], inverse[l], 0, top), power[i]
			weighted := float32(a * q)
			s[0][l] += a
			s[1][l] += weighted
			s[2][l] += float32(weighted * q)
			s[3][l] += float32(a * v)
			s[4][l] += float32(weighted * v)
		}
	}
	*sums = s
}
