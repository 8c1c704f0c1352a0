package shard

import (
	"cmp"
	"fmt"
	"slices"
)

// A Task is a piece of work that Assign places as a whole.
type Task struct {
	// Place says where the task belongs, from the outermost group to the innermost, such as a
	// model, a recipe and a text. All tasks have as many.
	Place []string

	Cost  float64
	Needs []Need // what the task shares with others
}

// A Need is work that a shard does once for all its tasks that name it.
type Need struct {
	Key  string
	Cost float64
}

// Assign returns the shard of each task, from 1 to n, so that the largest share is small.
// The result depends on the tasks and n alone.
//
// The largest tasks go first, each to the shard that then has least (Graham 1969). To tear
// apart tasks that need the same work would do it several times. So Assign divides the
// groups of each depth in turn, and takes the division whose largest share is least: of
// equal ones, that of the outermost groups.
func Assign(n int, tasks []Task) []int {
	best, least := make([]int, len(tasks)), 0.0
	depth := 1
	if len(tasks) > 0 {
		depth = len(tasks[0].Place)
	}
	for d := range depth {
		if found, load := assignGroups(n, tasks, groupsOf(tasks, d+1)); d == 0 || load < least {
			best, least = found, load
		}
	}
	return best
}

// groupsOf returns the tasks that have the first depth names of their places in common, by
// the first task.
func groupsOf(tasks []Task, depth int) (groups [][]int) {
	at := map[string]int{}
	for i := range tasks {
		key := fmt.Sprintf("%q", tasks[i].Place[:depth])
		g, known := at[key]
		if !known {
			groups, g = append(groups, nil), len(groups)
			at[key] = g
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

// assignGroups places each group as a whole. It also returns the largest share.
func assignGroups(n int, tasks []Task, groups [][]int) (place []int, largest float64) {
	place = make([]int, len(tasks))
	shares := make([]share, min(n, len(tasks))) // more would stay empty
	alone := func(g []int) float64 { return new(share).more(tasks, g) }
	slices.SortStableFunc(groups, func(a, b []int) int { return cmp.Compare(alone(b), alone(a)) })
	for _, g := range groups {
		to, least := 0, 0.0
		for i := range shares {
			if load := shares[i].load + shares[i].more(tasks, g); i == 0 || load < least {
				to, least = i, load
			}
		}
		shares[to].take(tasks, g)
		for _, i := range g {
			place[i] = to + 1
		}
		largest = max(largest, least)
	}
	return place, largest
}

// A share is what a shard has to do.
type share struct {
	load float64
	has  map[string]bool // needs
}

// more returns what the load grows by if s takes the tasks g.
func (s *share) more(tasks []Task, g []int) (sum float64) {
	var seen []string
	for _, i := range g {
		sum += tasks[i].Cost
		for _, n := range tasks[i].Needs {
			if !s.has[n.Key] && !slices.Contains(seen, n.Key) {
				sum += n.Cost
				seen = append(seen, n.Key)
			}
		}
	}
	return sum
}

func (s *share) take(tasks []Task, g []int) {
	s.load += s.more(tasks, g)
	if s.has == nil {
		s.has = map[string]bool{}
	}
	for _, i := range g {
		for _, n := range tasks[i].Needs {
			s.has[n.Key] = true
		}
	}
}
