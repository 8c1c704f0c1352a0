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

// ExporterNamed returns the exporter of the format called name, such as "gguf".
func ExporterNamed(name string) (e Exporter, ok bool) {
	return find(func(f export.Format) bool { return f.Name == name })
}

// ExporterForProgram returns the exporter for the program called program, such as "llama.cpp".
func ExporterForProgram(program string) (e Exporter, ok bool) {
	return find(func(f export.Format) bool { return f.Program == program })
}

// ExporterForFile returns the exporter whose format the ending of path names, in
// upper or lower case.
func ExporterForFile(path string) (e Exporter, ok bool) {
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
