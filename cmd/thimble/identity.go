package main

import (
	"context"
	"encoding/hex"

	"thimble/internal/model"
	"thimble/verify"
)

// identity describes the model that a report is about. progress may be nil.
func identity(ctx context.Context, m *model.Model, progress *meter) (verify.ModelInfo, error) {
	weights, bytes := m.Size()
	info := verify.ModelInfo{Path: m.Path, BitsPerWeight: 8 * float64(bytes) / float64(weights)}
	sources, err := hashFiles(ctx, m.Files, progress)
	for _, s := range sources {
		info.Bytes += s.Bytes
	}
	info.SHA256 = hex.EncodeToString(mainSum(sources))
	return info, err
}

// mainSum is the digest that a model of several files is known by: that of the
// largest, the weights.
func mainSum(sources []model.Source) []byte {
	main := model.Source{Bytes: -1}
	for _, s := range sources {
		if s.Bytes > main.Bytes {
			main = s
		}
	}
	return main.SHA256
}
