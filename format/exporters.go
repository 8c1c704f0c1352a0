package format

import (
	"slices"
	"strings"

	"thimble/format/export"
	"thimble/format/gguf"
)

// An Exporter exports models to the file format of another program. Package
// export describes its methods.
type Exporter = export.Exporter

// exporters is the one table of them.
var exporters = []Exporter{
	gguf.Exporter{},
}

// Exporters lists the formats that models are exported to.
func Exporters() []Exporter { return slices.Clone(exporters) }

// ExporterTo returns the exporter of the format called name, such as "gguf".
func ExporterTo(name string) (e Exporter, ok bool) {
	return find(func(f export.Format) bool { return f.Name == name })
}

// ExporterFor returns the exporter for the program called program, such as "llama.cpp".
func ExporterFor(program string) (e Exporter, ok bool) {
	return find(func(f export.Format) bool { return f.Program == program })
}

// ExporterOf returns the exporter whose format the ending of path names, in
// upper or lower case.
func ExporterOf(path string) (e Exporter, ok bool) {
	return find(func(f export.Format) bool {
		return strings.HasSuffix(strings.ToLower(path), f.Ending)
	})
}

func find(match func(f export.Format) bool) (Exporter, bool) {
	i := slices.IndexFunc(exporters, func(e Exporter) bool { return match(e.Format()) })
	if i < 0 {
		return nil, false
	}
	return exporters[i], true
}
