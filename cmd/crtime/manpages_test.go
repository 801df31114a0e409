// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/crtime/crtime/internal/version"
)

// manDir is where `make install` wants the manual pages. They are made by a test
// because their generator, and what it brings along, would make every start of
// crtime itself a fifth slower.
var manDir = flag.String("man", "", "write the manual pages to this directory, which must exist")

func TestManualPages(t *testing.T) {
	dir := *manDir
	if dir == "" {
		dir = t.TempDir()
	}
	header := &doc.GenManHeader{Title: "CRTIME", Section: "1", Source: "crtime " + version.String(), Manual: "crtime"}
	root := prepareForDocs(&environment{streams: quietStreams()})
	root.Long += topicSections()
	if err := doc.GenManTree(root, header, dir); err != nil {
		t.Fatal(err)
	}
	for page, says := range map[string]string{
		"crtime.1":          "EXIT CODES",
		"crtime-dump.1":     "leave-running",
		"crtime-pre-dump.1": "images-dir",
		"crtime-restore.1":  "policy",
	} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil || !strings.Contains(string(text), says) {
			t.Errorf("%s does not say %q (%v)", page, says, err)
		}
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
