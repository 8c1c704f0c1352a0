package text

import (
	"fmt"
	"strings"

	"thimble"
	"thimble/internal/defect"
	"thimble/internal/device"
	"thimble/internal/textwrap"
	"thimble/internal/units"
)

// Device formats the costs of r for a terminal.
func Device(r *thimble.Inspection) string {
	var b strings.Builder
	c := r.Device.Cost
	fmt.Fprintf(&b, "%s on a phone, estimated from its size and the phone's figures\n\n", defect.Printable(r.Path))
	line := func(name, value, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %10s  ", name, value)
		textwrap.Write(&b, fmt.Sprintf(format, args...), 27, 27, textwrap.TerminalWidth)
	}
	stored := c.Keys
	if c.Values != c.Keys {
		stored += ", values " + c.Values
	}
	kind := "float32"
	if c.Integers {
		kind = "int8"
	}
	line("file", units.Size(c.File), "on disk")
	line("resident", units.Size(c.Resident), "with the cache of %d tokens, the program and the tokenizer", device.Conversation)
	line("KV cache", units.Size(c.Cache), "for %d tokens in %s", device.Conversation, stored)
	line("a token", units.Size(c.Read), "of weights are read, for %.3g billion operations", c.Operations/1e9)
	line("energy", fmt.Sprintf("%.2g J", c.Joules), "a token: %.2g J/GB read, and %.3g pJ for an operation in %s", c.Energy.Byte*1e9, c.Energy.Operation*1e12, kind)
	line("", fmt.Sprintf("%.2g J", c.ConversationJoules), "%d tokens, which read the cache too", device.Conversation)
	b.WriteString("\n")
	if len(r.Device.Phones) == 1 {
		onePhone(&b, &r.Device.Phones[0])
		return b.String()
	}
	width := 0
	for _, f := range r.Device.Phones {
		width = max(width, len(f.Name))
	}
	for _, heads := range [][]any{
		{"", "memory", "model's", "within", "fits app", "tokens/s", "tokens/s", "battery"},
		{"phone", "GiB", "share", "10%", "limit", "at most", "at 1000", "per 1000"},
	} {
		fmt.Fprintf(&b, "  %-*s %6s %7s %6s %8s  %8s  %8s  %8s\n", append([]any{width}, heads...)...)
	}
	for _, f := range r.Device.Phones {
		fmt.Fprintf(&b, "  %-*s %6d %6.1f%% %6s %8s  %8s  %8s  %7.2g%%\n", width, f.Name, f.Memory>>30, 100*f.Share, yes(f.Within), limit(&f),
			rate(f.Speed), rate(f.SpeedLate), 100*f.Battery)
	}
	b.WriteString("\ntokens/s: the memory's bandwidth over the bytes of a token, a ceiling; at 1000:\n" +
		"when a token attends to 1000 others. battery: what 1000 tokens take of a full\n" +
		"one. --device NAME shows a phone's sources.\n")
	return b.String()
}

// onePhone describes what a model costs on one phone.
func onePhone(b *strings.Builder, f *device.Fit) {
	line := func(format string, args ...any) {
		b.WriteString("  ")
		textwrap.Write(b, fmt.Sprintf(format, args...), 2, 4, textwrap.TerminalWidth)
	}
	line("%s (%d): %d GiB, %.3g GB/s, battery of %.1f kJ (%.4g Wh)", f.Model, f.Year, f.Memory>>30, f.Bandwidth/1e9, f.Energy/1e3, f.Energy/3600)
	verdict := "within"
	if !f.Within {
		verdict = "more than"
	}
	line("memory: %.1f%% of the phone's, %s the %.0f%% that an app should take at most", 100*f.Share, verdict, 100*device.MemoryShare)
	switch {
	case f.App == 0:
		line("app limit: the system sets none that is fixed")
	case f.Allowed:
		line("app limit: %s by default, the model fits", units.Size(f.App))
	default:
		line("app limit: %s by default, the model does not fit", units.Size(f.App))
	}
	line("speed: at most %s tokens/s, %s after %d tokens", rate(f.Speed), rate(f.SpeedLate), device.Conversation)
	line("battery: %.2g%% for %d tokens; %.3g hours of generating 10 tokens/s, and nothing else", 100*f.Battery, device.Conversation, f.Hours)
	b.WriteString("\n")
	for _, s := range f.Sources {
		b.WriteString("  " + s + "\n")
	}
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

// limit says whether the system lets an app take the model by default.
func limit(f *device.Fit) string {
	if f.App == 0 {
		return "-"
	}
	return yes(f.Allowed)
}

// rate formats tokens per second.
func rate(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
