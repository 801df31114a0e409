// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"

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
		RunE: func(_ *cobra.Command, args []string) error {
			//nolint:gosec // Manual pages are for everybody.
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write the manual pages: %w", err)
			}
			header := &doc.GenManHeader{Title: "CRTIME", Section: "1", Source: "crtime " + version.String(), Manual: "crtime"}
			root := prepareForDocs(env)
			root.Long += topicSections()
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("write the manual pages to %s: %w", args[0], err)
			}
			return nil
		},
	}
}

// topicSections are the help topics as sections of crtime(1), in Markdown: the
// generator makes no pages of them.
func topicSections() string {
	var b strings.Builder
	for _, topic := range helpTopics() {
		heading := strings.ToUpper(strings.ReplaceAll(topic.Name(), "-", " "))
		fmt.Fprintf(&b, "\n\n# %s\n\n```\n%s\n```", heading, strings.TrimRight(topic.Long, "\n"))
	}
	return b.String()
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
