package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/internal/spell"
)

var dtypes = []string{thimble.Keep, "f32", "f16", "bf16"}

const convertHelp = `Reads a model in any form that thimble --help lists and writes one file with the
weights, the tokenizer, the chat template and the SHA-256 of every file it read.
A missing or unknown tensor, or one of the wrong shape, is an error. The ending
of -o, or --to, names the format: .thimble or .gguf.

The integers of a GGUF file are copied unchanged: Q4_0 becomes int4/g32, IQ4_NL
int4/g32/nl, Q8_0 int8/g32. Q4_K, Q5_K and Q6_K have no equivalent among
Thimble's schemes; --dtype stores their values as floats.

--entropy-coded stores integers, such as those of a quantized container, in as
many bits as their entropy takes. The model stays the same; all cores decode it
when the file is opened. Without the flag, convert writes the plain file again.

--lora DIR merges a LoRA adapter of peft into the weights, as merge_and_unload
does: in float32, rounded to the type of the weights.

Examples:
   thimble convert SmolLM2-135M -o smol.thimble
   thimble convert hf://HuggingFaceTB/SmolLM2-135M --lora adapter -o smol.gguf
   thimble convert SmolLM2-135M -o smol-bf16.gguf
   thimble convert Llama-2-7b -o llama.thimble --dtype f16
   thimble convert Llama3.2-1B -o l3.thimble --set rope_scaling_factor=32
   thimble convert MobileLLM-125M -o ls.thimble --set layer_sharing=true
   thimble convert int4.thimble -o small.thimble --entropy-coded
   thimble convert smol-Q4_K_M.gguf -o smol.thimble --dtype bf16`

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:        "convert",
		Usage:       "store a model as one file, without quantizing it",
		UsageText:   "thimble convert SRC -o OUT.thimble|OUT.gguf [--dtype keep|f32|f16|bf16]",
		Description: convertHelp,
		Flags: []cli.Flag{
			outFlag, toFlag, textsFlag, shardSizeFlag,
			&cli.StringFlag{Name: "dtype", Value: thimble.Keep, Usage: "store weights as `TYPE`: keep, f32, f16 or bf16"},
			codedFlag, setFlag, dropFlag, loraFlag, maxMemFlag, dryRunFlag, forceFlag, jsonFlag, quietFlag,
		},
		Action: convertAction,
	}
}

func convertAction(c *cli.Context) error {
	dtype := c.String("dtype")
	if s, err := thimble.ParseScheme(dtype); err == nil {
		dtype = strings.TrimSuffix(s.String(), "/sym") // fp16 is f16
	}
	if !slices.Contains(dtypes, dtype) {
		return fmt.Errorf("--dtype %q is not one of %s%s; thimble quantize stores integers", dtype, strings.Join(dtypes, ", "), spell.Suggest(dtype, dtypes))
	}
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	o := thimble.ConvertOptions{Model: path, Set: overridesOf(c), Overwrite: c.Bool(forceFlag.Name), DType: dtype, EntropyCoded: c.Bool(codedFlag.Name)}
	if o.MaxMem, err = maxMemOf(c); err != nil {
		return err
	}
	out, err := outputOf(c)
	if err != nil {
		return err
	}
	o.Output, o.Format, o.Context, o.ShardSize = out.path, out.format, out.context, out.shardSize
	if err := fetch(c, o.Set, &o.Model); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.Done()
	o.Progress, o.Planned = progress.Step, announce(c, progress)
	r, err := thimble.Convert(c.Context, o)
	if err != nil {
		return err
	}
	progress.Done()
	return printQuantized(c, r)
}
