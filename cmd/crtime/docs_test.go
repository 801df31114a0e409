// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"github.com/crtime/crtime/clockstate"
)

// docsPath is the flag reference, which is generated from the commands.
var docsPath = filepath.Join("..", "..", "docs", "cli.md")

// quietStreams are streams for a command tree that is only looked at.
func quietStreams() *streams { return &streams{Out: io.Discard, Err: io.Discard} }

// reference is what docs/cli.md has to hold.
func reference(t *testing.T) string {
	t.Helper()
	root := prepareForDocs(&environment{streams: quietStreams()})
	var b strings.Builder
	b.WriteString("# The crtime command\n\nGenerated from the command itself by `go test ./cmd/crtime -update`; do not edit.\n\n")
	section := func(c *cobra.Command) {
		var page strings.Builder
		link := func(name string) string {
			return "#" + strings.ReplaceAll(strings.TrimSuffix(name, ".md"), "_", "-")
		}
		if err := doc.GenMarkdownCustom(c, &page, link); err != nil {
			t.Fatal(err)
		}
		// Lists of related commands and repeated global flags are of use on
		// separate pages only.
		text, _, _ := strings.Cut(page.String(), "### SEE ALSO")
		if c.HasParent() {
			text, _, _ = strings.Cut(text, "### Options inherited from parent commands")
		}
		b.WriteString(strings.TrimSpace(text) + "\n\n")
	}
	section(root)
	for _, c := range root.Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if !c.Runnable() {
			// A help topic.
			fmt.Fprintf(&b, "## crtime help %s\n\n%s\n\n```\n%s\n```\n\n", c.Name(), c.Short, strings.TrimRight(c.Long, "\n"))
			continue
		}
		section(c)
	}
	b.WriteString("## crtime completion\n\nWrites the completion script for a shell to standard output: " +
		"`crtime completion bash`, `zsh`, `fish` or `powershell`.\n")
	return b.String()
}

func TestReferenceIsCurrent(t *testing.T) {
	got := reference(t)
	if *update {
		if err := os.WriteFile(docsPath, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(docsPath)
	if err != nil || got != string(want) {
		t.Errorf("%s is stale (%v): go test ./cmd/crtime -update", docsPath, err)
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	root := newRootCommand(&environment{streams: quietStreams()})
	for _, c := range root.Commands() {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: Short %q should be words without a full stop", c.Name(), c.Short)
		}
		if c.Long == "" {
			t.Errorf("%s has no long text", c.Name())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no text", c.Name(), f.Name)
			}
		})
	}
}

func TestFlagsOfCRIUExist(t *testing.T) {
	// What CRIU's users know, by command.
	root := newRootCommand(&environment{streams: quietStreams()})
	both := "images-dir:D work-dir:W tcp-established tcp-close shell-job:j ext-unix-sk:x file-locks:l link-remap ghost-limit " +
		"manage-cgroups external root:r log-file:o timeout verbosity:v"
	for name, flags := range map[string]string{
		"dump":     both + " tree:t leave-running:R track-mem prev-images-dir",
		"pre-dump": both + " tree:t track-mem prev-images-dir",
		"restore":  both + " restore-detached:d pidfile",
	} {
		cmd, _, err := root.Find([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		for flag := range strings.FieldsSeq(flags) {
			long, short, _ := strings.Cut(flag, ":")
			f := cmd.Flags().Lookup(long)
			if f == nil || f.Shorthand != short {
				t.Errorf("crtime %s has no --%s with shorthand %q", name, long, short)
			}
		}
	}
}

func TestReadmeIsCurrent(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	readme := string(data)
	for _, m := range exitMeanings() {
		if row := fmt.Sprintf("| %d | %s |", m.Code, m.Meaning); !strings.Contains(readme, row) {
			t.Errorf("README.md lacks the row %q", row)
		}
	}
	for _, p := range clockstate.Policies() {
		if !strings.Contains(readme, "| `"+p.String()+"`") {
			t.Errorf("README.md lacks the policy %s", p)
		}
	}
	drawing, _, _ := strings.Cut(newTimeline(plannedRestore(t, clockstate.Suspend)).draw(usual, drawingSet(true)), "\n\n")
	if !strings.Contains(readme, drawing) {
		t.Errorf("README.md lacks the drawing\n%s", drawing)
	}
}
