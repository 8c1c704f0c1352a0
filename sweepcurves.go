package thimble

import (
	"context"

	"thimble/internal/sweep"
	"thimble/verify/curve"
)

// HasResults reports whether there is a folder with results of Sweep at path.
func HasResults(path string) bool { return sweep.HasResults(path) }

// SweepCurvesOptions specify what SweepCurves draws.
type SweepCurvesOptions struct {
	Results   string // the folder of a sweep
	PeersFile string // see CurveOptions
	Folder    string // for charts, reports and data; "" writes nothing
	Overwrite bool   // replace files in Folder
}

// SweepCurves returns the curves of all results of a sweep, one for each model.
func SweepCurves(ctx context.Context, o SweepCurvesOptions) (*sweep.Curves, error) {
	results, err := sweep.Folder(o.Results).All()
	if err != nil {
		return nil, err
	}
	all := sweep.CurvesOf(o.Results, results, nil)
	if o.PeersFile != "" {
		peers, note, err := curve.ReadPeers(ctx, o.PeersFile, all.Texts())
		if err != nil {
			return nil, err
		}
		if all = sweep.CurvesOf(o.Results, results, peers); note != "" {
			all.Models[0].Notes = append(all.Models[0].Notes, note)
		}
	}
	return all, forceHint(all.Publish(o.Folder, o.Overwrite, []string{o.PeersFile}))
}
