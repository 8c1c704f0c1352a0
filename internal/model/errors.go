package model

import "thimble/internal/defect"

// The two kinds of error that opening a model can end in, see package defect.
type CorruptError = defect.CorruptError

var (
	ErrUnsupported = defect.ErrUnsupported
	Corrupt        = defect.Corrupt
	Unsupported    = defect.Unsupported
	Printable      = defect.Printable
)
