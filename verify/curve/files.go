package curve

import (
	"runtime/debug"
	"time"

	"thimble/internal/atomicfile"
	"thimble/internal/memory"
	"thimble/internal/strictjson"
)

// StartCost starts to measure a cost; stop sets c.
func StartCost(c *Cost) (stop func()) {
	debug.FreeOSMemory() // exclude earlier garbage from the peak
	known, start := memory.ResetPeak(), time.Now()
	return func() {
		c.Seconds = time.Since(start).Seconds()
		if known {
			c.Peak = memory.Peak()
		}
	}
}

// The files of a curve other than the charts.
const (
	reportFile = "curve.md"
	dataFile   = "curve.json"
)

// FileNames returns the names of the files that a curve on the named texts writes.
func FileNames(texts []string) []string { return append(Pictures(texts), reportFile, dataFile) }

// Files returns the charts, the report and the data.
func (r *Report) Files() (files []atomicfile.NamedFile, err error) {
	for i, name := range r.pictures() {
		files = append(files, atomicfile.NamedFile{Name: name, Text: r.SVG(i)})
	}
	data, err := strictjson.Encode(r)
	return append(files, atomicfile.NamedFile{Name: r.Prefix + reportFile, Text: []byte(r.Markdown())}, atomicfile.NamedFile{Name: r.Prefix + dataFile, Text: data}), err
}
