package shard

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	slurm := map[string]string{slurmIndex: "7", slurmCount: "4", slurmFirst: "3", slurmStep: "2"}
	kubernetes := map[string]string{kubernetesIndex: "2"}
	both := map[string]string{kubernetesIndex: "0", slurmIndex: "1", slurmCount: "2"}
	for _, c := range []struct {
		text string
		env  map[string]string
		want string // or part of the error
	}{
		{"1/1", nil, "1/1"}, {"8/8", slurm, "8/8"}, {fmt.Sprintf("%d/%[1]d", Most), nil, "10000/10000"},
		{"auto", slurm, "3/4"}, {"auto/4", slurm, "3/4"}, {"auto/8", kubernetes, "3/8"}, {"auto/5", both, "1/5"},
		{"auto", map[string]string{slurmIndex: "0", slurmCount: "1"}, "1/1"},
		{"0/8", nil, "want 1/8 to 8/8"}, {"9/8", nil, "want 1/8 to 8/8"}, {"x/8", nil, "want 1/8"}, {"1/0", nil, "number of shares"}, {fmt.Sprintf("1/%d", Most+1), nil, "number of shares"},
		{"3", nil, "want I/N"}, {"1/2/3", nil, "number of shares"}, {"-1/2", nil, "want 1/2"}, {"", nil, "want I/N"},
		{"auto", nil, "neither JOB_COMPLETION_INDEX nor SLURM_ARRAY_TASK_ID is set"}, {"auto/3", nil, "neither"},
		{"auto", kubernetes, "--shard auto/N"}, {"auto/2", kubernetes, "must be the Job's completions"},
		{"auto/8", slurm, "as --shard I/8"},
		{"auto", map[string]string{slurmIndex: "5", slurmCount: "2", slurmFirst: "3"}, "none of 2 tasks"},
		{"auto", map[string]string{slurmIndex: "x", slurmCount: "2"}, `SLURM_ARRAY_TASK_ID is "x", want a number`},
		{"auto", map[string]string{slurmIndex: "1"}, `SLURM_ARRAY_TASK_COUNT is ""`},
		{"auto/2", map[string]string{kubernetesIndex: "-1"}, "want a number"},
	} {
		got, err := Parse(c.text, func(name string) string { return c.env[name] })
		switch {
		case err == nil && got.String() != c.want:
			t.Errorf("%q %v: %v, want %s", c.text, c.env, got, c.want)
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%q %v: %v, want %s", c.text, c.env, err, c.want)
		}
	}
}

func TestFromEnvironment(t *testing.T) {
	if s, err := FromEnvironment(func(string) string { return "" }); s != All || err != nil {
		t.Errorf("without variables: %v, %v", s, err)
	}
	s, err := FromEnvironment(func(name string) string { return map[string]string{slurmIndex: "0", slurmCount: "2"}[name] })
	if s != (Shard{1, 2, slurmIndex}) || err != nil {
		t.Errorf("in an array: %+v, %v", s, err)
	}
	if _, err := FromEnvironment(func(name string) string { return map[string]string{kubernetesIndex: "0"}[name] }); err == nil {
		t.Error("an index of Kubernetes without a number of shares is accepted")
	}
}

// The shares of a sequence follow each other, cover it, and are about equal.
func TestBounds(t *testing.T) {
	for _, costs := range [][]int64{nil, {5}, {0, 0}, {1, 1, 1, 1, 1, 1, 1}, {100, 1, 1, 1, 50, 1, 1}, {1, 1, 100}} {
		for n := 1; n < 10; n++ {
			at, total := 0, int64(0)
			for _, c := range costs {
				total += c
			}
			for i := 1; i <= n; i++ {
				from, to := Shard{Index: i, Of: n}.Bounds(costs)
				if from != at || to < from {
					t.Errorf("%v, %d/%d: [%d, %d), want from %d", costs, i, n, from, to, at)
				}
				at = to
				sum, largest := int64(0), int64(0)
				for _, c := range costs[from:to] {
					sum, largest = sum+c, max(largest, c)
				}
				if sum > total/int64(n)+largest+1 {
					t.Errorf("%v, %d/%d: takes %d of %d", costs, i, n, sum, total)
				}
			}
			if at != len(costs) {
				t.Errorf("%v in %d: %d pieces", costs, n, at)
			}
		}
	}
}

// grid returns the tasks of models x recipes x texts, of which a recipe's work is shared by
// its texts.
func grid(models, recipes, texts int, recipe, text float64) (tasks []Task) {
	for m := range models {
		for r := range recipes {
			for x := range texts {
				place := []string{fmt.Sprint("m", m), fmt.Sprint("r", r), fmt.Sprint("t", x)}
				tasks = append(tasks, Task{Place: place, Cost: text, Needs: []Need{{strings.Join(place[:2], "/"), recipe}, {place[0], 1}}})
			}
		}
	}
	return tasks
}

// loads returns the work of each shard.
func loads(n int, tasks []Task, place []int) []float64 {
	shares := make([]share, n)
	for i := range tasks {
		shares[place[i]-1].take(tasks, []int{i})
	}
	var all []float64
	for _, s := range shares {
		all = append(all, s.load)
	}
	return all
}

func TestAssign(t *testing.T) {
	for _, c := range []struct {
		name  string
		tasks []Task
		n     int
		most  float64 // largest share
	}{
		{"nothing", nil, 3, 0},
		{"whole models", grid(4, 3, 2, 10, 1), 2, 2 * (3*12 + 1)},
		{"whole recipes", grid(1, 10, 2, 10, 1), 2, 5*12 + 1},
		{"texts apart", grid(1, 1, 8, 1, 10), 4, 2*10 + 2},
		{"one shard", grid(2, 2, 2, 5, 1), 1, 2 * (2*7 + 1)},
		{"more shards than tasks", grid(1, 2, 1, 5, 1), 9, 7},
	} {
		place := Assign(c.n, c.tasks)
		all := append(loads(c.n, c.tasks, place), 0)
		if got := slices.Max(all); got > c.most {
			t.Errorf("%s: shares %v, want at most %v", c.name, all, c.most)
		}
		if !slices.Equal(place, Assign(c.n, c.tasks)) {
			t.Errorf("%s: a second division is another", c.name)
		}
	}
}
