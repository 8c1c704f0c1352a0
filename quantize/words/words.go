// Package words reads the names of schemes: Thimble's own, and those that other programs give
// to the same or a similar way to store weights.
package words

import (
	"fmt"
	"regexp"
	"strings"

	"thimble/internal/qtensor"
	"thimble/internal/spell"
)

// A word is the name that another program has for a way to store weights.
type word struct {
	names  string  // separated by spaces, in lower case
	from   string  // whose name it is
	bits   float64 // per weight, as that program stores it; 0 if the name does not say
	scheme string  // the nearest of Thimble's
	same   bool    // scheme has the same codes and scales, so the name stands for it
	differ string  // how scheme differs, unless same
	mix    bool    // of several types in a model, which a budget matches better than one scheme
}

// words lists the names that users bring. Sizes of the K and IQ types are those of
// llama.cpp's mixes for a model of 8 billion weights; of single types, those of a block
// (ggml-common.h).
var words = []word{
	{names: "q4_0", from: "llama.cpp", bits: 4.5, scheme: "int4/g32", same: true},
	{names: "q4_1", from: "llama.cpp", bits: 5, scheme: "int4/g32/asym", same: true},
	{names: "iq4_nl", from: "llama.cpp", bits: 4.5, scheme: "int4/g32/nl", same: true},
	{names: "q5_0", from: "llama.cpp", bits: 5.5, scheme: "int5/g32", same: true},
	{names: "q5_1", from: "llama.cpp", bits: 6, scheme: "int5/g32/asym", same: true},
	{names: "q8_0", from: "llama.cpp", bits: 8.5, scheme: "int8/g32", same: true},
	{names: "fp16 float16 half", from: "PyTorch", bits: 16, scheme: "f16", same: true},
	{names: "bfloat16", from: "PyTorch", bits: 16, scheme: "bf16", same: true},
	{names: "fp32 float32 float", from: "PyTorch", bits: 32, scheme: "f32", same: true},

	{names: "q2_k q2_k_s", from: "llama.cpp", bits: 2.96, scheme: "int2/g32/asym", differ: "it has a float16 scale and minimum for each 32 weights instead of 4-bit ones for each 16, and is much worse; prefer int3/g32/asym or a budget"},
	{names: "q3_k q3_k_s q3_k_m q3_k_l", from: "llama.cpp", bits: 4, scheme: "int3/g32/asym", differ: "one scheme for all layers instead of a mix, and float16 scales instead of 6-bit ones"},
	{names: "q4_k q4_k_s q4_k_m", mix: true, from: "llama.cpp", bits: 4.89, scheme: "int4/g32/asym", differ: "one scheme for all layers instead of a mix of 4 and 6 bits, and float16 scales instead of 6-bit ones in blocks of 256, which widths such as 576 do not divide by"},
	{names: "q5_k q5_k_s q5_k_m", mix: true, from: "llama.cpp", bits: 5.7, scheme: "int5/g32", differ: "one scheme for all layers instead of a mix of 5 and 6 bits"},
	{names: "q6_k", from: "llama.cpp", bits: 6.56, scheme: "int6/g16/s4", differ: "4-bit scales instead of 8-bit ones; a .gguf file stores it as Q6_K where 256 divides the columns"},
	{names: "iq4_xs", from: "llama.cpp", bits: 4.25, scheme: "int4/g32/nl", differ: "the same levels, with a float16 scale for each 32 weights instead of 6-bit ones in blocks of 256"},
	{names: "iq3_xxs iq3_xs iq3_s iq3_m", from: "llama.cpp", bits: 3.66, scheme: "int3/g64", differ: "it has no codebook"},
	{names: "iq1_s iq1_m iq2_xxs iq2_xs iq2_s iq2_m tq1_0 tq2_0", from: "llama.cpp", bits: 2.4, scheme: "int2/g64", differ: "it has no codebook, and is much worse; prefer int3/g64 or a budget"},
	{names: "mxfp4 nvfp4", from: "the OCP and NVIDIA", bits: 4.25, scheme: "int4/g32", differ: "its levels are evenly spaced and its scales are float16"},
	{names: "nf4 fp4 bnb-4bit", from: "bitsandbytes", bits: 4.5, scheme: "int4/g64/nl", differ: "its 16 levels are those of llama.cpp's IQ4_NL, and scales are float16 instead of float32"},
	{names: "w4a16 gptq awq int4_g128 4bit-g128", from: "compressed-tensors, GPTQ and AWQ", bits: 4.13, scheme: "int4/g128", differ: "the same width and group; --method gptq chooses the codes, and activations stay float"},
	{names: "w8a16", from: "compressed-tensors", bits: 8, scheme: "int8/row", differ: "the same width and one scale for each row"},
	{names: "w8a8 smoothquant", from: "compressed-tensors", bits: 8, scheme: "int8/row", differ: "it stores weights alone; --activations int8 of verify and run rounds activations too"},
	{names: "fp8 float8 f8 e4m3 f8_e4m3", from: "compressed-tensors", bits: 8, scheme: "int8/g32", differ: "its codes are integers with a scale for each 32 weights, and are more accurate"},
	{names: "4bit q4 mlx-4bit", from: "MLX", bits: 4.5, scheme: "int4/g64/asym", differ: "the same width, group, scale and minimum"},
	{names: "8bit q8 mlx-8bit", from: "MLX", bits: 8.5, scheme: "int8/g64/asym", differ: "the same width, group, scale and minimum"},
	{names: "q4f16_1 q4f16_0 q4f32_1", from: "MLC", bits: 4.5, scheme: "int4/g32", differ: "the same width and group"},
}

// Columns is the number of columns for which the sizes of schemes are given. Every group divides
// it.
const Columns = 4096

// bareInt matches a width without a group.
var bareInt = regexp.MustCompile(`^(?:int|i|uint|u)([2-8])$`)

// wordFor returns what another program means by text.
func wordFor(text string) (word, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	for _, w := range words {
		for _, name := range strings.Fields(w.names) {
			if name == text {
				return w, true
			}
		}
	}
	return word{}, false
}

// Scheme reads a scheme, or another program's name for exactly the same thing, such
// as Q4_0. The error about another name says which scheme is nearest, its size, and how
// it differs.
func Scheme(text string) (qtensor.Scheme, error) {
	s, err := qtensor.ParseScheme(text)
	if err == nil {
		return s, nil
	}
	if w, ok := wordFor(text); ok && w.same {
		return qtensor.ParseScheme(w.scheme)
	}
	if err := Foreign(text, "", nil); err != nil {
		return s, err
	}
	if width := bareInt.FindStringSubmatch(strings.ToLower(text)); width != nil {
		near, row := "int"+width[1]+"/g32", "int"+width[1]+"/row"
		return s, fmt.Errorf("scheme %q does not say how many weights share a scale; the usual one is %s (%.3g bits per weight with its scales), the smallest %s (%.3g)",
			text, near, spelledBits(near), row, spelledBits(row))
	}
	return s, fmt.Errorf("%w%s", err, suggestion(text))
}

// suggestion returns the nearest of other programs' names for the same thing as a scheme, or "".
func suggestion(text string) string {
	var known []string
	for _, w := range words {
		if w.same {
			known = append(known, strings.Fields(w.names)...)
		}
	}
	return spell.Suggest(strings.ToLower(text), known)
}

// Schemes reads a scheme from each of texts.
func Schemes(texts []string) (all []qtensor.Scheme, err error) {
	for _, text := range texts {
		s, err := Scheme(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Foreign returns the error about text if it is another program's name for something
// that no scheme is exactly, and otherwise nil. If the file is for a program, nearest returns
// the nearest scheme that the program can run; without one it is nil.
func Foreign(text, program string, nearest func(qtensor.Scheme) qtensor.Scheme) error {
	w, ok := wordFor(text)
	if !ok || w.same {
		return nil
	}
	where, scheme, differ := "here", w.scheme, ": "+w.differ
	if s, err := qtensor.ParseScheme(scheme); err == nil && nearest != nil && nearest(s) != s {
		where, scheme, differ = "for "+program, strings.TrimSuffix(nearest(s).String(), "/sym"), ""
	}
	if w.mix {
		differ += fmt.Sprintf("; --target-bpw %.2g chooses a mix of that size, and --preset phone a better one", w.bits)
	}
	return fmt.Errorf("scheme %q is a name of %s (about %.3g bits per weight); the nearest scheme %s is %s (%.3g bits per weight)%s",
		text, w.from, w.bits, where, scheme, spelledBits(scheme), differ)
}

// spelledBits returns the bits per weight of a scheme in words, which a test parses.
func spelledBits(scheme string) float64 {
	s, err := qtensor.ParseScheme(scheme)
	if err != nil {
		return 0
	}
	return s.BitsPerWeight(Columns)
}

// Same returns a note if text is another program's name for a scheme, or "".
func Same(text string) string {
	if _, err := qtensor.ParseScheme(text); err == nil {
		return ""
	}
	if w, ok := wordFor(text); ok && w.same {
		return fmt.Sprintf("%s is %s here: the same values in %.3g bits per weight", text, w.scheme, w.bits)
	}
	return ""
}
