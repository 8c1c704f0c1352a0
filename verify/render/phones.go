package render

import (
	"fmt"

	"thimble/internal/device"
	"thimble/internal/units"
)

// A pagePhone is a row of what the model costs on phones.
type pagePhone struct {
	Model                      string
	Memory, Share, Within, App string
	Speed, Late, Battery       string // Late is with the cache of a conversation
}

// Costs is a sentence about what the model costs on any phone.
func (p *page) Costs() string {
	c := p.Report.Cost
	return fmt.Sprintf("The file has %s. With the KV cache of %d tokens (%s), the program and the tokenizer, it takes %s of memory. A token reads %s of weights and takes %.2g J, at %.2g J/GB and %.3g pJ for an operation.",
		units.Size(c.File), device.Conversation, units.Size(c.Cache), units.Size(c.Resident), units.Size(c.Read), c.Joules, c.Energy.Byte*1e9, c.Energy.Operation*1e12)
}

// Phones are the rows of the table.
func (p *page) Phones() (all []pagePhone) {
	for _, phone := range device.Phones() {
		f := p.Report.Cost.On(phone)
		row := pagePhone{
			Model: f.Model, Memory: fmt.Sprintf("%d GiB", f.Memory>>30), Share: fmt.Sprintf("%.1f %%", 100*f.Share),
			Within: yes(f.Within), App: "none is fixed", Speed: fmt.Sprintf("%.0f", f.Speed), Late: fmt.Sprintf("%.0f", f.SpeedLate), Battery: fmt.Sprintf("%.2g %%", 100*f.Battery),
		}
		if f.App > 0 {
			row.App = yes(f.Allowed)
		}
		all = append(all, row)
	}
	return all
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}
