package tokenfile

import (
	"fmt"
	"maps"

	"thimble/internal/defect"
)

// finishTemplate reads the post-processor, which adds ids before and after a text. A
// single id before the text is BOS and a single id after it is EOS, unless
// tokenizer_config.json sets them.
func (d *document) finishTemplate() error {
	if d.post == nil {
		return nil
	}
	if err := d.postProcessor(object(jsonFile, "post_processor", d.post)); err != nil {
		return err
	}
	if len(d.Prefix) == 1 {
		d.BOS = int(d.Prefix[0])
	}
	if len(d.Suffix) == 1 {
		d.EOS = int(d.Suffix[0])
	}
	return nil
}

func (d *document) postProcessor(f *fields) error {
	if f.err != nil {
		return f.err
	}
	switch kind := f.str("type"); kind {
	case "ByteLevel": // changes only offsets
		return nil
	case "Sequence":
		for i, v := range f.array("processors") {
			if err := d.postProcessor(object(jsonFile, fmt.Sprintf("%s.processors[%d]", f.path, i), v)); err != nil {
				return err
			}
		}
	case "TemplateProcessing":
		f.take("pair")
		d.template(f, object(jsonFile, f.path+".special_tokens", f.take("special_tokens")))
	case "BertProcessing", "RobertaProcessing": // [CLS] text [SEP]
		d.Prefix = append([]uint32{d.pairID(f, "cls")}, d.Prefix...)
		d.Suffix = append(d.Suffix, d.pairID(f, "sep"))
		f.take("trim_offsets") // they change offsets, which we do not report
		f.take("add_prefix_space")
	default:
		f.unsupported("type", "post-processor %s", defect.Printable(kind))
	}
	return f.done()
}

// pairID reads the id in a pair of a token's text and id.
func (d *document) pairID(f *fields, key string) uint32 {
	pair := f.array(key)
	if len(pair) != 2 {
		f.corrupt(key, "want a token and its id, found %s", show(pair))
		return 0
	}
	return uint32(f.id(key, pair[1], len(d.Tokens)))
}

// template adds the ids of a TemplateProcessing outside of the existing prefix and
// suffix.
func (d *document) template(f, specials *fields) {
	if specials.err != nil {
		f.err = specials.err
		return
	}
	var around [2][]uint32 // before the text, after it
	texts := 0
	for i, v := range f.array("single") {
		piece := object(jsonFile, fmt.Sprintf("%s.single[%d]", f.path, i), v)
		if m, ok := piece.m["Sequence"].(map[string]any); ok && m["id"] == "A" && len(piece.m) == 1 {
			texts++
			continue
		}
		m, ok := piece.m["SpecialToken"].(map[string]any)
		name, named := m["id"].(string)
		if !ok || !named || len(piece.m) != 1 || texts > 1 {
			f.unsupported("single", "%s", show(v))
			return
		}
		token := object(jsonFile, specials.path+"."+defect.Printable(name), specials.m[name])
		token.m = maps.Clone(token.m) // it may occur again in the template
		for _, id := range token.array("ids") {
			around[texts] = append(around[texts], uint32(token.id("ids", id, len(d.Tokens))))
		}
		if token.err != nil {
			f.err = token.err
			return
		}
	}
	if texts != 1 {
		f.unsupported("single", "a template with %d texts", texts)
	}
	d.Prefix = append(around[0], d.Prefix...)
	d.Suffix = append(d.Suffix, around[1]...)
}
