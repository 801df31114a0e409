// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crtime/crtime/e2e/clocklog"
	"github.com/crtime/crtime/e2e/harness"
)

// member is a process of e2e/programs/spaces: what its log is called, and how far its
// MONOTONIC is ahead of the root's. BOOTTIME is twice as far.
type member struct {
	name  string
	hours int
}

// shape is a tree of that program.
type shape struct {
	name    string
	members []member
}

func shapes() []shape {
	return []shape{
		{"child", []member{{"root", 0}, {"child", 1000}}},
		{"levels", []member{{"root", 0}, {"child", 1000}, {"grandchild", 2000}}},
		{"siblings", []member{{"root", 0}, {"child", 1000}, {"sibling", 3000}}},
		{"gone", []member{{"root", 0}, {"child", 1000}}},
		{"back", []member{{"root", 0}, {"child", 1000}}},
		{"later", []member{{"root", 0}}},
	}
}

// TestTreeInSeveralNamespaces dumps trees whose processes live in different time
// namespaces, or have made one for their children, twice. Each process comes back to
// one of its own, its clocks and timers right.
func TestTreeInSeveralNamespaces(t *testing.T) {
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) { testSeveralNamespaces(newCase(t), s) })
	}
}

func testSeveralNamespaces(c *harness.Case, s shape) {
	tree := startSpaces(c, s)
	before := spacesOf(c, tree)
	const generations = 2
	var restored []harness.RestoreResult
	for i := range generations {
		images := c.Path(fmt.Sprintf("images%d", i))
		c.Dump(tree, images)
		time.Sleep(500 * time.Millisecond)
		restored = append(restored, c.Restore(tree, images))
		waitMembers(c, s.members)
		if _, err := c.Crtime.Run(c.Context, "verify", fmt.Sprint(tree.PID), images); err != nil {
			c.Errorf("verify: %v", err)
		}
		if after := spacesOf(c, tree); !slices.Equal(before, after) {
			c.Errorf("the processes lived in %v, now in %v", before, after)
		}
	}
	for _, m := range s.members {
		log := memberLog(c, m.name)
		steps, err := log.Outages(generations)
		c.Check(err)
		for i, step := range steps {
			c.Logf("%s, generation %d", m.name, i)
			stood(c, step, clocklog.Monotonic, restored[i])
			followed(c, step, clocklog.Boottime, restored[i])
		}
		ahead(c, log, memberLog(c, "root"), m.hours)
	}
	if s.name == "later" {
		bornLater(c, tree)
	}
}

// TestSeveralNamespacesRunOn dumps such a tree and lets it run on.
func TestSeveralNamespacesRunOn(t *testing.T) {
	c, s := newCase(t), shapes()[1]
	tree := startSpaces(c, s)
	before := spacesOf(c, tree)
	_, err := c.Crtime.Dump(c.Context, tree.PID, c.Path("images"), "--leave-running")
	c.Check(err)
	waitMembers(c, s.members)
	if after := spacesOf(c, tree); !slices.Equal(before, after) {
		c.Errorf("the processes lived in %v, now in %v", before, after)
	}
	for _, m := range s.members {
		memberLog(c, m.name)
	}
}

// TestCRIUInSeveralNamespaces has the engine that cannot do it asked for.
func TestCRIUInSeveralNamespaces(t *testing.T) {
	c, s := newCase(t), shapes()[0]
	c.UseEngine("criu")
	tree := startSpaces(c, s)
	_, err := c.Crtime.Dump(c.Context, tree.PID, c.Folder+"/images")
	refused(c, err, harness.CodeOf(err), "different time namespaces")
	waitMembers(c, s.members)
	c.UseEngine("native")
	images := c.Path("images")
	c.Dump(tree, images)
	c.UseEngine("criu")
	_, err = c.Crtime.Restore(c.Context, images)
	refused(c, err, exitUnsupported, "different time namespaces", "--engine native")
	c.UseEngine("auto")
	c.Restore(tree, images)
	waitMembers(c, s.members)
}

// startSpaces starts the program and waits for its processes.
func startSpaces(c *harness.Case, s shape) *harness.Tree {
	c.Helper()
	for _, name := range []string{"root", "child", "grandchild", "sibling", "go"} {
		c.Path(name)
	}
	program, err := c.Spaces(c.Context, s.name, c.Folder)
	c.Check(err)
	tree := c.StartSilent(program)
	waitMembers(c, s.members)
	return tree
}

// waitMembers waits until each process has printed some more.
func waitMembers(c *harness.Case, members []member) {
	c.Helper()
	const more = 30
	for _, m := range members {
		for first := -1; ; time.Sleep(5 * time.Millisecond) {
			text, _ := os.ReadFile(filepath.Join(c.Folder, m.name)) // It may not be there yet.
			log, err := clocklog.ParseBytes(text)
			c.Check(err)
			if first < 0 {
				first = len(log.Records)
			}
			if len(log.Records) >= first+more {
				break
			}
			if c.Context.Err() != nil {
				c.Fatalf("%s has stopped after %d records: it waits for another clock's time", m.name, len(log.Records))
			}
		}
	}
}

// memberLog reads the log of a process in which no clock may have gone backward.
func memberLog(c *harness.Case, name string) clocklog.Log {
	c.Helper()
	text, err := os.ReadFile(filepath.Join(c.Folder, name))
	c.Check(err)
	log, err := clocklog.ParseBytes(text)
	c.Check(err)
	if back, complaints := log.Backward(), log.Complaints(); len(back)+len(complaints) > 0 {
		c.Errorf("%s: %v, %v", name, back, complaints)
	}
	c.Check(log.Complete())
	return log
}

// ahead compares the clocks of two processes.
func ahead(c *harness.Case, log, root clocklog.Log, hours int) {
	c.Helper()
	distance := time.Duration(hours) * time.Hour
	for clock, want := range map[clocklog.Clock]time.Duration{clocklog.Monotonic: distance, clocklog.Boottime: distance + distance} {
		got := sinceEpoch(log, clock) - sinceEpoch(root, clock)
		if off := got - want; off.Abs() > 2*time.Millisecond {
			c.Errorf("%v is %v ahead of the root's, want %v", clock, got, want)
		}
	}
}

// sinceEpoch is how far a clock is ahead of the wall clock at the end of a log: the
// least of some records, as a process may be interrupted between two clocks.
func sinceEpoch(log clocklog.Log, clock clocklog.Clock) time.Duration {
	last := log.Records[max(0, len(log.Records)-20):]
	off := func(r clocklog.Record) time.Duration { return time.Duration(r.At[clock] - r.At[clocklog.Realtime]) }
	least := off(last[0])
	for _, r := range last {
		least = min(least, off(r))
	}
	return least
}

// spacesOf numbers the time namespaces of a tree's processes in the order in which
// they are seen: where each lives, where its children will, and of which it has
// descriptors.
func spacesOf(c *harness.Case, tree *harness.Tree) []int {
	c.Helper()
	numbers := map[string]int{}
	var all []int
	pids := tree.PIDs()
	slices.Sort(pids)
	for _, pid := range pids {
		links := []string{fmt.Sprintf("/proc/%d/ns/time", pid), fmt.Sprintf("/proc/%d/ns/time_for_children", pid)}
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		c.Check(err)
		for i, link := range append(links, files...) {
			text, err := os.Readlink(link)
			c.Check(err)
			if i >= len(links) && !strings.HasPrefix(text, "time:[") {
				continue
			}
			if _, known := numbers[text]; !known {
				numbers[text] = len(numbers)
			}
			all = append(all, numbers[text])
		}
	}
	return all
}

// bornLater has the children born for which the root had made a namespace.
func bornLater(c *harness.Case, tree *harness.Tree) {
	c.Helper()
	c.Check(os.WriteFile(c.Path("go"), nil, 0o600))
	waitMembers(c, []member{{"child", 0}, {"sibling", 0}, {"root", 0}})
	for _, name := range []string{"child", "sibling"} {
		ahead(c, memberLog(c, name), memberLog(c, "root"), 1000)
	}
	if got, want := spacesOf(c, tree), []int{0, 1, 1, 1, 1, 1}; !slices.Equal(got, want) {
		c.Errorf("the processes live in %v, want %v", got, want)
	}
}
