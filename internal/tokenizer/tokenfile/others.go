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
	d.noteMoved("a file beside " + jsonFile)
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
	next   int            // the ID after the largest in Added
	own    map[string]int // ids of the model's own vocabulary, by the bytes of the token
	others map[string]int // ids of tokens that the model cannot produce
}

// addedAs returns the added token with a text, or nil.
func (d *draft) addedAs(content string) *tokenizer.Added {
	x := &d.index
	if x.added == nil || len(x.added) != len(d.Added) {
		x.added, x.next = make(map[string]int, len(d.Added)), 0
		for i, a := range d.Added {
			x.added[a.Content], x.next = i, max(x.next, int(a.ID)+1)
		}
	}
	if i, ok := x.added[content]; ok {
		return &d.Added[i]
	}
	return nil
}

// append adds a token to d.Added, which does not have its text.
func (d *draft) append(a tokenizer.Added) {
	d.addedAs("") // makes the index
	d.index.added[a.Content], d.index.next = len(d.Added), max(d.index.next, int(a.ID)+1)
	d.Added = append(d.Added, a)
}

// findToken returns the id of the token that the vocabulary writes as content, or -1.
func (d *draft) findToken(content string) int {
	x := &d.index
	if x.own == nil {
		x.own, x.others = make(map[string]int, len(d.Tokens)), map[string]int{}
		for id, t := range slices.Backward(d.Tokens) { // the first of equal ones counts
			if _, literal := slices.BinarySearch(d.Literal, uint32(id)); literal {
				x.others[string(t)] = id
			} else {
				x.own[string(t)] = id
			}
		}
	}
	b, producible := d.appendToken(nil, content)
	of := x.others
	if producible {
		of = x.own
	}
	if id, ok := of[string(b)]; ok {
		return id
	}
	return -1
}

// put adds a token as Hugging Face's library does: one that is there gets its flags, one in the
// vocabulary keeps its id there, and a new one gets the next id, whatever a.ID is.
func (d *draft) put(a tokenizer.Added) error {
	if a.Content == "" {
		d.noteEmpty("a file beside " + jsonFile)
		return nil
	}
	listed := a.ID
	if old := d.addedAs(a.Content); old != nil {
		a.ID = old.ID
		*old = a
	} else {
		id := d.findToken(a.Content)
		if id < 0 {
			if id = len(d.Tokens); d.vocabulary > 0 {
				id = max(d.vocabulary, d.index.next)
			}
			if len(d.Added) == tokenizer.MaxAdded || id < len(d.Tokens) && len(d.Tokens[id]) > 0 {
				return defect.Corrupt(configFile, "", "adds %q, for which there is no id: %d is taken, or there are %d added tokens", defect.Printable(a.Content), id, tokenizer.MaxAdded)
			}
			d.place(id, a.Content)
		}
		a.ID = uint32(id)
		d.append(a)
	}
	if listed != a.ID && listed != noID {
		d.moved = append(d.moved, fmt.Sprintf("%s as %d instead of %d", defect.Printable(a.Content), listed, a.ID))
	}
	return nil
}

// noteMoved notes the added tokens that file lists with other ids than they get.
func (d *draft) noteMoved(file string) {
	if len(d.moved) > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("%s lists %s with another id than the order of the list gives, which counts, as in transformers: %s", file, defect.Counted(len(d.moved), "token"), defect.Some(d.moved)))
		d.moved = nil
	}
}

// place gives an id without a token one that the model cannot produce.
func (d *draft) place(id int, content string) {
	if id == len(d.Tokens) {
		d.Tokens = append(d.Tokens, nil)
	}
	d.Tokens[id] = []byte(content)
	d.index.others[content] = id
	if at, literal := slices.BinarySearch(d.Literal, uint32(id)); !literal {
		d.Literal = slices.Insert(d.Literal, at, uint32(id))
	}
}

// inOrder is an object's values in the order of the file.
type inOrder []any
