package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
)

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name:      "quantize",
		Usage:     "store a checkpoint in 4 or 8 bits per weight",
		UsageText: "thimble quantize SRC -o OUT.thimble --scheme SCHEME [--embedding SCHEME] [--set PATTERN=SCHEME ...]",
		Description: "Prints what every tensor will become, then writes the container. Nothing falls back\n" +
			"to another type: what a tensor cannot take is an error before work starts.\n\n" +
			"A scheme is a float type (f32, f16, bf16, or keep for the source's own) or\n" +
			"intBITS/GROUP[/asym]: int4/g32 shares one float16 scale among 32 columns, int8/row\n" +
			"among a whole row, int4/g32/asym adds a minimum. Columns need not divide by the group.\n\n" +
			"The embedding, which is also the output head in tied models, usually deserves more\n" +
			"bits than the layers. Patterns go part by part: 'blocks.*.down', 'blocks.1?.q'.\n\n" +
			"--calib makes rounding make up for its own errors, as a text shows them (method\n" +
			"gptq). Give text of the kind that the model will meet, ten tokens or more for each\n" +
			"column of the widest layer: fewer mislead it (--calib-tokens);\n" +
			"--method gptq alone takes a built-in text. The recipe in the file keeps the text's\n" +
			"SHA-256, so that --recipe makes the same file again or says that the text differs.\n\n" +
			"A file named .jsonl or .ndjson holds a conversation a line, {\"messages\": [{\"role\":\n" +
			"\"user\", \"content\": \"...\"}, ...]}, ShareGPT's {\"conversations\": [...]} or {\"text\":\n" +
			"\"...\"}. Conversations are written out by the model's chat template, without tools,\n" +
			"and packed into pieces one behind the other.\n\n" +
			"--target-size, --target-bpw, --max-kl and --min-top1 choose each matrix's scheme: a\n" +
			"survey predicts what every matrix costs in every scheme of --schemes, and the budget\n" +
			"goes where it gains most. Limits on divergence are then measured on pieces of the text\n" +
			"that are held out, and the model is quantized again, up to four times, until it keeps\n" +
			"them closely. --set keeps a matrix out of it; --scheme and --head do not go\n" +
			"with them, --embedding only where it is not the head too. They calibrate, too.\n\n" +
			"--without leaves steps of the method out; the recipe in the file says so. thimble curve\n" +
			"measures what each is worth.\n\n" +
			"The survey does not depend on the budget: --stats FILE keeps it, and takes it from\n" +
			"there the next time, for the same model, texts and --schemes. Given several times, the\n" +
			"mean of the files is taken, weighted by their tokens, whatever texts they are of.\n\n" +
			"A calibrated run keeps each finished block in OUT.unfinished until the output is\n" +
			"there. After Ctrl-C, a full disk or a power cut the same command with --resume goes on\n" +
			"from there, to the same bytes; where nothing is left it begins with the first block.\n" +
			"Without --resume such a file is an error, and --force begins anew. --max-kl and\n" +
			"--min-top1 make several runs, which are not kept.\n\n" +
			"--for llama.cpp refuses before work starts what thimble export --to gguf would refuse,\n" +
			"and says which of the types used have fast kernels on phones.\n\n" +
			"Examples:\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble \\\n" +
			"      --scheme int4/g32 --embedding int8/g32\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --scheme int8/g32 --dry-run\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble \\\n" +
			"      --scheme int4/g32/asym --set 'blocks.*.down=int8/g32'\n" +
			"   thimble quantize smol-bf16.gguf -o smol.thimble --scheme int4/g32\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --recipe phone.yaml\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble \\\n" +
			"      --scheme int4/g32 --embedding int8/g32 --calib chats.txt\n" +
			"   thimble quantize SmolLM2-135M-Instruct -o smol.thimble \\\n" +
			"      --calib chats.jsonl --calib notes.txt --target-size 92MB\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --calib chats.txt --max-kl 0.05\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --resume \\\n" +
			"      --calib chats.txt --target-size 92MB --stats smol.survey.json\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --target-bpw 5 \\\n" +
			"      --calib a.txt --calib b.txt --stats a.json --stats b.json\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble \\\n" +
			"      --scheme int4/g32 --embedding int8/g32 --for llama.cpp",
		Flags: slices.Concat([]cli.Flag{
			outFlag,
			&cli.StringFlag{Name: "scheme", Usage: "`SCHEME` of the linear layers"},
			&cli.StringFlag{Name: "embedding", Usage: "`SCHEME` of the embedding (default: the linear layers')"},
			&cli.StringFlag{Name: "head", Usage: "`SCHEME` of an untied output head (default: the embedding's)"},
			&cli.StringFlag{Name: "method", Usage: "`METHOD` that chooses the codes: " + strings.Join(quantize.Methods(), ", ") + " (default: " + quantize.MethodRTN + ")"},
			&cli.StringFlag{Name: "without", Usage: "leave out `STEPS` of the method, to see what they are worth; of " + quantize.MethodGPTQ + ": " + strings.Join(quantize.Steps(quantize.MethodGPTQ), ",")},
			&cli.StringSliceFlag{Name: "set", Usage: "`PATTERN=SCHEME` for the tensors that match, the last match winning; or KEY=VALUE overrides the checkpoint's config.json (repeatable)"},
			&cli.StringFlag{Name: "recipe", Usage: "read the same settings from a YAML `FILE`; flags override it"},
			forFlag, dryRunFlag, forceFlag, jsonFlag, quietFlag,
		}, calibrationFlags, budgetFlags),
		Action: func(c *cli.Context) error {
			recipe, overrides, err := recipeOf(c)
			if err != nil {
				return err
			}
			return writeModel(c, recipe, overrides)
		},
	}
}

// recipeOf reads --recipe, lays the other flags over it, and returns apart the
// config overrides among the --set values.
func recipeOf(c *cli.Context) (recipe *quantize.Recipe, overrides []string, err error) {
	recipe = &quantize.Recipe{}
	if path := c.String("recipe"); path != "" {
		text, err := readText(c.Context, path, 1<<20)
		if err != nil {
			return nil, nil, err
		}
		if recipe, err = quantize.ParseRecipe([]byte(text)); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
		}
	}
	for name, field := range map[string]*string{
		"scheme": &recipe.Scheme, "embedding": &recipe.Embedding, "head": &recipe.Head, "method": &recipe.Method,
	} {
		if c.IsSet(name) {
			*field = c.String(name)
		}
	}
	if c.IsSet("without") {
		recipe.Without = strings.Split(c.String("without"), ",")
	}
	calibrates(c, recipe) // which may choose the method
	if err := recipe.CheckMethod(); err != nil {
		return nil, nil, err
	}
	for _, text := range c.StringSlice(setFlag.Name) {
		if isConfig(text) {
			overrides = append(overrides, text)
			continue
		}
		rule, err := quantize.ParseRule(text)
		if err != nil {
			return nil, nil, fmt.Errorf("--set %w", err)
		}
		recipe.Rules = append(recipe.Rules, rule)
	}
	return recipe, overrides, nil
}

// isConfig tells a config override, "layer_sharing=true", from a rule: a rule's
// key is a tensor's name or has a dot or a star, or its value is a scheme.
func isConfig(set string) bool {
	key, value, _ := strings.Cut(set, "=")
	_, err := qtensor.ParseScheme(value)
	return err != nil && value != quantize.Keep && !strings.ContainsAny(key, ".*?[") &&
		!slices.Contains([]string{model.Embed, model.Head, model.Norm}, key)
}
