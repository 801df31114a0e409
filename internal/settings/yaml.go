// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// parseYAML returns s with what a settings file says over it. name is the file's, for
// errors, which are *Error. A file that says nothing is fine.
//
// It walks the nodes and does not decode into a struct: the decoder's own errors name
// Go types, and neither the setting nor what is allowed.
func parseYAML(name string, data []byte, s Settings) (Settings, error) {
	root, err := document(data)
	if err == nil && root != nil {
		s, err = fromMapping(root, s)
	}
	if err == nil {
		return s, nil
	}
	if place, ok := errors.AsType[*Error](err); ok {
		place.Source = name
		return Settings{}, place
	}
	// Of syntax; its text has the line.
	return Settings{}, &Error{Source: name, Err: err}
}

// document returns the one document of the text, nil if that says nothing.
func document(data []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	switch err := decoder.Decode(&more); {
	case err == nil:
		return nil, &Error{Line: more.Line, Err: errors.New("a second document begins here: want one")}
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	root := doc.Content[0]
	if isNull(root) {
		return nil, nil // "---" alone.
	}
	return root, nil
}

// isNull reports whether a node stands for nothing.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// fromMapping returns s with what a mapping says over it. The error is an *Error
// without Source.
func fromMapping(root *yaml.Node, s Settings) (Settings, error) {
	if root.Kind != yaml.MappingNode {
		return s, &Error{Line: root.Line, Err: fmt.Errorf("it is %s: want lines such as 'policy: elapsed'", describe(root))}
	}
	seen := map[string]int{} // The line of each setting.
	for i := 0; i+1 < len(root.Content); i += 2 {
		word, value := root.Content[i], root.Content[i+1]
		k, err := find(plain(word))
		if err == nil && seen[k.name] > 0 {
			err = fmt.Errorf("given twice, first in line %d", seen[k.name])
		}
		if err == nil && !isText(value) {
			err = fmt.Errorf("it is %s: want %s", describe(value), k.want)
		}
		if err == nil {
			err = k.put(&s, value.Value)
		}
		if err != nil {
			return s, &Error{Line: word.Line, Key: plain(word), Err: err}
		}
		seen[k.name] = word.Line
	}
	return s, nil
}

// isText reports whether a node is a text as it stands. An alias is none, whatever it
// stands for: its own value is the anchor's name.
func isText(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" }

// plain is the text of a node, "" if it is none.
func plain(n *yaml.Node) string {
	if !isText(n) {
		return ""
	}
	return n.Value
}

// describe says what a node is that should have been something else.
func describe(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		return "a mapping"
	}
	if n.Kind == yaml.SequenceNode {
		return "a list"
	}
	if n.Kind == yaml.AliasNode {
		return "an alias"
	}
	switch tag := n.ShortTag(); tag {
	case "!!null":
		return "empty"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a truth value"
	case "!!str":
		return "a text"
	default:
		return "of type " + tag
	}
}
