package main

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"thimble/internal/model"
	"thimble/quantize"
)

// modelFacts are the files that m was read from, whose digests it waits for, and
// how.
func modelFacts(m *model.Model, sources *hashing) (f quantize.Facts, err error) {
	if err := sources.wait(); err != nil {
		return nil, err
	}
	for _, s := range sources.Sources {
		f = append(f, [2]string{s.Name, hex.EncodeToString(s.SHA256)})
	}
	if set := m.Provenance.Overrides; len(set) > 0 {
		f = append(f, [2]string{"--set", strings.Join(set, " ")})
	}
	return f, nil
}

// textFacts are the texts that r is calibrated on.
func textFacts(r *quantize.Recipe, texts *quantize.Calibration) (f quantize.Facts) {
	for i, sum := range r.Texts.SHA256 {
		f = append(f, [2]string{fmt.Sprintf("calibration text %d", i+1), sum})
	}
	f = append(f, [2]string{"--calib-tokens", strconv.Itoa(r.Texts.Tokens)}, [2]string{"--calib-context", strconv.Itoa(r.Texts.Context)},
		[2]string{"--calib-seed", strconv.FormatUint(r.Texts.Seed, 10)})
	return append(f, texts.Facts()...)
}
