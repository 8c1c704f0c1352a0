package render

import "thimble/internal/model"

// A storedKind is all tensors of one role and scheme.
type storedKind struct {
	Role, Scheme   string
	Count          int
	Weights, Bytes int64
}

// storedKinds sums tensors up by role and scheme, in the order of the first of
// each.
func storedKinds(tensors []model.Stored) (kinds []storedKind) {
	type key struct{ role, scheme string }
	at := map[key]int{}
	for _, t := range tensors {
		k := key{t.Role, t.Scheme}
		i, ok := at[k]
		if !ok {
			i = len(kinds)
			at[k] = i
			kinds = append(kinds, storedKind{Role: t.Role, Scheme: t.Scheme})
		}
		kinds[i].Count++
		kinds[i].Weights += int64(t.Rows) * int64(t.Cols)
		kinds[i].Bytes += t.Bytes
	}
	return kinds
}
