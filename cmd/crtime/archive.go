// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/crtime/crtime/internal/archive"
)

// archiveResult is what show prints of a checkpoint archive with --json. The names of the
// container's fields and of the sizes are those of checkpointctl inspect.
type archiveResult struct {
	Compression archive.Compression `json:"compression"`
	Bytes       int64               `json:"bytes"`
	Checked     bool                `json:"checked"`             // Whether there are checksums, by which all is right.
	Container   *archive.Container  `json:"container,omitempty"` // Absent if the archive does not say.
	Sizes       archiveSizes        `json:"checkpoint_size"`
}

// archiveSizes are in bytes.
type archiveSizes struct {
	Total      int64 `json:"total_size"`
	Memory     int64 `json:"memory_pages_size"`
	RootFSDiff int64 `json:"root_fs_diff_size"`
}

// newArchiveResult picks what archiveResult holds.
func newArchiveResult(a *archive.Archive) *archiveResult {
	if a == nil {
		return nil
	}
	return &archiveResult{
		Compression: a.Compression,
		Bytes:       a.Sizes.Archive,
		Checked:     a.Manifest != nil,
		Container:   a.Container,
		Sizes:       archiveSizes{Total: a.Sizes.Checkpoint, Memory: a.Sizes.Memory, RootFSDiff: a.Sizes.RootFSDiff},
	}
}

// archiveText shows to people what an archive holds beside clocks, in the columns that
// users of checkpointctl know.
func archiveText(path string, a *archive.Archive) string {
	text := fmt.Sprintf("%s: checkpoint archive, %s, %s\n", path, bytesText(a.Sizes.Archive), compressionText(a.Compression))
	if a.Container == nil {
		text += fmt.Sprintf("There is neither config.dump nor spec.dump in it, so of which container it is cannot be known; its checkpoint has %s.\n",
			bytesText(a.Sizes.Checkpoint))
	} else {
		text += "\n" + table(containerRows(a))
	}
	if a.Manifest != nil {
		text += fmt.Sprintf("\nChecked: %s in it, with the sizes and checksums that the dump wrote down.\n",
			count(len(a.Manifest), "image is", "images are"))
	}
	return text + "\n"
}

// containerRows are the lines of the table of an archive's container.
func containerRows(a *archive.Archive) [][]string {
	const shortID = 12
	c := a.Container
	head := []string{"CONTAINER", "IMAGE", "ID", "RUNTIME", "CREATED", "ENGINE", "CHKPT SIZE"}
	row := []string{c.Name, c.Image, c.ID[:min(len(c.ID), shortID)], c.Runtime, c.Created, c.Engine}
	for i, cell := range row {
		row[i] = fieldText(cell)
	}
	row = append(row, bytesText(a.Sizes.Checkpoint))
	if a.Sizes.RootFSDiff != 0 {
		head, row = append(head, "ROOT FS DIFF SIZE"), append(row, bytesText(a.Sizes.RootFSDiff))
	}
	return [][]string{head, row}
}

// fieldText is what an archive says of its container, safe for a terminal.
func fieldText(s string) string {
	if s == "" {
		return "unknown"
	}
	return commText(s)
}

// compressionText is a compression for people.
func compressionText(c archive.Compression) string {
	if c == archive.None {
		return "not compressed"
	}
	return "compressed with " + string(c)
}
