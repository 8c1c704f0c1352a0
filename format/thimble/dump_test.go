package thimble

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/qtensor"
)

var update = flag.Bool("update", false, "rewrite the hexdump in docs/FORMAT.md")

const formatDoc = "../../docs/FORMAT.md"

// TestHexdump checks docs/FORMAT.md: the bytes of its hexdump are those of the
// writer, and each annotation is right.
func TestHexdump(t *testing.T) {
	_, data := valid(t)
	doc, err := os.ReadFile(formatDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(doc), "```hexdump\n")
	dump, after, ok2 := strings.Cut(rest, "```\n")
	if !ok1 || !ok2 {
		t.Fatalf("%s has no hexdump", formatDoc)
	}
	want := annotate(t, data)
	if *update {
		if err := os.WriteFile(formatDoc, []byte(before+"```hexdump\n"+want+"```\n"+after), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := assemble(t, dump); !bytes.Equal(got, data) {
		t.Errorf("the bytes of the hexdump are not those of the writer; if the format changed on purpose, run: go test ./format/thimble -run Hexdump -update")
	}
	for i, line := range strings.Split(want, "\n") {
		if !strings.HasPrefix(dump, line) {
			t.Fatalf("hexdump, line %d: got %.90q, want %q", i+1, dump, line)
		}
		dump = strings.TrimPrefix(dump[len(line):], "\n")
	}
}

// assemble returns the bytes of a hexdump: each line is an offset, bytes in
// groups or "00 * n", and a comment after ';'.
func assemble(t *testing.T, dump string) (data []byte) {
	t.Helper()
	for line := range strings.Lines(dump) {
		code, _, _ := strings.Cut(line, ";")
		f := strings.Fields(code)
		if len(f) == 0 {
			continue
		}
		if off, err := strconv.ParseInt(f[0], 16, 64); err != nil || off != int64(len(data)) {
			t.Fatalf("line %q is at %d", line, len(data))
		}
		if len(f) == 4 && f[2] == "*" {
			n, err := strconv.Atoi(f[3])
			if err != nil {
				t.Fatal(err)
			}
			data = append(data, make([]byte, n)...)
			continue
		}
		b, err := hex.DecodeString(strings.Join(f[1:], ""))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		data = append(data, b...)
	}
	return data
}

// A dumper writes the hexdump of data line by line.
type dumper struct {
	out  strings.Builder
	data []byte
	at   int
}

// line writes a line with the next bytes, in groups of the given lengths.
func (d *dumper) line(comment string, groups ...int) {
	var b strings.Builder
	fmt.Fprintf(&b, "%05x ", d.at)
	for _, n := range groups {
		fmt.Fprintf(&b, " %x", d.data[d.at:d.at+n])
		d.at += n
	}
	fmt.Fprintf(&d.out, "%-40s ; %s\n", b.String(), comment)
}

func (d *dumper) gap(to int64) {
	if n := int(to) - d.at; n > 0 {
		fmt.Fprintf(&d.out, "%-40s ; gap\n", fmt.Sprintf("%05x  00 * %d", d.at, n))
		d.at += n
	}
}

func (d *dumper) title(format string, args ...any) {
	fmt.Fprintf(&d.out, "; "+format+"\n", args...)
}

func annotate(t *testing.T, data []byte) string {
	c, err := parse("file", data)
	if err != nil {
		t.Fatal(err)
	}
	d := &dumper{data: data}
	d.title("preamble")
	v := reflect.ValueOf(c.preamble)
	for i := range v.NumField() {
		f := v.Field(i).Interface()
		comment := strings.ToLower(v.Type().Field(i).Name)
		if _, number := f.(fmt.Stringer); !number && i > 0 {
			comment += fmt.Sprintf(" = %d", f)
		}
		d.line(comment, binary.Size(f))
	}
	d.title("header")
	d.item("")
	d.gap(c.layout.tokenizer.off)
	d.title("tokenizer")
	d.item("")
	d.gap(c.data)
	for i, e := range c.contents.Tensors {
		for j, p := range c.planes[i] {
			if p.n > 0 {
				d.plane(fmt.Sprintf("%s %s (%d, %d) %v", e.Name, [...]string{"codes", "scales", "mins"}[j], e.Rows, e.Cols, e.Scheme), p, e.Rows)
			}
		}
	}
	d.gap(c.size)
	return d.out.String()
}

// plane writes a plane, with as many whole rows in a line as fit in 32 bytes.
func (d *dumper) plane(title string, p extent, rows int) {
	d.gap(p.off)
	d.title("%s", title)
	row := int(p.n) / rows
	for r := 0; r < rows; {
		n := min(max(1, 32/row), rows-r)
		groups := make([]int, n)
		for i := range groups {
			groups[i] = row
		}
		comment := fmt.Sprintf("row %d", r)
		if n > 1 {
			comment = fmt.Sprintf("rows %d to %d", r, r+n-1)
		}
		d.line(comment, groups...)
		r += n
	}
}

// item writes one CBOR item: a line for each scalar, with its key if it is a map's
// value, and a line for the head of each array and map.
func (d *dumper) item(indent string) { d.pair(indent, "", 0) }

func (d *dumper) pair(indent, key string, keyLen int) {
	major, n, head := d.head(keyLen)
	label := indent + key
	if key != "" {
		label += ": "
	}
	groups := []int{head}
	if keyLen > 0 {
		groups = []int{keyLen, head}
	}
	switch major {
	case 4:
		d.line(fmt.Sprintf("%sarray of %d", label, n), groups...)
		for range n {
			d.item(indent + "  ")
		}
	case 5:
		d.line(fmt.Sprintf("%smap of %d", label, n), groups...)
		for range n {
			_, text, length := d.scalar(0)
			d.pair(indent+"  ", strings.Trim(text, `"`), length)
		}
	default:
		_, text, length := d.scalar(keyLen)
		groups[len(groups)-1] = length
		d.line(label+text, groups...)
	}
}

// head decodes the head of the item that begins after skip bytes.
func (d *dumper) head(skip int) (major int, n uint64, length int) {
	b := d.data[d.at+skip:]
	major, n = int(b[0]>>5), uint64(b[0]&31)
	switch n {
	case 24:
		return major, uint64(b[1]), 2
	case 25:
		return major, uint64(binary.BigEndian.Uint16(b[1:])), 3
	case 26:
		return major, uint64(binary.BigEndian.Uint32(b[1:])), 5
	case 27:
		return major, binary.BigEndian.Uint64(b[1:]), 9
	}
	return major, n, 1
}

func (d *dumper) scalar(skip int) (major int, text string, length int) {
	major, n, length := d.head(skip)
	b := d.data[d.at+skip:]
	if major == 2 || major == 3 {
		body := b[length : length+int(n)]
		length += int(n)
		switch {
		case major == 3:
			return major, strconv.Quote(string(body)), length
		case n > 8:
			return major, fmt.Sprintf("%d bytes", n), length
		}
		return major, fmt.Sprintf("h'%x'", body), length
	}
	var v any
	if err := cbor.Unmarshal(b[:length], &v); err != nil {
		return major, err.Error(), length
	}
	return major, fmt.Sprint(v), length
}

// TestLiteralReader reads containers with every scheme literally by docs/FORMAT.md,
// without this package or qtensor.
func TestLiteralReader(t *testing.T) {
	for _, kind := range []string{"sym", "asym", "s4", "nl"} {
		for bits := 2; bits <= 8; bits++ {
			for _, group := range []int{0, 8, 24} {
				if kind == "s4" && group == 0 || kind == "nl" && bits != 4 {
					continue
				}
				c := tiny()
				c.Spec.Hidden, c.Spec.FFN = 20, 29
				c.Tensors = nil
				for i, s := range c.Spec.Slots() {
					e := Entry{Name: s.Name, Scheme: qtensor.Scheme{Kind: qtensor.Kind(i % 3)}, Rows: s.Rows, Cols: s.Cols}
					if s.Rows > 1 && i%5 > 0 {
						e.Scheme = qtensor.Scheme{Kind: qtensor.Int, Bits: bits, Group: group, Asym: kind == "asym", Short: kind == "s4", Uneven: kind == "nl"}
					}
					c.Tensors = append(c.Tensors, e)
				}
				compareLiteral(t, c)
			}
		}
	}
}

// compareLiteral writes c and reads every value with literal.
func compareLiteral(t *testing.T, c *Contents) {
	t.Helper()
	path := t.TempDir() + "/file"
	if err := write(path, c, fill, Options{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tensors := literal(data)
	for _, e := range c.Tensors {
		m, row := fill(e), make([]float32, e.Cols)
		for r := range e.Rows {
			new(qtensor.Reader).Row(row, m, r)
			for i, want := range row {
				if got := tensors[e.Name](r, i); math.Float32bits(got) != math.Float32bits(want) {
					t.Fatalf("%s %v: row %d, column %d is %v, want %v", e.Name, e.Scheme, r, i, got, want)
				}
			}
		}
	}
}

// literal returns the value of each tensor's row r, column i.
func literal(file []byte) map[string]func(r, i int) float32 {
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	var h struct {
		Tensors []struct {
			Name                            string
			Scheme                          string
			Rows, Cols, Codes, Scales, Mins int
		}
	}
	if err := cbor.Unmarshal(file[72:72+u32(file[12:])], &h); err != nil {
		panic(err)
	}
	data := file[u64(file[24:]):]
	half := func(off, i int) float32 { return qtensor.FromFloat16(binary.LittleEndian.Uint16(data[off+2*i:])) }
	tensors := map[string]func(r, i int) float32{}
	for _, x := range h.Tensors {
		tensors[x.Name] = func(r, i int) float32 {
			at := r*x.Cols + i
			switch x.Scheme {
			case "f32":
				return math.Float32frombits(u32(data[x.Codes+4*at:]))
			case "f16":
				return half(x.Codes, at)
			case "bf16":
				return math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[x.Codes+2*at:])) << 16)
			}
			part := strings.Split(x.Scheme, "/")
			bits, _ := strconv.Atoi(part[0][3:])
			group, groups := x.Cols, 1
			if part[1] != "row" {
				group, _ = strconv.Atoi(part[1][1:])
				groups = (x.Cols + group - 1) / group
			}
			// The binary digits of the width, largest first, are the parts of a row.
			stride := 0
			for width := 8; width > 0; width /= 2 {
				if bits&width != 0 {
					stride += (x.Cols*width + 7) / 8
				}
			}
			row, shift, code := data[x.Codes+r*stride:], 0, 0
			for width := 8; width > 0; width /= 2 {
				if bits&width != 0 {
					code |= int(row[i*width/8]) >> (i * width % 8) & (1<<width - 1) << shift
					row, shift = row[(x.Cols*width+7)/8:], shift+width
				}
			}
			if part[2] == "nl" {
				bits, code = 8, 128+[]int{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}[code]
			}
			g := r*groups + i/group
			if part[2] == "s4" {
				stride := ((groups+1)/2 + 2 + 3) / 4 * 4
				row, g := data[x.Scales+r*stride:][:stride], i/group
				level := [][]float32{
					{64, 56, 49, 42, 37, 32, 28, 24, -64, -56, -49, -42, -37, -32, -28, -24},
					{64, 59, 54, 49, 45, 41, 38, 35, 32, 29.5, 27, 24.5, 22.5, 20.5, 19, 17.5},
				}[min(bits/5, 1)]
				scale := half(x.Scales+(r+1)*stride-2, 0) * level[row[g/2]>>(4*(g%2))&15] / 64
				return scale*float32(code) - scale*float32(int(1)<<(bits-1))
			}
			if part[2] == "asym" {
				return float32(half(x.Scales, g)*float32(code)) + half(x.Mins, g)
			}
			return half(x.Scales, g)*float32(code) - half(x.Scales, g)*float32(int(1)<<(bits-1))
		}
	}
	return tensors
}
