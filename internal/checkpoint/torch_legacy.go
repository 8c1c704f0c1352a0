package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"

	"thimble/internal/defect"
)

// Before version 1.6 torch writes
//
//	pickle    legacyMagic
//	pickle    1001, the version
//	pickle    {"protocol_version": 1001, "little_endian": True, "type_sizes": {...}}
//	pickle    the saved object, which refers to storages by keys
//	pickle    the list of the keys
//	for each key of the list: u64 number of elements, then the elements
//
// https://github.com/pytorch/pytorch/blob/main/torch/serialization.py, _legacy_save
const (
	legacyMagic   = "\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
	legacyVersion = 1001
)

func readTorchLegacy(c *Checkpoint, file string, b []byte) error {
	if !hasPrefix(legacyMagic)(b) {
		return fmt.Errorf("%s: %w; save it with torch.save", defect.Printable(file), defect.Unsupported("checkpoint", "a pickle that torch did not write"))
	}
	f := &torchFile{name: file, storages: map[string]*storage{}}
	at := len(legacyMagic)
	var parts [4]any
	for i := range parts {
		m := machine{most: pickleLimits, file: file, b: b, at: at}
		if i == 2 {
			m.storage = f.storage
		}
		v, err := m.run()
		if err != nil {
			return err
		}
		parts[i], at = v, m.at
	}
	if parts[0] != int64(legacyVersion) {
		return defect.Corrupt(file, "version", "is not %d", legacyVersion)
	}
	system, ok := parts[1].(*dict)
	if !ok || system.values["little_endian"] != true {
		return fmt.Errorf("%s: %w", defect.Printable(file), defect.Unsupported("byte order", "a file that is not marked little-endian"))
	}
	keys, ok := parts[3].(*list)
	if !ok {
		return defect.Corrupt(file, "keys", "is %s, want a list", kindOf(parts[3]))
	}
	if err := f.locate(b, at, keys); err != nil {
		return err
	}
	return c.addTensors(file, parts[2])
}

// locate sets the data of the storages with the given keys, which follow each other from
// offset at to the end of b. Every storage must have a key.
func (f *torchFile) locate(b []byte, at int, keys *list) error {
	seen := map[string]bool{}
	for _, k := range keys.items {
		key, _ := k.(string)
		s := f.storages[key]
		if s == nil || seen[key] {
			return defect.Corrupt(f.name, "keys", "%.128q is not a storage or is listed twice", fmt.Sprint(k))
		}
		seen[key] = true
		bad := func(format string, args ...any) error {
			return &defect.CorruptError{File: f.name, Off: int64(at), Field: "storage " + key, Why: fmt.Sprintf(format, args...)}
		}
		left := uint64(len(b) - at)
		if left < 8 {
			return bad("%d bytes are left, want 8 for its size: it is truncated; copy or download it again", left)
		}
		elements, size := binary.LittleEndian.Uint64(b[at:]), bits[s.dtype]/8
		if elements > math.MaxInt/size || elements*size != s.size {
			return bad("has %d elements, want %d", elements, s.size/size)
		}
		at += 8
		if left -= 8; s.size > left {
			return bad("has %d bytes, %d are left: it is truncated; copy or download it again", s.size, left)
		}
		s.data = b[at:][:s.size]
		at += int(s.size)
	}
	for _, s := range f.order {
		if !seen[s.key] {
			return defect.Corrupt(f.name, "storage "+s.key, "is used but not in the list of keys")
		}
	}
	if at != len(b) {
		return defect.Corrupt(f.name, "", "%d bytes follow the last storage", len(b)-at)
	}
	return nil
}
