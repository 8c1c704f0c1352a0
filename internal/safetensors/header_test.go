package safetensors

import (
	"strings"
	"testing"
)

func TestHeader(t *testing.T) {
	got, err := Header(map[string]string{"b": "x\n", "a": ""}, []Tensor{{"w\"", "F16", []int{2, 3}, 12}, {"s", "F32", nil, 4}})
	const json = `{"__metadata__":{"a":"","b":"x\n"},"w\"":{"dtype":"F16","shape":[2, 3],"data_offsets":[0,12]},"s":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}`
	padded := json + strings.Repeat(" ", (8-len(json)%8)%8)
	if want := string([]byte{byte(len(padded)), 0, 0, 0, 0, 0, 0, 0}) + padded; err != nil || string(got) != want {
		t.Errorf("%v, %q, want %q", err, got, want)
	}
	if err := checkLength(MaxHeader + 1); err == nil || err.Error() != "a header of 100000001 bytes, safetensors allows 100000000" {
		t.Error(err)
	}
}
