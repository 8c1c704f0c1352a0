package gguf

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thimble/internal/model"
)

// The tensors are where llama.cpp's loader and graph look for them, with and without experts.
func TestScanTensors(t *testing.T) {
	s := deltaSpecs()["granitehybrid"]
	s.Experts, s.FFN = model.Experts{Count: 4, Used: 2, FFN: 32, Normalized: true, Shared: 48}, 32 // nothing else is as wide
	m := filled(t, s)
	_, data := write(t, m)
	f := parse(t, data)
	of := func(kind string) []float32 { return values(m.Tensors["blocks.0."+kind]) }
	compare(t, "ssm_in", f.tensors["blk.0.ssm_in.weight"].values(), slices.Concat(of("scan_gate"), of("scan_in"), of("scan_step")))
	compare(t, "ssm_out", f.tensors["blk.0.ssm_out.weight"].values(), of("scan_out"))
	compare(t, "ssm_conv1d", f.tensors["blk.0.ssm_conv1d.weight"].values(), of("scan_conv"))
	compare(t, "bias", f.tensors["blk.0.ssm_conv1d.bias"].values(), of("scan_conv.bias"))
	compare(t, "ssm_d", f.tensors["blk.0.ssm_d"].values(), of("scan_skip"))
	compare(t, "ssm_dt", f.tensors["blk.0.ssm_dt.bias"].values(), of("scan_dt"))
	compare(t, "ssm_norm", f.tensors["blk.0.ssm_norm.weight"].values(), of("scan_norm"))
	compare(t, "ssm_a", f.tensors["blk.0.ssm_a"].values()[3:4], []float32{float32(-math.Exp(float64(of("scan_decay")[3])))})
	for name, dims := range map[string][]uint64{
		"ssm_conv1d.weight": {3, 256}, "ssm_conv1d.bias": {256}, "ssm_a": {1, 8}, "ssm_d": {1, 8}, "ssm_dt.bias": {8}, "ssm_norm.weight": {64, 2}, "ssm_in.weight": {64, 392},
	} {
		if got := f.tensors["blk.0."+name].dims; !slices.Equal(got, dims) {
			t.Errorf("%s is %v, want %v", name, got, dims)
		}
	}
	for key, want := range map[string]any{
		"ssm.conv_kernel": uint32(3), "ssm.inner_size": uint32(128), "ssm.state_size": uint32(32), "ssm.time_step_rank": uint32(8), "ssm.group_count": uint32(2),
		"rope.scaling.finetuned": false, "expert_shared_feed_forward_length": uint32(48),
	} {
		if got := f.keys["granitehybrid."+key]; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	got := opened(t, data)
	if d := model.Differences(&s, &got.Spec); d != nil {
		t.Errorf("read back, %s is %q", d[0].Name, d[0].Value(&got.Spec, 0))
	}
}

// Files of other programs may lack the key of rotation, which is then on.
func TestScanKeysOfOthers(t *testing.T) {
	a, _ := architectureNamed("granitehybrid")
	s := deltaSpecs()["granitehybrid"]
	rotated := slices.Clone(s.Attention)
	rotated[1].Rope = 0
	asGGUF := a.asGGUF(&s)
	for want, change := range map[string]func(m *metadata){
		"":        func(*metadata) {},
		"dense":   func(m *metadata) { m.sharedFFN, m.experts = ptr(uint32(96)), ptr(uint32(0)) },
		"rotated": func(m *metadata) { m.rotates = nil },
		"granitehybrid.ssm.inner_size: 96 in 8 heads, with a stream 64 wide is not supported":  func(m *metadata) { m.deltaInner = ptr(uint32(96)) },
		"granitehybrid.ssm.inner_size: 128 in 0 heads, with a stream 64 wide is not supported": func(m *metadata) { m.deltaHeads = ptr(uint32(0)) },
		"granitehybrid.attention.head_count_kv: 2 and 1 key heads is not supported":            func(m *metadata) { m.kvOfBlocks = []int32{0, 2, 1, 0} },
		"granitehybrid.ssm.state_size: the key is missing":                                     func(m *metadata) { m.deltaState = nil },
	} {
		m := a.describe(&asGGUF)
		change(m)
		got, err := a.spec(m, func(string) bool { return true })
		if err == nil {
			err = a.unused(m, &got)
		}
		if strings.Contains(want, ":") {
			if err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			continue
		}
		attention := s.Attention
		if want == "rotated" {
			attention = rotated
		}
		if err != nil || !reflect.DeepEqual(got.Attention, attention) || got.Scan != s.Scan {
			t.Errorf("%q: %+v, %+v, %v", want, got.Attention, got.Scan, err)
		}
	}
}
