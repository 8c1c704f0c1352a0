package tokenfile

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

const (
	addedFile    = "added_tokens.json"
	specialsFile = "special_tokens_map.json"

	listedKey     = "added_tokens_decoder"
	extraKey      = "extra_special_tokens"
	additionalKey = "additional_special_tokens"
)

// roles lists the keys of tokens with a role, in the order in which transformers adds them.
var roles = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// addOthers adds the tokens that the files beside a tokenizer.json name and it lacks, as
// transformers 5.24 does (tokenization_utils_base.py, _from_pretrained;
// tokenization_utils_tokenizers.py, TokenizersBackend): first those in added_tokens_decoder or,
// without that key, in added_tokens.json, whose flags replace the ones in tokenizer.json; then
// those with a role, and all other special tokens.
func (d *draft) addOthers(config *fields, files Files) error {
	before := len(d.Added)
	listed := config.take(listedKey)
	if listed == nil {
		if err := config.override(files.Specials); err != nil {
			return err
		}
	}
	var more []tokenizer.Added
	var err error
	if listed != nil {
		more, err = readListed(object(configFile, listedKey, listed))
	} else {
		more, err = d.readAdded(files.Added, config)
	}
	if err != nil {
		return err
	}
	slices.SortStableFunc(more, func(a, b tokenizer.Added) int { return cmp.Compare(a.ID, b.ID) })
	named := config.named()
	for _, a := range more {
		a.Special = a.Special || named[a.Content]
		if err := d.put(a); err != nil {
			return err
		}
	}
	if err := d.addRoles(config); err != nil {
		return err
	}
	if added := d.Added[before:]; len(added) > 0 {
		var names []string
		for _, a := range added {
			names = append(names, fmt.Sprintf("%s (%d)", defect.Printable(a.Content), a.ID))
		}
		d.Notes = append(d.Notes, fmt.Sprintf("%s does not list %s that files beside it add, as in transformers: %s", jsonFile, defect.Counted(len(added), "token"), defect.Some(names)))
	}
	return nil
}

// ListsAdded reports whether a tokenizer_config.json has the list of added tokens, beside which
// added_tokens.json and special_tokens_map.json do not count.
func ListsAdded(config []byte) bool { return bytes.Contains(config, []byte(`"`+listedKey+`"`)) }

// override replaces keys of a tokenizer_config.json by those of a special_tokens_map.json.
func (f *fields) override(specials []byte) error {
	s, err := parseObject(specialsFile, specials)
	if err != nil {
		return err
	}
	for key, v := range s.m {
		if a, ok := v.([]any); ok && key == extraKey {
			own, _ := f.m[key].([]any)
			v = append(slices.Clone(own), a...)
		}
		f.m[key] = v
	}
	f.order = append(f.order, s.order...)
	return nil
}

// named returns the tokens that the config calls special.
func (f *fields) named() map[string]bool {
	all := map[string]bool{}
	for _, key := range roles {
		if text, ok := contentOf(f.m[key]); ok {
			all[text] = true
		}
	}
	return all
}

// contentOf returns the text of v, a token as a string or as an object.
func contentOf(v any) (text string, ok bool) {
	if m, isObject := v.(map[string]any); isObject {
		v = m["content"]
	}
	text, ok = v.(string)
	return text, ok && text != ""
}

// readListed reads the tokens in f, which is added_tokens_decoder. An ID is the one in the
// file.
func readListed(f *fields) (all []tokenizer.Added, err error) {
	if f.err != nil {
		return nil, f.err
	}
	for _, key := range slices.Sorted(maps.Keys(f.m)) {
		id, err := strconv.ParseUint(key, 10, 32)
		if err != nil || id >= tokenizer.MaxTokens || key != strconv.FormatUint(id, 10) {
			return nil, defect.Corrupt(configFile, f.path, "%q is not a token id", defect.Printable(key))
		}
		t := object(configFile, f.path+"."+key, f.m[key])
		a := tokenizer.Added{ID: uint32(id), Content: t.str("content"), Special: t.flag("special"), SingleWord: t.flag("single_word"), LStrip: t.flag("lstrip"), RStrip: t.flag("rstrip")}
		a.Normalized = t.flagOr("normalized", !a.Special)
		if t.err != nil {
			return nil, t.err
		}
		all = append(all, a)
	}
	return all, nil
}

// readAdded reads the tokens in an added_tokens.json that d does not have.
func (d *draft) readAdded(text []byte, config *fields) ([]tokenizer.Added, error) {
	f, err := parseObject(addedFile, text)
	if err != nil {
		return nil, err
	}
	special := config.named()
	for _, v := range extraTokens(config) {
		if text, ok := contentOf(v); ok {
			special[text] = true
		}
	}
	var all []tokenizer.Added
	for _, content := range slices.Sorted(maps.Keys(f.m)) {
		id := f.id(defect.Printable(content), f.m[content], tokenizer.MaxTokens)
		if d.addedAs(content) == nil {
			all = append(all, tokenizer.Added{ID: uint32(id), Content: content, Special: special[content], Normalized: !special[content]})
		}
	}
	return all, f.err
}

// extraTokens returns the tokens of the list extra_special_tokens or additional_special_tokens.
func extraTokens(config *fields) []any {
	list, _ := config.m[extraKey].([]any)
	if others, ok := config.m[additionalKey].([]any); ok && len(list) == 0 {
		list = others
	}
	return list
}

// addRoles adds the tokens with a role, those of keys such as image_token, and the other
// special ones. It leaves the texts of the roles in config, for apply.
func (d *draft) addRoles(config *fields) error {
	var tokens []any
	for _, key := range roles {
		if v := config.m[key]; v != nil {
			tokens = append(tokens, v)
			if text, ok := contentOf(v); ok {
				config.m[key] = text
			}
		}
	}
	for _, key := range config.order {
		if text, ok := config.m[key].(string); ok && strings.HasSuffix(key, "_token") && !slices.Contains(roles, key) {
			tokens = append(tokens, text)
		}
	}
	if named, ok := config.m[extraKey].(inOrder); ok {
		tokens = append(tokens, named...)
	}
	for _, v := range append(tokens, extraTokens(config)...) {
		text, ok := contentOf(v)
		if !ok || d.addedAs(text) != nil {
			continue // apply says what is wrong with a role
		}
		a := tokenizer.Added{Content: text, Special: true, ID: noID}
		if m, ok := v.(map[string]any); ok {
			a.SingleWord, a.LStrip, a.RStrip, a.Normalized = m["single_word"] == true, m["lstrip"] == true, m["rstrip"] == true, m["normalized"] == true
		}
		if err := d.put(a); err != nil {
			return err
		}
	}
	return nil
}

// noID is the ID of a token that a file lists without one.
const noID = ^uint32(0)

// An index finds the tokens of a draft by their texts.
type index struct {
	added  map[string]int // places in Added
	tokens map[string]int // ids of the model's own vocabulary, by the bytes of the token
}

// addedAs returns the added token with a text, or nil.
func (d *draft) addedAs(content string) *tokenizer.Added {
	if d.index.added == nil || len(d.index.added) != len(d.Added) {
		d.index.added = make(map[string]int, len(d.Added))
		for i, a := range d.Added {
			d.index.added[a.Content] = i
		}
	}
	if i, ok := d.index.added[content]; ok {
		return &d.Added[i]
	}
	return nil
}

// own returns the id of the token that the model's vocabulary writes as content.
func (d *draft) own(content string) (id int, ok bool) {
	if d.index.tokens == nil {
		d.index.tokens = make(map[string]int, len(d.Tokens))
		for id, t := range d.Tokens {
			if _, literal := slices.BinarySearch(d.Literal, uint32(id)); !literal {
				d.index.tokens[string(t)] = id
			}
		}
	}
	b, producible := d.appendToken(nil, content)
	if !producible {
		return d.findToken(content), d.findToken(content) >= 0
	}
	id, ok = d.index.tokens[string(b)]
	return id, ok
}

// put adds a token as Hugging Face's library does: one that is there gets its flags, one in the
// vocabulary keeps its id there, and a new one gets the next id, whatever a.ID is.
func (d *draft) put(a tokenizer.Added) error {
	listed := a.ID
	if old := d.addedAs(a.Content); old != nil {
		a.ID = old.ID
		*old = a
	} else {
		id, ok := d.own(a.Content)
		if !ok {
			id = d.next()
			if id < len(d.Tokens) && len(d.Tokens[id]) > 0 {
				return defect.Corrupt(configFile, "", "adds %q, whose id %d is taken, as the vocabulary leaves out ids before it", defect.Printable(a.Content), id)
			}
			d.place(id, a.Content)
		}
		a.ID = uint32(id)
		d.Added = append(d.Added, a)
		d.index.added[a.Content] = len(d.Added) - 1
	}
	if listed != a.ID && listed != noID {
		d.Notes = append(d.Notes, fmt.Sprintf("%s is listed as id %d; as in transformers, it gets %d", defect.Printable(a.Content), listed, a.ID))
	}
	return nil
}

// next returns the id of the next new token: the number of tokens in the model's own vocabulary,
// or the one after the last added token, if that is larger.
func (d *draft) next() int {
	if d.vocabulary == 0 {
		return len(d.Tokens)
	}
	n := d.vocabulary
	for _, a := range d.Added {
		n = max(n, int(a.ID)+1)
	}
	return n
}

// place gives an id without a token one that the model cannot produce.
func (d *draft) place(id int, content string) {
	if id == len(d.Tokens) {
		d.Tokens = append(d.Tokens, nil)
	}
	d.Tokens[id] = []byte(content)
	if at, literal := slices.BinarySearch(d.Literal, uint32(id)); !literal {
		d.Literal = slices.Insert(d.Literal, at, uint32(id))
	}
}

// inOrder is an object's values in the order of the file.
type inOrder []any
