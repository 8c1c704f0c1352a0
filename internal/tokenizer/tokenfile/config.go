package tokenfile

import (
	"fmt"
	"maps"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/spelling"
)

const (
	configFile  = "tokenizer_config.json"
	templateKey = "chat_template"
)

// readConfig applies the files beside a tokenizer.json to d.
func (d *draft) readConfig(files Files) error {
	f, err := parseObject(configFile, files.Config)
	if err != nil {
		return err
	}
	if err := d.addOthers(f, files); err != nil {
		return err
	}
	if err := d.fixMistral(f, files.Checkpoint); err != nil {
		return err
	}
	if err := d.prefixSpace(f, files.Checkpoint); err != nil {
		return err
	}
	return d.apply(f)
}

// parseObject parses a file that contains an object. If b is nil, the object is empty.
func parseObject(file string, b []byte) (*fields, error) {
	f := object(file, "", map[string]any{})
	if len(b) == 0 {
		return f, nil
	}
	s := strictjson.NewDecoder(file, 0, b)
	s.AllowNaN()
	err := s.Object(func(key string) (err error) {
		f.order = append(f.order, key)
		if key == extraKey && s.Kind() == '{' { // the order decides on ids
			var values inOrder
			err = s.Object(func(string) error {
				v, err := s.Within(maxTree)
				values = append(values, v)
				return err
			})
			f.m[key] = values
			return err
		}
		f.m[key], err = s.Within(maxTree)
		return err
	})
	if err == nil {
		err = s.End()
	}
	return f, err
}

func (d *draft) apply(f *fields) error {
	for _, role := range []struct {
		key string
		id  *int
	}{{"bos_token", &d.BOS}, {"eos_token", &d.EOS}, {"pad_token", &d.Pad}, {"unk_token", &d.Unk}} {
		if v := f.take(role.key); v != nil {
			old := *role.id
			if err := d.setRole(role.key, v, role.id); err != nil {
				return err
			}
			if role.id == &d.Unk && d.Unknown != tokenizer.UnknownDropped && d.Unk != old {
				return contradiction(role.key, v)
			}
		}
	}
	if v := f.take(prefixKey); v != nil && v != d.prefixesSpace() {
		return contradiction(prefixKey, v)
	}
	if v := f.take("split_special_tokens"); v != nil && v != false {
		return defect.Unsupported(configFile+": split_special_tokens", "%s", show(v))
	}
	if v := f.take(mistralKey); v == true && len(d.Tokens) > mistralVocabulary {
		return defect.Unsupported(configFile+": "+mistralKey, "true, without a tokenizer.json")
	}
	return setTemplate(&d.Data, configFile, f.take(templateKey))
}

// applyEnds is apply for a tokenizer without a post-processor: it also puts BOS before every text
// and EOS after it, if these are wanted and exist.
func (d *draft) applyEnds(f *fields, before, after bool) error {
	if err := d.apply(f); err != nil {
		return err
	}
	if before && d.BOS >= 0 {
		d.Prefix = []uint32{uint32(d.BOS)}
	}
	if after && d.EOS >= 0 {
		d.Suffix = []uint32{uint32(d.EOS)}
	}
	return nil
}

// prefixesSpace reports whether d adds a space before a text.
func (d *draft) prefixesSpace() bool {
	for _, s := range d.Steps {
		if s == tokenizer.StepSpace || s == tokenizer.StepMark || s == tokenizer.StepMarkFirst {
			return true
		}
	}
	return slices.Contains(d.Normalizer, tokenizer.Rule{Op: tokenizer.OpPrepend, New: spelling.Mark})
}

func contradiction(key string, v any) error {
	return defect.Corrupt(configFile, key, "%s contradicts tokenizer.json; correct one of the two files", show(v))
}

// ParseTemplate sets the chat templates of d to those in text, a chat_template.json. file names it
// in errors.
func ParseTemplate(file string, text []byte, d *tokenizer.Data) error {
	f, err := parseObject(file, text)
	if err != nil {
		return err
	}
	return setTemplate(d, file, f.take(templateKey))
}

// HasTemplate reports whether config, a tokenizer_config.json that may be nil, has a chat template.
func HasTemplate(config []byte) bool {
	f, err := parseObject(configFile, config)
	return err == nil && f.take(templateKey) != nil
}

// setTemplate sets the chat template of d to v, a string, or the chat templates to those in v, a
// list or an object, by their names. file is the one that has v.
func setTemplate(d *tokenizer.Data, file string, v any) error {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		d.ChatTemplate = v
		return nil
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if text, ok := v[name].(string); ok {
				d.SetTemplate(name, text)
			}
		}
		return nil
	case []any:
		for i, v := range v {
			f := object(file, fmt.Sprintf("%s[%d]", templateKey, i), v)
			name, text := f.str("name"), f.str("template")
			if f.err != nil {
				return f.err
			}
			d.SetTemplate(name, text)
		}
		return nil
	}
	return defect.Corrupt(file, templateKey, "want a string, a list or an object, found %s", kind(v))
}

// setRole sets *id to the token v and makes it a special added token, so that Encode finds
// it in text, as in transformers.
func (d *draft) setRole(key string, v any, id *int) error {
	content, isText := v.(string)
	if !isText {
		content = object(configFile, key, v).str("content")
	}
	if content == "" {
		return defect.Corrupt(configFile, key, "want a token or an object with its content, found %s", show(v))
	}
	for i := range d.Added {
		a := &d.Added[i]
		if a.Content != content {
			continue
		}
		if !isText {
			if err := checkFlags(a, key, v); err != nil {
				return err
			}
		}
		a.Special = true
		*id = int(a.ID)
		return nil
	}
	n := d.findToken(content)
	if n < 0 {
		return defect.Corrupt(configFile, key, "%q is not in the vocabulary", defect.Printable(content))
	}
	a := tokenizer.Added{ID: uint32(n), Content: content, Special: true}
	if m, ok := v.(map[string]any); ok {
		a.SingleWord, a.LStrip, a.RStrip = m["single_word"] == true, m["lstrip"] == true, m["rstrip"] == true
		a.Normalized = m["normalized"] == true
	}
	d.Added = append(d.Added, a)
	*id = n
	return nil
}

// checkFlags returns an error if v, an added token as an object, has a flag that differs
// from a.
func checkFlags(a *tokenizer.Added, key string, v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return defect.Corrupt(configFile, key, "want an object, found %s", kind(v))
	}
	for _, flag := range []struct {
		name string
		want bool
	}{{"single_word", a.SingleWord}, {"lstrip", a.LStrip}, {"rstrip", a.RStrip}, {"normalized", a.Normalized}} {
		if v, ok := m[flag.name]; ok && v != flag.want {
			return contradiction(key+"."+flag.name, v)
		}
	}
	return nil
}
