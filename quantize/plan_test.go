package quantize

import (
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/quantize/rounding"
)

func TestPlanSentences(t *testing.T) {
	m := testModel(t)
	for _, c := range []struct {
		r    Recipe
		want string
	}{
		{Recipe{}, "no scheme is given"},
		{Recipe{Scheme: "int/4"}, `scheme "int/4" is not valid`},
		{Recipe{Scheme: "int4/g32", Method: "rtm"}, `there is no method "rtm" (did you mean "rtn"?); it is one of rtn, gptq`},
		{Recipe{Scheme: "int4/g32", Without: []string{"serch"}}, `method rtn has no step "serch" (did you mean "search"?); it has reorder, search`},
		{Recipe{Scheme: "int4/g32", Without: []string{rounding.StepDescent}}, `method rtn has no step "descent"; it has reorder, search`},
		{Recipe{Scheme: "int4/g32", Without: []string{rounding.StepSearch, rounding.StepSearch}}, `step "search" is left out twice`},
		{Recipe{Scheme: "int4/g32", Vectors: "int8/g32"}, "vectors cannot be stored as int8/g32/sym"},
		{Recipe{Scheme: "int4/g32", Rules: []Rule{{"blocks.*.dwon", "int8/g32"}}}, `rule "blocks.*.dwon" matches no tensor`},
		{Recipe{Scheme: "int4/g32", Rules: []Rule{{"blocks.[", "int8/g32"}}}, `pattern "blocks.["`},
		{Recipe{Scheme: "int4/g32", Rules: []Rule{{"norm", "int8/g32"}}}, "norm: a vector cannot be stored as int8/g32/sym"},
	} {
		if _, err := NewPlan(m, &c.r); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q...", c.r, err, c.want)
		}
	}
	m.Tensors[model.Name(0, model.Q)].Scheme = scheme(t, "int8/g32")
	want := "blocks.0.q: it is already quantized as int8/g32/sym; quantize from the original checkpoint instead"
	if _, err := NewPlan(m, &Recipe{Scheme: "int4/g32"}); err == nil || err.Error() != want {
		t.Errorf("error is %v, want %q", err, want)
	}
}

func TestPlanAppliesTheLastRule(t *testing.T) {
	m := testModel(t)
	p, err := NewPlan(m, &Recipe{
		Scheme: "int4/g32", Embedding: "int8/g32",
		Rules: []Rule{{"blocks.*.down", "int8/g32"}, {"blocks.1.*", "int4/g64/asym"}, {"blocks.1.attn_norm", "f16"}, {"blocks.1.ffn_norm", "keep"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"embed": "int8/g32/sym", "blocks.0.q": "int4/g32/sym", "blocks.0.down": "int8/g32/sym", "blocks.1.down": "int4/g64/asym",
		"blocks.1.q":         "int4/g64/asym",
		"blocks.1.attn_norm": "f16", "blocks.1.ffn_norm": "f32", "blocks.0.attn_norm": "f32", "norm": "f32",
	}
	sum := int64(0)
	for _, e := range p.Tensors {
		if w, ok := want[e.Name]; ok && e.To.String() != w {
			t.Errorf("%s becomes %v, want %s", e.Name, e.To, w)
		}
		sum += e.Bytes
	}
	if sum != p.Bytes {
		t.Errorf("plan of %d bytes, its tensors take %d", p.Bytes, sum)
	}
}
