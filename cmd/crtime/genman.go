// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/crtime/crtime/internal/version"
)

// newGenManCommand makes the hidden `crtime gen-man`, which the installation
// uses.
func newGenManCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:    "gen-man DIR",
		Short:  "Write the manual pages",
		Long:   "Write the manual pages of crtime and its commands to a directory, which is made if need be.",
		Hidden: true,
		Args:   exactArgs("the directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write the manual pages: %w", err)
			}
			header := &doc.GenManHeader{Title: "CRTIME", Section: "1", Source: "crtime " + version.String(), Manual: "crtime"}
			if err := doc.GenManTree(prepareForDocs(env), header, args[0]); err != nil {
				return fmt.Errorf("write the manual pages to %s: %w", args[0], err)
			}
			return nil
		},
	}
}

// prepareForDocs makes a command tree to generate documents from: complete, and
// without a date, which would differ on every day.
func prepareForDocs(env *environment) *cobra.Command {
	root := newRootCommand(&environment{streams: env.streams})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.DisableAutoGenTag = true
	for _, c := range root.Commands() {
		c.DisableAutoGenTag = true
	}
	return root
}
