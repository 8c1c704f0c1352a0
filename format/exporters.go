package format

import (
	"slices"
	"strings"

	"thimble/format/export"
	"thimble/format/gguf"
	"thimble/format/hf"
	"thimble/format/onnx"
)

// An Exporter exports models to the file format of another program. Package
// export describes its methods.
type Exporter = export.Exporter

// exporters lists all exporters.
var exporters = slices.Concat([]Exporter{gguf.Exporter{}}, hf.Exporters(), []Exporter{onnx.Exporter{}})

// Exporters returns all exporters.
func Exporters() []Exporter { return slices.Clone(exporters) }

// ExporterNamed returns the exporter for the format with the given name, such as "gguf".
func ExporterNamed(name string) (e Exporter, ok bool) {
	return find(func(f export.Format) bool { return f.Name == name })
}

// ExporterForProgram returns the exporter for a program, such as "llama.cpp".
func ExporterForProgram(program string) (e Exporter, ok bool) {
	return find(func(f export.Format) bool { return f.Program == program })
}

// ExporterForFile returns the exporter for the file extension of path, in upper or lower
// case. Folders have none.
func ExporterForFile(path string) (e Exporter, ok bool) {
	return find(func(f export.Format) bool {
		return f.Ext != "" && strings.HasSuffix(strings.ToLower(path), f.Ext)
	})
}

func find(match func(f export.Format) bool) (Exporter, bool) {
	i := slices.IndexFunc(exporters, func(e Exporter) bool { return match(e.Format()) })
	if i < 0 {
		return nil, false
	}
	return exporters[i], true
}
