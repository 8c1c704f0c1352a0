package jinja

// A frame is a body that is a scope of its own, as Jinja2 looks at it when it compiles
// (idtracking.py). There, a name whose first use in a body is to set it belongs to that body
// from its start: before that it is undefined, and not what a body around it or a variable of
// the template has under that name.
type frame struct {
	around *frame
	first  map[string]bool // the names in it; true if the first use sets it, whatever the conditions
	order  []string
	hidden []string // undefined at the start
}

func newFrame(around *frame) *frame { return &frame{around: around, first: map[string]bool{}} }

func (f *frame) use(name string, sets bool) {
	if _, used := f.first[name]; !used {
		f.first[name] = sets
		f.order = append(f.order, name)
	}
}

// hide finds the hidden names, when all of the template is read.
func (f *frame) hide() {
	for _, name := range f.order {
		if f.first[name] && !f.around.has(name) {
			f.hidden = append(f.hidden, name)
		}
	}
}

func (f *frame) has(name string) bool {
	for ; f != nil; f = f.around {
		if _, used := f.first[name]; used {
			return true
		}
	}
	return false
}

// begin starts a frame. Its parameters have a value at its start.
func (p *parser) begin(params ...string) (end func()) {
	f, conditions := p.frame, p.conditions
	p.frame, p.conditions = newFrame(f), 0
	p.frames = append(p.frames, p.frame)
	for _, name := range params {
		p.frame.use(name, false)
	}
	return func() { p.frame, p.conditions = f, conditions }
}

// stores notes that a tag sets its targets.
func (p *parser) stores(t target) {
	switch {
	case t.isTuple:
		for _, item := range t.items {
			p.stores(item)
		}
	case t.attribute != "":
		p.frame.use(t.name, false)
	default:
		p.frame.use(t.name, p.conditions == 0)
	}
}

// names returns the names that a target sets.
func (t target) names() []string {
	if !t.isTuple {
		return []string{t.name}
	}
	var all []string
	for _, item := range t.items {
		all = append(all, item.names()...)
	}
	return all
}
