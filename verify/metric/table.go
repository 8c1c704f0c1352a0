package metric

// A Unit is the thing that a metric averages or counts: Tokens, Tasks or Prompts.
type Unit string

const (
	Tokens  Unit = "tokens"  // scored positions of a text
	Tasks   Unit = "tasks"   // tasks of one kind
	Prompts Unit = "prompts" // prompts that were continued
)

// An Entry describes one metric of an S, the struct that holds it. Each package that
// measures something exports a table of entries; package verify joins the tables.
type Entry[S any] struct {
	Name      string // in JSON, gates and reports
	Unit      Unit
	Share     bool // at most 1, as is a cosine
	Signed    bool // may be negative; a Share then is at least -1
	Reference bool // cannot be measured without a reference
	Of        func(*S) Value
	Means     string // for reports, about 30 characters
}

// Within turns a table for S into a table of the same metrics for T. part returns
// the S inside a T.
func Within[S, T any](table []Entry[S], part func(t *T) *S) []Entry[T] {
	all := make([]Entry[T], len(table))
	for i, e := range table {
		all[i] = Entry[T]{e.Name, e.Unit, e.Share, e.Signed, e.Reference, func(t *T) Value { return e.Of(part(t)) }, e.Means}
	}
	return all
}

// Find returns the entry called name, or nil if there is none.
func Find[S any](table []Entry[S], name string) *Entry[S] {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}
