// Package shard divides work among processes that do not talk to each other. Each computes
// the whole division from the same inputs, and takes its share.
package shard

import (
	"fmt"
	"strconv"
	"strings"

	"thimble/internal/defect"
)

// A Shard is one share of some work.
type Shard struct {
	Index int `json:"index"` // from 1 to Of
	Of    int `json:"of"`    // number of shares

	From string `json:"from,omitempty"` // the variable that Index is from; "" for an option
}

// All is the only share of undivided work.
var All = Shard{Index: 1, Of: 1}

// Most is the largest number of shares.
const Most = 10_000

// String returns I/N, as Parse reads it.
func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Of) }

// Auto stands in an option for an index from the environment.
const Auto = "auto"

// Parse reads I/N, auto/N or auto. It looks the index of the last two, and the number of
// shares of the last, up in the environment.
func Parse(text string, getenv func(string) string) (Shard, error) {
	index, of, divided := strings.Cut(text, "/")
	if !divided && index != Auto {
		return Shard{}, fmt.Errorf("%s: want I/N, such as 1/8 for the first of 8 shares, or auto for the index of a Slurm array or a Kubernetes Job", defect.Printable(text))
	}
	n := 0
	if divided {
		var err error
		if n, err = strconv.Atoi(of); err != nil || n < 1 || n > Most {
			return Shard{}, fmt.Errorf("%s: want a number of shares from 1 to %d after the slash", defect.Printable(text), Most)
		}
	}
	if index != Auto {
		i, err := strconv.Atoi(index)
		if err != nil || i < 1 || i > n {
			return Shard{}, fmt.Errorf("%s: shares count from 1: want 1/%d to %[2]d/%[2]d", defect.Printable(text), n)
		}
		return Shard{Index: i, Of: n}, nil
	}
	s, err := fromEnvironment(n, getenv)
	if err == nil && s == All {
		err = fmt.Errorf("%s: neither %s nor %s is set, so this is no task of a Kubernetes Job or a Slurm array; want I/N, such as 1/8", text, kubernetesIndex, slurmIndex)
	}
	return s, err
}

// The variables of schedulers. Kubernetes has none for the number of completions.
const (
	kubernetesIndex = "JOB_COMPLETION_INDEX" // from 0
	slurmIndex      = "SLURM_ARRAY_TASK_ID"
	slurmCount      = "SLURM_ARRAY_TASK_COUNT"
	slurmFirst      = "SLURM_ARRAY_TASK_MIN"
	slurmStep       = "SLURM_ARRAY_TASK_STEP"
)

// FromEnvironment returns the share of a task of a scheduler, and All where there is none.
func FromEnvironment(getenv func(string) string) (Shard, error) { return fromEnvironment(0, getenv) }

// fromEnvironment is FromEnvironment for n shares; 0 reads their number from the environment, too.
func fromEnvironment(n int, getenv func(string) string) (Shard, error) {
	switch {
	case getenv(kubernetesIndex) != "":
		return kubernetes(n, getenv)
	case getenv(slurmIndex) != "":
		return slurm(n, getenv)
	}
	return All, nil
}

func kubernetes(n int, getenv func(string) string) (Shard, error) {
	if n == 0 {
		return Shard{}, fmt.Errorf("%s is set, but Kubernetes does not say how many completions the Job has: give them as --shard auto/N, or --shard 1/1 for all of the work", kubernetesIndex)
	}
	i, err := variable(kubernetesIndex, getenv)
	if err == nil && i >= n {
		err = fmt.Errorf("%s is %d, and there are %d shares: N of --shard auto/N must be the Job's completions", kubernetesIndex, i, n)
	}
	return Shard{Index: i + 1, Of: n, From: kubernetesIndex}, err
}

func slurm(n int, getenv func(string) string) (Shard, error) {
	var id, count, first int
	step := 1
	for _, v := range []struct {
		name     string
		to       *int
		optional bool
	}{{slurmIndex, &id, false}, {slurmCount, &count, false}, {slurmFirst, &first, true}, {slurmStep, &step, true}} {
		if v.optional && getenv(v.name) == "" {
			continue
		}
		var err error
		if *v.to, err = variable(v.name, getenv); err != nil {
			return Shard{}, err
		}
	}
	i := id - first
	switch {
	case n != 0 && n != count: // some tasks of an array again: their indices do not tell the shares
		return Shard{}, fmt.Errorf("%s is %d, and there are %d shares: give the index of a share, as --shard I/%[3]d", slurmCount, count, n)
	case step < 1 || i < 0 || i%step != 0 || i/step >= count || count > Most:
		return Shard{}, fmt.Errorf("%s is %d, which is none of %d tasks from %d in steps of %d: give --shard I/N, or an array such as 0-7", slurmIndex, id, count, first, step)
	}
	return Shard{Index: i/step + 1, Of: count, From: slurmIndex}, nil
}

// variable returns the value of a variable, which is a count.
func variable(name string, getenv func(string) string) (int, error) {
	text := getenv(name)
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%s is %q, want a number; --shard I/N overrides it", name, defect.Printable(text))
	}
	return int(n), nil
}

// Bounds returns the share of s of a sequence of pieces with these costs: the pieces
// [from, to). A piece belongs to the share in which its middle lies.
func (s Shard) Bounds(costs []int64) (from, to int) {
	var total, before int64
	for _, c := range costs {
		total += c
	}
	from, to = len(costs), len(costs)
	for i, c := range costs {
		middle := float64(before) + float64(c)/2
		share := min(int(middle/float64(max(1, total))*float64(s.Of)), s.Of-1)
		before += c
		if share >= s.Index-1 && i < from {
			from = i
		}
		if share >= s.Index && i < to {
			to = i
		}
	}
	return min(from, to), to
}
