package device

// A Phone is a row of the table that costs are computed for.
type Phone struct {
	Name      string   `json:"name"` // one word, as an option
	Model     string   `json:"model"`
	Year      int      `json:"year"`
	Memory    int64    `json:"memory_bytes"`
	App       int64    `json:"app_limit_bytes,omitempty"` // that the system leaves to an app by default; 0 if it has no fixed limit
	Bandwidth float64  `json:"bytes_per_second"`          // of the memory, at most
	Energy    float64  `json:"battery_joules"`
	Sources   []string `json:"sources"` // of the figures, in this order; a phrase says what is derived
}

const (
	gib  = 1 << 30
	gbps = 1e9
	wh   = 3600 // joules

	// volts is the nominal voltage of a phone's cell, for batteries that are stated in ampere
	// hours: that of the iPhone 16
	// (https://archyde.com/iphone-16-heres-how-much-bigger-the-battery-really-is-toms-hardware).
	volts = 3.88

	// The widths of the buses in bytes: two channels of 16 bits in cheap phones, four in others.
	narrow, wide = 4, 8
)

// What apps may take on iOS was measured with os_proc_available_memory by authors of apps
// that run language models. The entitlement increased-memory-limit raises it by a fifth to a
// factor of two.
const (
	app4 = 2.1 * gbps  // of 4 GiB
	app6 = 3.12 * gbps // of 6 GiB
	app8 = 3 * gbps    // of 8 GiB

	app4Source    = "app limit: https://github.com/allenai/OLMoE.swift/pull/38"
	app6Source    = "app limit, measured on an iPhone 13 Pro: https://github.com/a-ghorbani/pocketpal-ai/pull/651"
	app8Source    = "app limit, measured on an iPhone 15 Pro: https://github.com/introlab/rtabmap/pull/1446"
	androidSource = "app limit: none that is fixed before Android 17, https://source.android.com/docs/core/perf/memory-limiter"

	// Transfers per second of the memory's generations.
	lpddr4xSource = "bandwidth, LPDDR4X of 4267 MT/s on 64 bits: https://en.wikipedia.org/wiki/LPDDR"
	iphone15Specs = "memory and bandwidth, LPDDR5 of 6400 MT/s on 64 bits: https://www.topcpu.net/pl/cpu-c/apple-a16-bionic-vs-apple-a13-bionic"
	batteries13   = "battery: https://pocketnow.com/iphone-13-battery"
	batteries15   = "battery: https://www.qudach.com/the-iphone-15-apparently-has-a-slightly-bigger-battery-1955195.html"
)

// Phones lists the phones from slow to fast memory. Vendors seldom state bandwidth: it is the
// transfers per second of the memory's generation times the width of the bus.
func Phones() []Phone {
	return []Phone{
		{
			"redmi-12-5g", "Redmi 12 5G", 2023, 4 * gib, 0, 4267e6 * narrow, 5.0 * volts * wh,
			[]string{
				"chip: https://www.mobiletechtoday.com/2025/09/30/redmi-12-vs-redmi-12-5g-key-differences-explained",
				"bandwidth of LPDDR4X with this series: https://en.wikichip.org/wiki/qualcomm/snapdragon_4",
				"battery: 5.0 Ah at 3.88 V", androidSource,
			},
		},
		{
			"iphone-12-mini", "iPhone 12 mini", 2020, 4 * gib, app4, 4267e6 * wide, 8.57 * wh,
			[]string{lpddr4xSource, batteries13, app4Source},
		},
		{
			"iphone-13-pro", "iPhone 13 Pro", 2021, 6 * gib, app6, 4267e6 * wide, 11.97 * wh,
			[]string{"memory: https://bestygames.com/en/this-is-the-battery-and-ram-of-the-iphone-13/", lpddr4xSource, batteries13, app6Source},
		},
		{
			"iphone-15", "iPhone 15", 2023, 6 * gib, app6, 6400e6 * wide, 12.981 * wh,
			[]string{"memory: https://arxiv.org/abs/2402.14905, section 1", iphone15Specs, batteries15, app6Source},
		},
		{
			"iphone-15-pro", "iPhone 15 Pro", 2023, 8 * gib, app8, 6400e6 * wide, 12.70 * wh,
			[]string{"bandwidth, LPDDR5 of 6400 MT/s on 64 bits: https://etoppc.com/apple-a18-pro-gegen-a17-pro-apple-bietet-bedeutende-verbesserungen/", batteries15, app8Source},
		},
		{
			"iphone-16-pro", "iPhone 16 Pro", 2024, 8 * gib, app8, 7500e6 * wide, 3.582 * volts * wh,
			[]string{
				"bandwidth, LPDDR5X of 7500 MT/s on 64 bits: https://etoppc.com/apple-a18-pro-gegen-a17-pro-apple-bietet-bedeutende-verbesserungen/",
				"battery, 3.582 Ah at 3.88 V: https://archyde.com/iphone-16-heres-how-much-bigger-the-battery-really-is-toms-hardware", app8Source,
			},
		},
		{
			"pixel-8-pro", "Pixel 8 Pro", 2023, 12 * gib, 0, 8533e6 * wide, 5.05 * volts * wh,
			[]string{
				"memory and battery, 5.05 Ah at 3.88 V: https://indiashorts.com/google-pixel-8-vs-google-pixel-8-pro-check-out-specifications/147281",
				"bandwidth, LPDDR5X of 8533 MT/s on 64 bits: https://en.wikipedia.org/wiki/LPDDR", androidSource,
			},
		},
		{
			"galaxy-s24-ultra", "Galaxy S24 Ultra", 2024, 12 * gib, 0, 9600e6 * wide, 5.0 * volts * wh,
			[]string{
				"bandwidth, LPDDR5X of 9600 MT/s on 64 bits: https://droidholic.com/snapdragon-8-gen-3-launched/",
				"battery, 5.0 Ah at 3.88 V: https://www.gadgets360.com/mobiles/news/samsung-s24-plus-ultra-launch-battery-4900-5000-mah-dekra-listing-galaxy-leak-4257658",
				androidSource,
			},
		},
	}
}

// Names returns the names of the phones.
func Names() (names []string) {
	for _, p := range Phones() {
		names = append(names, p.Name)
	}
	return names
}
