package main

import (
	"errors"
	"fmt"
	"strings"

	"thimble/cmd/thimble/internal/text"

	"github.com/urfave/cli/v2"

	"thimble"
)

const exportHelp = `The ending .gguf, or --to, names the format. The other formats are folders, which
appear complete or not at all.

Formats, and what runs them:

  gguf                llama.cpp, Ollama, LM Studio: one file
  safetensors         transformers: the values, as bf16 or f16 if every tensor
                      is stored so, and otherwise as f32; --dtype chooses
  mlx                 mlx-lm: int2 to int6 and int8 in groups of 32, 64 or 128
  compressed-tensors  vLLM, transformers: int4 and int8 in such groups or rows,
                      without a minimum; the embedding and the head as floats
  onnx                onnxruntime, onnxruntime-genai: int4 and int8 (int2, but
                      slowly) in groups of a multiple of 16 columns, or rows

Codes and scales are copied unchanged, except to safetensors, which stores their
products. What a format cannot represent is an error before any work;
thimble quantize --for mlx plans schemes that it can.

Weights of more than 5 GB, or --shard-size, are divided into several files with
an index, as transformers and mlx-lm do: safetensors, mlx, compressed-tensors.

In GGUF, int4/g32 becomes Q4_0, int4/g32/nl IQ4_NL, int4/g32/asym Q4_1, int5/g32
Q5_0, int5/g32/asym Q5_1, int8/g32 Q8_0, int6/g16/s4 Q6_K if 256 divides the
columns; f32, f16 and bf16 keep their names. A block that several steps
share is written once for each step, in every format except onnx.

llama.cpp ignores the attention window of Mistral and Qwen2. --context N writes
a file for texts of up to N tokens; a window of at least N tokens then changes
nothing.

--modelfile FILE also writes a Modelfile for ollama create: the file's name, the
chat template in Ollama's language, and the texts at which an answer ends.

Examples:
   thimble quantize SmolLM2-135M -o smol.thimble --scheme int4/g32
   thimble export smol.thimble -o smol.gguf
   thimble export Mistral-7B-v0.1 -o mistral.gguf --context 4096
   thimble export smol.thimble -o smol.gguf --modelfile Modelfile
   thimble export g64.thimble -o g64.gguf --requantize
   thimble export smol.thimble --to mlx -o smol-mlx
   thimble export smol.thimble --to safetensors -o smol-hf --dtype bf16
   thimble export smol.thimble --to onnx -o smol-onnx`

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:        "export",
		Usage:       "write a model in another program's format, without quantizing it again",
		UsageText:   "thimble export MODEL -o OUT.gguf|FOLDER [--to FORMAT] [--context N] [--requantize]",
		Description: exportHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, or to this folder"},
			&cli.StringFlag{Name: "to", Usage: "write `FORMAT` whatever FILE's ending is: " + strings.Join(thimble.Formats(), ", ")},
			&cli.IntFlag{Name: "context", Usage: "write a file for texts of up to `N` tokens (default: the model's context)"},
			&cli.StringFlag{Name: "dtype", Usage: "with --to safetensors: store every value as `TYPE`, rounded once if it does not fit: f32, f16, bf16"},
			&cli.BoolFlag{Name: "requantize", Usage: "round tensors whose scheme the format lacks again, to its nearest type with as many bits"},
			shardSizeFlag, ollamaFlag, setFlag, dropFlag, loraFlag, dryRunFlag, forceFlag, jsonFlag, quietFlag,
		},
		Action: exportAction,
	}
}

func exportAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	o := thimble.ExportOptions{
		Model: path, Set: overridesOf(c), Format: c.String("to"), Overwrite: c.Bool(forceFlag.Name),
		Context: c.Int("context"), Requantize: c.Bool("requantize"), DType: c.String("dtype"),
	}
	if c.IsSet("context") && o.Context < 1 {
		return fmt.Errorf("--context %d: want the number of tokens in the longest text", o.Context)
	}
	if o.ShardSize, err = shardSizeOf(c); err != nil {
		return err
	}
	if !c.Bool(dryRunFlag.Name) {
		if o.Output = c.String("output"); o.Output == "" && o.Format != "" {
			return errors.New("export needs -o FILE, or --dry-run")
		}
	}
	if o.Modelfile, err = modelfileOf(c); err != nil {
		return err
	}
	if err := fetch(c, o.Set, &o.Model); err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.Done()
	o.Progress = progress.Step
	r, err := thimble.Export(c.Context, o)
	if err != nil {
		return err
	}
	progress.Done()
	return printText(c, r, func() string { return text.Exported(r) })
}
