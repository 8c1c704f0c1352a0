// Package stray recognizes files that are not models, such as texts, archives and the
// other files that the program reads and writes, so that an error can say what a file is
// and what to do with it.
package stray

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"slices"
	"strings"
)

// headBytes is how much of a file is read at most to recognize its kind by its beginning.
const headBytes = 1 << 16

// Look describes the file or directory at path, if it is of a kind that is known not to
// be a model: what it is, and what to do with it. The text completes "FILE: not a model".
func Look(path string) (text string, ok bool) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", false
	case info.IsDir():
		return lookInside(path)
	case !info.Mode().IsRegular(): // reading a pipe would block
		return "", false
	case info.Size() == 0:
		return "an empty file; download or write it again", true
	}
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	head := make([]byte, min(info.Size(), headBytes))
	if _, err := f.ReadAt(head, 0); err != nil {
		return "", false
	}
	if bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		return lookInZip(f, info.Size())
	}
	for _, k := range binaries {
		if k.is(head) {
			return k.text, true
		}
	}
	if bytes.HasPrefix(head, []byte("GGUF")) { // a model, however short
		return "", false
	}
	return lookAtText(f, head, info.Size())
}

// A kind is recognized by the beginning of a file.
type kind struct {
	is   func(head []byte) bool
	text string
}

// starts matches files that begin with any of the given bytes.
func starts(magics ...string) func([]byte) bool {
	return func(head []byte) bool {
		for _, m := range magics {
			if bytes.HasPrefix(head, []byte(m)) {
				return true
			}
		}
		return false
	}
}

// has matches files that have the given bytes at an offset.
func has(at int, magic string) func([]byte) bool {
	return func(head []byte) bool { return len(head) >= at && bytes.HasPrefix(head[at:], []byte(magic)) }
}

// ggufType matches GGUF files whose general.type is the given word.
func ggufType(word string) func([]byte) bool {
	const key = "general.type"
	return func(head []byte) bool {
		at := bytes.Index(head, []byte(key))
		if at < 0 || !bytes.HasPrefix(head, []byte("GGUF")) {
			return false
		}
		// uint32 8 (a string), uint64 length, bytes
		value := head[at+len(key):]
		return len(value) > 12 && binary.LittleEndian.Uint32(value) == 8 && bytes.HasPrefix(value[12:], []byte(word))
	}
}

// oldImatrix matches the importance matrices that llama-imatrix wrote before it used
// GGUF: int32 entries; for each an int32 length and a name.
func oldImatrix(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	n := binary.LittleEndian.Uint32(head[4:])
	return n >= 8 && n <= 128 && int(n) <= len(head)-8 && bytes.HasSuffix(head[8:8+n], []byte(".weight"))
}

// reference matches safetensors files with the logits of prompts.
func reference(head []byte) bool {
	return len(head) > 9 && head[8] == '{' && bytes.Contains(head, []byte(`"prompt.0.input_ids"`))
}

// adapter matches safetensors files with the matrices of LoRA.
func adapter(head []byte) bool {
	return len(head) > 9 && head[8] == '{' && bytes.Contains(head, []byte(`lora_A`))
}

const (
	unpack   = "; unpack it, then name the directory with the config.json"
	notRight = "; name the model's directory or file instead"
	pointer  = "version https://git-lfs.github.com/"
	imatrix  = "an importance matrix of llama-imatrix; thimble calibrates on the text itself: thimble quantize MODEL --calib FILE"
	merge    = "a LoRA adapter; name its base model, and the directory of the adapter with --lora"
	webPage  = "a web page; if it was downloaded in place of a file, the download needed a login or another address"
)

const pointerText = "a Git LFS pointer, not the file that it stands for; run git lfs pull in its repository"

// binaries lists kinds of binary files.
var binaries = []kind{
	{reference, "a reference file with logits; give it to thimble verify MODEL --reference"},
	{starts("_logits_"), "a base file of llama-perplexity with logits; give it to thimble verify MODEL --reference"},
	{starts("thimble unfinished "), "the finished blocks of an interrupted run; repeat that quantize command with --resume"},
	{adapter, merge},
	{ggufType("imatrix"), imatrix},
	{ggufType("adapter"), "a LoRA adapter in GGUF; name its base model, and with --lora the directory in peft's form that it was made from"},
	{ggufType("mmproj"), "the vision part of a model; name the GGUF file of the language model"},
	{oldImatrix, imatrix},
	{starts("lmgg", "tjgg", "fmgg", "algg", "ggml", "ggjt"), "a GGML file, the format before GGUF; convert the original model instead"},
	{starts(pointer), pointerText},
	{starts("PK\x05\x06"), "an empty zip archive; download it again"},
	{starts("\x1f\x8b", "\x28\xb5\x2f\xfd", "BZh", "\xfd7zXZ\x00", "7z\xbc\xaf\x27\x1c"), "a compressed file" + unpack},
	{has(257, "ustar"), "a tar archive" + unpack},
	{starts("\x89PNG", "\xff\xd8\xff", "GIF8", "BM6"), "an image" + notRight},
	{has(8, "WEBP"), "an image" + notRight},
	{starts("%PDF"), "a PDF document" + notRight},
	{starts("\x7fELF", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe", "MZ"), "a program or library" + notRight},
	{starts("\x89HDF"), "an HDF5 file, as Keras writes; name a Hugging Face directory with safetensors instead"},
	{starts("\x93NUMPY"), "a NumPy array; name a Hugging Face directory with safetensors instead"},
	{has(4, "TFL3"), "a LiteRT (TensorFlow Lite) model, which cannot be read; name the Hugging Face directory that it was made from"},
	{starts("SQLite format 3"), "an SQLite database" + notRight},
	{starts("\xff\xfe", "\xfe\xff"), "a text in UTF-16; to use it, convert it to UTF-8: iconv -f UTF-16 -t UTF-8"},
	{starts("\x80\x03", "\x80\x04", "\x80\x05"), "a Python pickle that torch.save did not write; save the model with save_pretrained"},
	{sentencepiece, "a sentencepiece tokenizer, not the weights; name its directory, or give the file to thimble tokenize"},
}

// sentencepiece matches tokenizer.model files: pieces of protocol buffers, the first of
// which is <unk> or a byte or control token.
func sentencepiece(head []byte) bool {
	return len(head) >= 16 && head[0] == 0x0a && head[2] == 0x0a && head[4] == '<'
}

// zips lists files by which a zip archive other than torch.save's is recognized.
var zips = []struct{ suffix, text string }{
	{".npy", "a NumPy archive; name a Hugging Face directory with safetensors instead"},
	{"config.json", "a zip archive with a model; unpack it, then name the directory with the config.json"},
	{"document.xml", "a Word document; to use it as a text, save it as plain text"},
	{"", "a zip archive" + unpack},
}

// lookInZip describes a zip archive that torch.save has not written.
func lookInZip(f io.ReaderAt, size int64) (string, bool) {
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return "", false
	}
	for _, entry := range archive.File {
		if strings.HasSuffix(entry.Name, "data.pkl") {
			return "", false
		}
	}
	for _, z := range zips {
		if slices.ContainsFunc(archive.File, func(entry *zip.File) bool { return strings.HasSuffix(entry.Name, z.suffix) }) {
			return z.text, true
		}
	}
	return zips[len(zips)-1].text, true
}
