// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"strings"
)

// The grammar of a directive, a line of its own in a config file of CRIU's, where B
// is any number of blanks and tabs:
//
//	B "#" B "crtime:" B NAME (one blank or more) VALUE B
//
// A value may have blanks inside; it is not quoted. Every other line is CRIU's. To
// CRIU, which ignores whatever follows a word that begins with "#", it is a comment.
const (
	blanks     = " \t\r\n"
	commentTag = "#"
	ownTag     = "crtime:"
)

// parseDirectives returns s with what the directives in a config file of CRIU's say
// over it. name is the file's, for errors, which are *Error. A setting may be given
// once: that the same file says two things is a mistake.
func parseDirectives(name string, data []byte, s Settings) (Settings, error) {
	seen := map[string]int{} // The line of each setting.
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		text, ours := directive(line)
		if !ours {
			continue
		}
		word, value := text, ""
		if i := strings.IndexAny(text, blanks); i >= 0 {
			word, value = text[:i], strings.Trim(text[i:], blanks)
		}
		k, err := find(word)
		if err == nil && seen[word] > 0 {
			err = fmt.Errorf("given twice, first in line %d", seen[word])
		}
		if err == nil {
			err = k.put(&s, value)
		}
		if err != nil {
			return Settings{}, &Error{Source: name, Line: number, Key: word, Err: err}
		}
		seen[word] = number
	}
	return s, nil
}

// directive returns what follows "# crtime:" in a line, without the blanks around it.
func directive(line string) (text string, ours bool) {
	text, ours = strings.CutPrefix(strings.Trim(line, blanks), commentTag)
	if !ours {
		return "", false
	}
	text, ours = strings.CutPrefix(strings.TrimLeft(text, blanks), ownTag)
	return strings.TrimLeft(text, blanks), ours
}
