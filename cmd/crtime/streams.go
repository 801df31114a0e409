// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// streams are where a command reads and writes, and what it may assume of them.
// The zero value of every field but Out and Err works.
type streams struct {
	Out io.Writer // Results alone.
	Err io.Writer // Errors, warnings, progress, logs.

	// Inherit are the descriptors 0, 1 and 2 for a command that is started on
	// the user's behalf. Nil: there are none, and nothing can be started.
	Inherit []*os.File

	OutTerminal bool // Out is a terminal.
	ErrTerminal bool // Err is a terminal.
	OutWidth    int  // Columns of Out; 0: unknown.
	Unicode     bool // Out shows UTF-8.
}

// systemStreams are this process's own.
func systemStreams() *streams {
	s := &streams{
		Out:         os.Stdout,
		Err:         os.Stderr,
		Inherit:     []*os.File{os.Stdin, os.Stdout, os.Stderr},
		OutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		ErrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Unicode:     localeIsUTF8(os.Getenv),
	}
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		s.OutWidth = width
	}
	return s
}

// localeIsUTF8 reports whether the locale's character encoding is UTF-8. The
// first of the three variables that is set decides; see locale(7).
func localeIsUTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := getenv(name); value != "" {
			value = strings.ToLower(value)
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}

// writeJSON writes one indented JSON value and a newline to Out.
func (s *streams) writeJSON(v any) error {
	enc := json.NewEncoder(s.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// writeText writes a result in words to Out.
func (s *streams) writeText(text string) error {
	if _, err := io.WriteString(s.Out, text); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// warn writes one line to Err.
func (s *streams) warn(format string, args ...any) {
	fmt.Fprintf(s.Err, "crtime: warning: "+format+"\n", args...)
}
