// SPDX-License-Identifier: Apache-2.0

package clocklog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// recordFields is the number of words of a record's line, "clk" included.
const recordFields = 8

// Log is everything that a program printed.
type Log struct {
	Records []Record
	// Notes are the lines that are not records, in order.
	Notes []string
}

// Parse reads a log. A last line without its newline is left out: the program
// may be in the middle of writing it. A record that is not well formed is an
// error that names its line.
func Parse(r io.Reader) (Log, error) {
	var log Log
	in := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return log, nil
		}
		if err != nil {
			return log, fmt.Errorf("reading line %d of a clock log: %w", number, err)
		}
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "clk ") {
			log.Notes = append(log.Notes, line)
			continue
		}
		record, err := parseRecord(line)
		if err != nil {
			return log, fmt.Errorf("line %d of a clock log: %w", number, err)
		}
		log.Records = append(log.Records, record)
	}
}

// ParseBytes is Parse of what is in memory.
func ParseBytes(data []byte) (Log, error) { return Parse(bytes.NewReader(data)) }

func parseRecord(line string) (Record, error) {
	fields := strings.Fields(line)
	if len(fields) != recordFields {
		return Record{}, fmt.Errorf("%q has %d words, a record has %d", line, len(fields), recordFields)
	}
	var r Record
	var err error
	if r.Seq, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
		return Record{}, fmt.Errorf("number of %q: %w", line, err)
	}
	for c := range r.At {
		if fields[2+c] == "-" {
			continue
		}
		if r.At[c], err = strconv.ParseInt(fields[2+c], 10, 64); err != nil {
			return Record{}, fmt.Errorf("%v of %q: %w", Clock(c), line, err)
		}
		r.Known[c] = true
	}
	if !r.Known[Realtime] {
		return Record{}, fmt.Errorf("%q has no CLOCK_REALTIME", line)
	}
	if r.RealtimeEnd, err = strconv.ParseInt(fields[recordFields-1], 10, 64); err != nil {
		return Record{}, fmt.Errorf("last CLOCK_REALTIME of %q: %w", line, err)
	}
	return r, nil
}

// Line returns the record as a program prints it, without the newline.
func (r Record) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "clk %d", r.Seq)
	for c, at := range r.At {
		if !r.Known[c] {
			b.WriteString(" -")
			continue
		}
		fmt.Fprintf(&b, " %d", at)
	}
	fmt.Fprintf(&b, " %d", r.RealtimeEnd)
	return b.String()
}
