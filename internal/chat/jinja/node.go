package jinja

import "thimble/internal/chat/python"

// An expression is part of a tag that has a value.
type expression interface {
	eval(r *run, s *scope) (python.Value, error)
}

type (
	constant struct{ v python.Value }
	variable struct {
		name string
		line int
	}
	listOf  struct{ items []expression }
	tupleOf struct{ items []expression }
	dictOf  struct{ keys, values []expression }

	getattr struct { // of.name
		of   expression
		name string
		line int
	}
	getitem struct { // of[key]
		of, key expression
		line    int
	}
	slice struct { // of[from:to:step]; each may be nil
		of             expression
		from, to, step expression
		line           int
	}
	call struct {
		of   expression
		args callArguments
		line int
	}
	application struct {
		of   expression // nil in a filter or set block
		name string
		args callArguments
		line int
	}
	filter application // of|name(args)
	test   application // of is name(args)
	choice struct {    // yes if condition else no, which may be nil
		condition, yes, no expression
	}
	and   struct{ a, b expression }
	or    struct{ a, b expression }
	not   struct{ of expression }
	unary struct {
		op   string
		of   expression
		line int
	}
	binary struct {
		op   string
		a, b expression
		line int
	}
	concat     struct{ items []expression }
	comparison struct { // first ops[0] rest[0] ops[1] rest[1] ...
		first expression
		ops   []string
		rest  []expression
		line  int
	}
)

type callArguments struct {
	pos         []expression
	names       []string // of the keywords
	kw          []expression
	more, moreK expression // *args and **kwargs, or nil
}

// A target is what a value is assigned to.
type target struct {
	name      string
	attribute string   // of the namespace called name
	items     []target // of a tuple
	isTuple   bool
	line      int
}

// A statement is a tag, or text between tags.
type statement interface {
	exec(r *run, s *scope) (signal, error)
}

// A signal is how a statement ends.
type signal uint8

const (
	proceed signal = iota
	breakLoop
	continueLoop
)

type (
	output    struct{ text string }
	printing  struct{ of expression }
	condition struct {
		tests  []expression
		bodies [][]statement
		no     []statement
	}
	forLoop struct {
		target    target
		of, test  expression // test may be nil
		body, no  innerBody
		recursive bool
		line      int
	}
	assign struct {
		target target
		v      expression
	}
	assignBlock struct {
		target target
		filter *filter // or nil
		body   innerBody
	}
	filterBlock struct {
		filter *filter
		body   innerBody
	}
	with struct {
		targets []target
		values  []expression
		body    innerBody
	}
	define struct{ macro *macroCode }
	block  struct { // call
		call   *call
		caller *macroCode
	}
	generation struct{ body innerBody }
	jump       signal
)

// An innerBody is a body that is a scope of its own.
type innerBody struct {
	statements []statement
	frame      *frame
}

// A macroCode is a macro as written.
type macroCode struct {
	name     string
	params   []string
	defaults []expression // of the last parameters
	body     innerBody
	// what the body names
	usesCaller, usesKwargs, usesVarargs bool
}
