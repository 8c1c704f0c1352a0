// Package safetensors writes the headers of safetensors files. Package checkpoint reads them.
package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// MaxHeader is the longest header, in bytes, that the reader of the format's authors takes.
const MaxHeader = 100_000_000

// A Tensor is a tensor of a file.
type Tensor struct {
	Name  string
	DType string // such as "F32"
	Shape []int
	Bytes int64
}

// Header returns the start of a file up to its data: the length of the JSON, and the JSON with
// the place of each tensor, padded to a multiple of 8 bytes. The data of tensors follow in their
// order, without gaps. https://github.com/huggingface/safetensors#format
func Header(metadata map[string]string, tensors []Tensor) ([]byte, error) {
	if metadata == nil {
		metadata = map[string]string{}
	}
	text, err := json.Marshal(metadata) // sorts keys
	if err != nil {
		return nil, err
	}
	head := append(make([]byte, 8), `{"__metadata__":`...)
	head = append(head, text...)
	at := int64(0)
	for _, t := range tensors {
		name, err := json.Marshal(t.Name)
		if err != nil {
			return nil, err
		}
		head = fmt.Appendf(head, `,%s:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, name, t.DType, list(t.Shape), at, at+t.Bytes)
		at += t.Bytes
	}
	head = append(head, '}')
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	binary.LittleEndian.PutUint64(head, uint64(len(head)-8))
	return head, checkLength(len(head) - 8)
}

func checkLength(n int) error {
	if n > MaxHeader {
		return fmt.Errorf("a header of %d bytes, safetensors allows %d", n, MaxHeader)
	}
	return nil
}

// list returns a shape in JSON.
func list(shape []int) string {
	sizes := make([]string, len(shape))
	for i, n := range shape {
		sizes[i] = strconv.Itoa(n)
	}
	return "[" + strings.Join(sizes, ", ") + "]"
}
