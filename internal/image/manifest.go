// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// FileManifest is the manifest's name in an image directory.
const FileManifest = "crtime-manifest.txt"

// The first line of a manifest, and the word that begins its last.
const (
	manifestHead = "crtime-manifest 1"
	manifestTail = "crc32c"
)

// ErrManifest says that a manifest cannot be believed.
var ErrManifest = errors.New("manifest is damaged")

// Entry describes one file of an image directory.
type Entry struct {
	Name string
	Size int64  // In bytes.
	Sum  uint32 // As Checksum computes it.
}

// Manifest lists the files of an image directory, sorted by name.
type Manifest []Entry

// castagnoli is the polynomial of CRC-32C, which processors compute themselves.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Encode returns the manifest file: a head line, one line a file (checksum,
// size, name), and a line with the CRC-32C of all lines before it.
func (m Manifest) Encode() []byte {
	var b bytes.Buffer
	b.WriteString(manifestHead + "\n")
	for _, e := range m {
		fmt.Fprintf(&b, "%08x %d %s\n", e.Sum, e.Size, e.Name)
	}
	fmt.Fprintf(&b, "%s %08x\n", manifestTail, crc32.Checksum(b.Bytes(), castagnoli()))
	return b.Bytes()
}

// ParseManifest parses a manifest file. Every error is ErrManifest.
func ParseManifest(data []byte) (Manifest, error) {
	body, tail, ok := cutLastLine(data)
	if !ok {
		return nil, fmt.Errorf("%w: it does not end in a whole line", ErrManifest)
	}
	want := fmt.Sprintf("%s %08x", manifestTail, crc32.Checksum(body, castagnoli()))
	if tail != want {
		return nil, fmt.Errorf("%w: its last line should be %q", ErrManifest, want)
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	if !lines.Scan() || lines.Text() != manifestHead {
		return nil, fmt.Errorf("%w: its first line should be %q", ErrManifest, manifestHead)
	}
	var m Manifest
	for lines.Scan() {
		e, err := parseEntry(lines.Text())
		if err != nil {
			return nil, err
		}
		if len(m) > 0 && m[len(m)-1].Name >= e.Name {
			return nil, fmt.Errorf("%w: %q is out of order", ErrManifest, e.Name)
		}
		m = append(m, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return m, nil
}

// cutLastLine splits off the last line, without its newline.
func cutLastLine(data []byte) (body []byte, last string, ok bool) {
	text, ok := bytes.CutSuffix(data, []byte("\n"))
	if !ok {
		return nil, "", false
	}
	at := bytes.LastIndexByte(text, '\n') + 1
	return data[:at], string(text[at:]), true
}

// parseEntry parses one line, in the very form in which Encode writes it.
func parseEntry(line string) (Entry, error) {
	bad := fmt.Errorf("%w: bad line %q", ErrManifest, line)
	fields := strings.SplitN(line, " ", 3)
	if len(fields) != 3 || len(fields[0]) != 8 {
		return Entry{}, bad
	}
	sum, err := strconv.ParseUint(fields[0], 16, 32)
	if err != nil {
		return Entry{}, bad
	}
	size, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || size < 0 {
		return Entry{}, bad
	}
	// A name is never a path: a manifest must not lead out of its directory.
	name := fields[2]
	if name == "" || name == "." || name == ".." || name != filepath.Base(name) || strings.ContainsAny(name, "\r\x00") {
		return Entry{}, bad
	}
	e := Entry{Name: name, Size: size, Sum: uint32(sum)}
	if fmt.Sprintf("%08x %d %s", e.Sum, e.Size, e.Name) != line {
		return Entry{}, bad
	}
	return e, nil
}

// Compare holds files that somebody has read, in any order, against the manifest: none
// missing, none of another size, none with another checksum, no image that the dump did
// not write. It returns the name of a file that is not as it should be, and ErrMissing or
// ErrAltered with the reason.
func (m Manifest) Compare(found []Entry) (name string, err error) {
	seen := make(map[string]bool, len(found))
	for _, f := range found {
		e, known := m.find(f.Name)
		switch {
		case !known && Listed(f.Name):
			return f.Name, errStranger
		case !known:
			continue
		case f.Size != e.Size:
			return f.Name, e.otherSize(f.Size)
		case f.Sum != e.Sum:
			return f.Name, e.otherSum(f.Sum)
		}
		seen[f.Name] = true
	}
	for _, e := range m {
		if !seen[e.Name] {
			return e.Name, ErrMissing
		}
	}
	return "", nil
}

// errStranger says that there is an image which the manifest does not have.
var errStranger = fmt.Errorf("%w: the dump did not write this file", ErrAltered)

// otherSize says that a file has another size.
func (e Entry) otherSize(size int64) error {
	return fmt.Errorf("%w: it has %d bytes, the dump wrote %d", ErrAltered, size, e.Size)
}

// otherSum says that a file has another checksum.
func (e Entry) otherSum(sum uint32) error {
	return fmt.Errorf("%w: its checksum is %08x, the dump wrote %08x", ErrAltered, sum, e.Sum)
}

// find returns the entry of a file.
func (m Manifest) find(name string) (Entry, bool) {
	at, ok := slices.BinarySearchFunc(m, name, func(e Entry, n string) int { return strings.Compare(e.Name, n) })
	if !ok {
		return Entry{}, false
	}
	return m[at], true
}

// Bytes is the size of all files together.
func (m Manifest) Bytes() int64 {
	var sum int64
	for _, e := range m {
		sum += e.Size
	}
	return sum
}
