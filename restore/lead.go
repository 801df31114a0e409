// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"errors"
	"time"
)

// ParseLead reads a value for [Options].Lead: "auto", which is 0, or a positive time
// such as "250ms".
func ParseLead(text string) (time.Duration, error) {
	if text == "auto" {
		return 0, nil
	}
	lead, err := time.ParseDuration(text)
	if err != nil || lead <= 0 {
		return 0, errors.New("want auto, or a time such as 250ms")
	}
	return lead, nil
}
