// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/version"
)

// versionResult is what version prints with --json.
type versionResult struct {
	Version     string             `json:"version"`
	Go          string             `json:"go"`
	Platform    string             `json:"platform"`
	ImageFormat clockstate.Version `json:"image_format"`
}

// newVersionCommand makes `crtime version`.
func newVersionCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Print which crtime this is",
		Long:              "Print which crtime this is, what it was built with, and which format of the clock image it writes.",
		Args:              exactArgs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			r := versionResult{version.String(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, clockstate.CurrentFormat()}
			return env.result(r, func() string {
				return fmt.Sprintf("crtime %s (%s, %s, clock image format %d.%d)\n",
					r.Version, r.Go, r.Platform, r.ImageFormat.Major, r.ImageFormat.Minor)
			})
		},
	}
}
