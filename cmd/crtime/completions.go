// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/proc"
)

// completePIDs proposes the processes that could be dumped, with their names.
func completePIDs(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []cobra.Completion
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		st, err := proc.ReadStat(pid)
		if err != nil || st.KernelThread() || pid == os.Getpid() {
			continue
		}
		out = append(out, cobra.CompletionWithDesc(e.Name(), st.Comm))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completePolicies proposes the policies.
func completePolicies(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var out []cobra.Completion
	for _, p := range clockstate.Policies() {
		out = append(out, cobra.CompletionWithDesc(p.String(), p.Describe()))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeRecording proposes directories and files for a command's only argument.
func completeRecording(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}
