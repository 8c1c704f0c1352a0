// Package vocab knows the vocabularies of llama.cpp: how it cuts a text into pieces, by the name of a
// pre-tokenizer; how it spells the bytes of a token; and how scores stand for the order of merges.
package vocab

import (
	"slices"

	"thimble/internal/tokenizer"
)

// Names of steps, for the table.
const (
	digit  = tokenizer.StepDigit
	gpt2   = tokenizer.StepGPT2
	llama3 = tokenizer.StepLlama3
	qwen2  = tokenizer.StepQwen2
)

// split is the step that makes each match of a pattern, and the text between, a piece.
func split(pattern string) tokenizer.Step { return tokenizer.Step("isolated:" + pattern) }

// Parts of the patterns below.
const (
	suffixes = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	lowers   = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	uppers   = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	joint    = `[^\r\n\p{L}\p{N}]?`
	cased    = joint + uppers + `*` + lowers + `+`
	casedEnd = joint + uppers + `+` + lowers + `*`
	tails    = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	tails2   = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	gpt4o    = cased + suffixes + `?|` + casedEnd + suffixes + `?|\p{N}{1,3}` + tails
	hanKana  = "[一-龥\u3040-ゟ゠-ヿ]+"
	marks    = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
	deepseek = marks + "[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
	bloom    = ` ?[^(\s|.,!?…。，、।۔،)]+`
	hangul   = "[一-龥ࠀ-一가-퟿]+"
	latins   = `\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}` +
		`\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}` +
		`\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-` +
		`\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-` +
		`\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-` +
		`\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}` +
		`\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-` +
		`\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}` +
		`\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}` +
		`\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+`
)

// A PreTokenizer is how llama.cpp cuts a text for values of tokenizer.ggml.pre.
type PreTokenizer struct {
	Names        []string // export writes the first
	Steps        []tokenizer.Step
	IgnoreMerges bool
	AddBOS       bool // the default of add_bos_token
	NFC          bool // the original composes characters, which llama.cpp does not
}

// preTokenizers lists those of byte-level tokenizers (llama-vocab.cpp: load, for the names,
// and llm_tokenizer_bpe, for the patterns). Where llama.cpp approximates the pattern of a
// tokenizer.json, which it quotes, the original is here.
var preTokenizers = []PreTokenizer{
	{Names: []string{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"}, Steps: []tokenizer.Step{digit, gpt2}},
	{Names: []string{"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "exaone4", "jina-v1-en", "jina-v2-code", "roberta-bpe"}, Steps: []tokenizer.Step{gpt2}},
	{Names: []string{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"}, Steps: []tokenizer.Step{llama3}, IgnoreMerges: true, AddBOS: true},
	{Names: []string{"smaug-bpe", "dbrx", "chatglm-bpe"}, Steps: []tokenizer.Step{llama3}},
	{Names: []string{"glm4", "glm5"}, Steps: []tokenizer.Step{llama3}, IgnoreMerges: true},
	{Names: []string{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"}, Steps: []tokenizer.Step{qwen2}, NFC: true},
	{Names: []string{"stablelm2", "hunyuan", "solar-open", "grok-2"}, Steps: []tokenizer.Step{qwen2}},
	{Names: []string{"qwen35"}, Steps: []tokenizer.Step{split(suffixes + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`)}, NFC: true},
	{Names: []string{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, Steps: []tokenizer.Step{split(gpt4o)}},
	{Names: []string{"tekken"}, Steps: []tokenizer.Step{split(cased + `|` + casedEnd + `|\p{N}` + tails)}, IgnoreMerges: true, AddBOS: true},
	{Names: []string{"tiny_aya", "cohere2moe"}, Steps: []tokenizer.Step{split(`\d{1,3}(?=(?:\d{3})*\b)`), split(gpt4o)}},
	{Names: []string{"granite-embed-multi-97m"}, Steps: []tokenizer.Step{split(gpt4o)}, IgnoreMerges: true},
	{Names: []string{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, Steps: []tokenizer.Step{split(`\p{N}{1,3}`), split(hanKana), split(deepseek)}},
	{Names: []string{"spark2_5"}, Steps: []tokenizer.Step{split(`\p{N}{1,3}`), split(hanKana), split(marks + "|[\r\n]|\\s+(?!\\S)|\\s+"), split(`\p{N}`)}},
	{Names: []string{"deepseek-llm"}, Steps: []tokenizer.Step{split("[\r\n]"), split(latins), split("\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+"), split(`\s+$`), split(hangul), split(`\p{N}+`)}},
	{Names: []string{"deepseek-coder"}, Steps: []tokenizer.Step{split("[\r\n]"), split(`\s?\p{L}+`), split(`\s?\p{P}+`), split(hangul), split(`\p{N}`)}},
	{Names: []string{"falcon"}, Steps: []tokenizer.Step{split("[\\p{P}\\$\\+<=>\\^~\\|`]+"), gpt2, split(`[0-9][0-9][0-9]`)}},
	{Names: []string{"default", ""}, Steps: []tokenizer.Step{split(`[\p{P}\$\+<=>\^~\|]+`), gpt2, split(`\p{N}+`), split(`[0-9][0-9][0-9]`)}},
	{Names: []string{"poro-chat", "bloom", "gpt3-finnish"}, Steps: []tokenizer.Step{split(bloom)}},
	{Names: []string{"viking"}, Steps: []tokenizer.Step{split(bloom), split(`\p{N}`)}},
	{Names: []string{"jais-2"}, Steps: []tokenizer.Step{split(suffixes + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`)}},
	{Names: []string{"chameleon"}, Steps: []tokenizer.Step{split(`<sentinel:[0-9]+>`), split(`(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`), split(`([\t\n]|    |  )`), digit, split("[\\p{P}!-/:-@\\[-`{-~]"), gpt2}, AddBOS: true},
	{Names: []string{"superbpe"}, Steps: []tokenizer.Step{split(`\p{N}+`), split(`(?=(\d{3})+(?!\d))`)}},
	{Names: []string{"bailingmoe", "bailingmoe2", "llada-moe"}, Steps: []tokenizer.Step{split(`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`)}},
	{Names: []string{"seed-coder"}, Steps: []tokenizer.Step{split(suffixes + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}` + "\r\n" + `]+|\s*[` + "\r\n" + `]+|\s+(?!\S)|\s+`)}},
	{Names: []string{"ufakzeka"}, Steps: []tokenizer.Step{split(`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` + tails2)}},
	{Names: []string{"laguna"}, Steps: []tokenizer.Step{split("[^\\n]+|[\\n]+"), qwen2}},
	{Names: []string{"exaone-moe"}, Steps: []tokenizer.Step{split(suffixes + `|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`)}},
	{Names: []string{"minicpm5"}, Steps: []tokenizer.Step{split(`\p{N}{1,3}`), split(suffixes + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+` + tails2)}, IgnoreMerges: true},
	{Names: []string{"youtu"}, Steps: []tokenizer.Step{split("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + hanKana), split(cased + suffixes + `?|` + casedEnd + suffixes + `?|\p{N}` + tails)}, IgnoreMerges: true},
	{Names: []string{"afmoe"}, Steps: []tokenizer.Step{split(`\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`), split("[一-鿿㐀-䶿\u8c48-﫿\u3040-ゟ゠-ヿ･-ﾟ⼀-⿟เ-\u0e7f\u0e80-\u0effក-\u17ffက-႟ꩠ-ꩿꧠ-\ua9ff가-\ud7afᄀ-ᇿ]+"), split(deepseek)}},
	{Names: []string{"kimi-k2"}, Steps: []tokenizer.Step{split(`[\p{Han}]+|` + joint + `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+` + suffixes + `?|` + joint + `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*` + suffixes + `?|\p{N}{1,3}` + tails2)}},
}

// PreTokenizerNamed returns the entry of a name, or nil.
func PreTokenizerNamed(name string) *PreTokenizer {
	for i := range preTokenizers {
		if slices.Contains(preTokenizers[i].Names, name) {
			return &preTokenizers[i]
		}
	}
	return nil
}

// PreTokenizerOf returns the entry with the steps of d, and its IgnoreMerges if there is one
// with both, or nil.
func PreTokenizerOf(d *tokenizer.Data) (found *PreTokenizer) {
	for i := range preTokenizers {
		p := &preTokenizers[i]
		switch {
		case !slices.Equal(p.Steps, d.Steps):
		case p.IgnoreMerges == d.IgnoreMerges:
			return p
		case found == nil:
			found = p
		}
	}
	return found
}
