package speed

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Meter measures the energy that the processors of this machine take, as Linux's
// powercap interface reports it (Documentation/power/powercap/powercap.rst). The zero
// Meter measures nothing.
type Meter struct{ zones []zone }

// A zone is a processor package.
type zone struct {
	counter       string // file
	before, limit uint64 // microjoules; the counter starts again at 0 after limit
}

// powercap is where Linux lists the zones; a zone's parts have two colons.
const powercap = "/sys/class/powercap/intel-rapl:[0-9]*"

// StartMeter starts a measurement. ok is false if the system has no counters or does not
// let this process read them.
func StartMeter() (m Meter, ok bool) { return startMeter(powercap) }

func startMeter(pattern string) (m Meter, ok bool) {
	paths, _ := filepath.Glob(pattern)
	for _, path := range paths {
		if strings.Count(filepath.Base(path), ":") != 1 {
			continue
		}
		z := zone{counter: filepath.Join(path, "energy_uj")}
		if z.before, ok = readNumber(z.counter); !ok {
			return Meter{}, false
		}
		z.limit, _ = readNumber(filepath.Join(path, "max_energy_range_uj"))
		m.zones = append(m.zones, z)
	}
	return m, len(m.zones) > 0
}

// Joules returns the energy since the start, of everything that ran on the machine.
func (m Meter) Joules() (sum float64) {
	for _, z := range m.zones {
		now, ok := readNumber(z.counter)
		if !ok {
			return 0
		}
		if now < z.before {
			now += z.limit
		}
		sum += float64(now-z.before) / 1e6
	}
	return sum
}

func readNumber(path string) (n uint64, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
