// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"path/filepath"
)

// fromEnvironment returns s with what the variables say over it. A path that is not
// absolute counts from the current directory, as everywhere in an environment. The
// error is an *Error.
func fromEnvironment(getenv func(string) string, s Settings) (Settings, error) {
	for _, k := range keys() {
		value := getenv(k.env)
		if value == "" {
			continue
		}
		if k.path {
			abs, err := filepath.Abs(value)
			if err != nil {
				return Settings{}, &Error{Source: k.env, Key: k.name, Err: fmt.Errorf("path %s: %w", value, err)}
			}
			value = abs
		}
		if err := k.put(&s, value); err != nil {
			return Settings{}, &Error{Source: k.env, Key: k.name, Err: err}
		}
	}
	return s, nil
}
