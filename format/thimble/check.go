package thimble

import (
	"bytes"
	"context"
	"fmt"
	"hash"
	"strings"
	"sync"
	"time"

	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/parallel"
)

// remedy is what to do about a damaged file.
const remedy = "copy the file again from an undamaged one, or make it again"

// Check reads the whole container at path. In addition to the checks of Open, it verifies
// the digest of every tensor, of a coded one also after decoding, and of the tokenizer, that the tokenizer decodes, and that
// all gaps are zero. It finds any flipped bit, and any missing or added bytes. The error
// describes the first damaged part and names all others.
//
// Check calls progress, which may be nil, with the bytes read so far and the total, from
// one goroutine at a time.
func Check(ctx context.Context, path string, progress func(done, total int64)) error {
	_, err := CheckTimed(ctx, path, progress)
	return err
}

// CheckTimed is Check. It also returns how long it took to verify and decode the coded tensors, as
// whoever opens the file does; 0 if there are none.
func CheckTimed(ctx context.Context, path string, progress func(done, total int64)) (decoding time.Duration, err error) {
	c, err := open(path)
	if err != nil {
		return 0, err
	}
	defer c.file.Close()
	if err := c.check(ctx, progress); err != nil {
		return 0, err
	}
	return c.decoding, c.checkDecoded(ctx)
}

// A section is a part of the file with a digest, including the gaps around its extents.
type section struct {
	name     string
	from, to int64
	extents  []extent
	sums     []checksum
}

// sections divides the bytes after the header. With quick, a tensor is compared by its CRC-32C
// alone, if it has one.
func (c *container) sections(quick bool) []section {
	all := make([]section, 0, 2+len(c.planes))
	all = append(all, section{tokenizerName, c.layout.header.end(), c.data, []extent{c.layout.tokenizer}, []checksum{c.header.Tokenizer.SHA256.checksum()}})
	from := c.data
	for i, p := range c.planes {
		if c.contents.Tensors[i].Coded {
			continue
		}
		s := section{c.contents.Tensors[i].Name, from, from, p[:], c.header.Tensors[i].checksums(quick)}
		for _, e := range p {
			s.to = max(s.to, align(e.end(), planeAlign))
		}
		all, from = append(all, s), s.to
	}
	if n := len(c.coded); n > 0 { // what follows the last piece
		last := c.coded[n-1]
		all = append(all, section{name: last.Name, from: last.pieces[len(last.pieces)-1].end(), to: c.size, extents: []extent{{}}})
	}
	return all
}

// checksums returns the checksums of a tensor: with quick, the one that takes the least time.
func (r *record) checksums(quick bool) []checksum {
	sha, crc := r.SHA256.checksum(), checksum{"CRC-32C", newCRC32C, r.CRC32C}
	switch {
	case len(r.CRC32C) == 0: // files written before there was one
		return []checksum{sha}
	case quick:
		return []checksum{crc}
	}
	return []checksum{sha, crc}
}

// check compares every checksum of the file, and decodes coded tensors. It releases what it has
// read: the next use of a tensor maps its pages again, from the system's cache if the file fits
// there.
func (c *container) check(ctx context.Context, progress func(done, total int64)) error {
	return c.compare(ctx, false, progress)
}

// scan is check for a program that is about to use all tensors: it finds any damage, but not
// whoever made tensors with the CRC-32C of others, in a tenth of the time, and keeps what it has
// read in memory.
func (c *container) scan(ctx context.Context, progress func(done, total int64)) error {
	return c.compare(ctx, true, progress)
}

// compare is check, or with quick scan.
func (c *container) compare(ctx context.Context, quick bool, progress func(done, total int64)) error {
	var (
		all    = c.sections(quick)
		faults = make([]error, len(all))
		mu     sync.Mutex
		done   = all[0].from
	)
	count := func(n int64) error {
		mu.Lock()
		defer mu.Unlock()
		done += n
		if progress != nil {
			progress(done, c.size)
		}
		return ctx.Err()
	}
	err := parallel.Do(ctx, len(all), func(_, i int) (err error) {
		faults[i], err = c.verify(all[i], quick, count)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(c.path), err)
	}
	began := time.Now()
	inCoded, err := c.load(ctx, count)
	if len(c.coded) > 0 {
		c.decoding = time.Since(began)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(c.path), err)
	}
	for _, t := range c.coded {
		all, faults = append(all, section{name: t.Name}), append(faults, inCoded[t.Name])
	}
	if err := joinFaults(all, faults); err != nil {
		return err
	}
	_, err = c.tokenizer()
	return err
}

// verify reads one section and returns the fault in it, or nil. An err ends the check. With keep,
// what it has read remains in memory.
func (c *container) verify(s section, keep bool, count func(n int64) error) (fault, err error) {
	const chunk = 4 << 20 // bytes between two checks of the context
	hashes := make([]hash.Hash, len(s.sums))
	for i, sum := range s.sums {
		hashes[i] = sum.hash()
	}
	at := s.from // offset of the next byte
	gap := func(to int64) {
		g := c.file.Data[at:to]
		if bytes.Count(g, []byte{0}) < len(g) && fault == nil {
			fault = &defect.CorruptError{File: c.path, Off: at, Field: s.name, Why: fmt.Sprintf("the gap from here to byte %d is not zero", to)}
		}
	}
	counted := s.from
	for _, e := range s.extents {
		if e.n == 0 {
			continue
		}
		gap(e.off)
		for at = e.off; at < e.end(); {
			n := min(chunk, e.end()-at)
			for _, h := range hashes {
				h.Write(c.file.Data[at : at+n])
			}
			at += n
			if !keep {
				mmap.Release(c.file.Data[at-n : at])
			}
			if err := count(at - counted); err != nil {
				return nil, err
			}
			counted = at
		}
	}
	gap(s.to)
	if first := s.extents[0]; first.n > 0 {
		for i, sum := range s.sums {
			if got := hashes[i].Sum(nil); !bytes.Equal(got, sum.want) {
				fault = sum.damaged(c.path, s.name, first.off, got)
				break
			}
		}
	}
	return fault, count(s.to - counted)
}

// joinFaults returns one error for all faults, in the order of the file.
func joinFaults(all []section, faults []error) error {
	var first error
	var more []string
	for i, err := range faults {
		switch {
		case err == nil:
		case first == nil:
			first = err
		default:
			more = append(more, all[i].name)
		}
	}
	switch {
	case first == nil:
		return nil
	case len(more) == 0:
		return fmt.Errorf("%w; %s", first, remedy)
	}
	return fmt.Errorf("%w; %d more damaged: %s; %s", first, len(more), defect.Printable(strings.Join(more, " ")), remedy)
}
