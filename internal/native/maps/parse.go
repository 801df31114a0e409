// SPDX-License-Identifier: Apache-2.0

package maps

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// longestLine bounds a line of smaps: 73 columns of numbers and a path, which
// the kernel limits to one page (PATH_MAX) and in which a newline takes four
// characters.
const longestLine = 64 << 10

// readers are used again: their buffers are larger than most of what is read.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, longestLine) }} //nolint:gochecknoglobals // A pool.

// Parse reads the text of a smaps file, or of a maps file, whose lines are the
// first lines of the entries in smaps. Mappings must not overlap and must rise,
// as the kernel lists them. Fields that are not in VMA are ignored.
func Parse(r io.Reader) ([]VMA, error) {
	br := readers.Get().(*bufio.Reader) //nolint:errcheck,forcetypeassert // There is nothing else in it.
	br.Reset(r)
	defer func() {
		br.Reset(nil)
		readers.Put(br)
	}()
	var vmas []VMA
	for {
		line, err := br.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return vmas, nil
		}
		if err != nil {
			// The kernel ends every line, so a last one without an end was cut.
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("line %q: %w", clip(line), err)
		}
		line = line[:len(line)-1]
		if isField(line) {
			if len(vmas) == 0 {
				return nil, fmt.Errorf("field %q before the first mapping", clip(line))
			}
			if err := vmas[len(vmas)-1].parseField(line); err != nil {
				return nil, err
			}
			continue
		}
		v, err := parseHeader(line)
		if err != nil {
			return nil, err
		}
		if n := len(vmas); n > 0 && v.Start < vmas[n-1].End {
			return nil, fmt.Errorf("mapping %x-%x is not behind the one before, which ends at %x", v.Start, v.End, vmas[n-1].End)
		}
		vmas = append(vmas, v)
	}
}

// isField tells "Name:  value" from the first line of an entry, which begins
// with a number in lower case digits: the names begin with a capital or, as
// THPeligible, hold no '-' before the colon.
func isField(line []byte) bool {
	return len(line) > 0 && line[0] >= 'A' && line[0] <= 'Z'
}

// parseHeader parses the first line of an entry, such as
//
//	55d0c000-55d0e000 r--p 00000000 fe:01 131 /usr/bin/a file
func parseHeader(line []byte) (VMA, error) {
	var v VMA
	rest := line
	var ok [6]bool
	v.Start, rest, ok[0] = hexadecimal(rest, '-')
	v.End, rest, ok[1] = hexadecimal(rest, ' ')
	v.Perms, rest, ok[2] = parsePerms(rest)
	v.Offset, rest, ok[3] = hexadecimal(rest, ' ')
	var major, minor uint64
	major, rest, ok[4] = hexadecimal(rest, ':')
	minor, rest, ok[5] = hexadecimal(rest, ' ')
	inode, name, _ := bytes.Cut(rest, []byte(" "))
	var inodeOK bool
	v.Inode, inodeOK = decimal(inode)
	if ok != [6]bool{true, true, true, true, true, true} || !inodeOK || v.Start >= v.End || major>>32 != 0 || minor>>32 != 0 {
		return VMA{}, fmt.Errorf("bad mapping %q", clip(line))
	}
	v.Major, v.Minor = uint32(major), uint32(minor)
	v.Path, v.Deleted = parsePath(bytes.TrimLeft(name, " "))
	return v, nil
}

// parsePath reads the last column. The kernel writes a newline in it as \012
// and leaves everything else as it is.
func parsePath(name []byte) (path string, deleted bool) {
	name, deleted = bytes.CutSuffix(name, []byte(" (deleted)"))
	return strings.ReplaceAll(string(name), `\012`, "\n"), deleted
}

// parsePerms reads four letters and the space behind them.
func parsePerms(b []byte) (Perms, []byte, bool) {
	if len(b) < 5 || b[4] != ' ' || b[3] != 'p' && b[3] != 's' {
		return 0, b, false
	}
	var p Perms
	for i, c := range []byte("rwxs") {
		switch b[i] {
		case c:
			p |= 1 << i
		case '-', 'p':
		default:
			return 0, b, false
		}
	}
	return p, b[5:], true
}

// parseField parses a further line of an entry.
func (v *VMA) parseField(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return fmt.Errorf("bad line %q", clip(line))
	}
	var size *uint64
	switch string(name) {
	case "Rss":
		size = &v.Rss
	case "Anonymous":
		size = &v.Anonymous
	case "Swap":
		size = &v.Swap
	case "Locked":
		size = &v.Locked
	case "VmFlags":
		v.parseFlags(value)
		return nil
	case "ProtectionKey":
		key, ok := decimal(bytes.TrimSpace(value))
		if !ok || key>>32 != 0 {
			return fmt.Errorf("bad protection key %q", clip(line))
		}
		v.ProtectionKey = uint32(key)
		return nil
	default:
		return nil
	}
	number, isKB := bytes.CutSuffix(bytes.TrimSpace(value), []byte(" kB"))
	kB, ok := decimal(number)
	if !ok || !isKB || kB>>54 != 0 {
		return fmt.Errorf("bad size %q", clip(line))
	}
	*size = kB << 10
	return nil
}

// parseFlags reads the words of VmFlags.
func (v *VMA) parseFlags(words []byte) {
	for w := range bytes.FieldsSeq(words) {
		if f := flag(w); f != 0 {
			v.Flags |= f
		} else {
			v.OtherFlags += string(w) + " "
		}
	}
}

// hexadecimal reads a number of up to 16 digits that ends with the character
// end, which it takes too.
func hexadecimal(b []byte, end byte) (n uint64, rest []byte, ok bool) {
	for i, c := range b {
		switch {
		case c == end:
			return n, b[i+1:], i > 0
		case i == 16:
			return 0, b, false
		case c >= '0' && c <= '9':
			n = n<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint64(c-'a'+10)
		default:
			return 0, b, false
		}
	}
	return 0, b, false
}

// decimal reads a number that is all of b.
func decimal(b []byte) (n uint64, ok bool) {
	const most = ^uint64(0)
	for _, c := range b {
		if c < '0' || c > '9' || n > most/10 || n*10 > most-uint64(c-'0') {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, len(b) > 0
}

// clip shortens a line for an error message.
func clip(b []byte) []byte { return b[:min(len(b), 80)] }
