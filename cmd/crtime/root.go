// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/criu"
	"github.com/crtime/crtime/internal/settings"
	"github.com/crtime/crtime/internal/version"
)

// The groups that `crtime --help` lists commands under.
const (
	groupJob   = "job"
	groupLook  = "look"
	groupOther = "other"
)

// newRootCommand makes the whole command tree.
func newRootCommand(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "crtime COMMAND",
		Short: "Save and bring back process trees with their clocks right",
		Long: `crtime saves a running process tree to a directory and brings it back, later,
after a reboot or on another machine, with its clocks right: no clock reads less
than before, timeouts keep their remaining time, and by default everything is as
if the machine had been suspended in between.`,
		Example: `  # Save process 4711 and everything below it, and end it.
  crtime dump -t 4711 -D images

  # See what a restore would do to its clocks, here and now.
  crtime plan images

  # Bring it back, and return when it runs.
  crtime restore -D images -d`,
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(env.streams.Out)
	root.SetErr(env.streams.Err)
	root.SetVersionTemplate("crtime {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.BoolVar(&env.json, "json", false, "print the result as JSON")
	flags.StringVar(&env.logLevel, "log-level", "warn", "log what is at least so important: `debug|info|warn|error`")
	flags.StringVar(&env.logFormat, "log-format", "console", "write log lines as `console|json`")
	root.AddGroup(
		&cobra.Group{ID: groupJob, Title: "Save and bring back:"},
		&cobra.Group{ID: groupLook, Title: "Look, without changing anything:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	addCommands(root, env)
	return root
}

// addCommands adds every subcommand and help topic.
func addCommands(root *cobra.Command, env *environment) {
	for _, c := range []struct {
		group string
		cmd   *cobra.Command
	}{
		{groupJob, newDumpCommand(env)},
		{groupJob, newPreDumpCommand(env)},
		{groupJob, newRestoreCommand(env)},
		{groupJob, newRunCommand()},
		{groupLook, newPlanCommand(env)},
		{groupLook, newShowCommand(env)},
		{groupLook, newVerifyCommand(env)},
		{groupLook, newCheckCommand(env)},
		{groupOther, newExecCommand(env)},
		{groupOther, newServiceCommand(env)},
		{groupOther, newSwrkCommand(env)},
		{groupOther, newVersionCommand(env)},
	} {
		c.cmd.GroupID = c.group
		c.cmd.RunE = env.started(c.cmd.RunE)
		root.AddCommand(c.cmd)
	}
	root.AddCommand(newKeeperCommand())
	root.AddCommand(helpTopics()...)
}

// noCommand refuses words that name no subcommand.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("%s", text)
}

// helpTopics are commands that only have a help text.
func helpTopics() []*cobra.Command {
	var policies, codes strings.Builder
	policies.WriteString("What the clocks read when the tree resumes (--policy):\n\n")
	for _, p := range clockstate.Policies() {
		fmt.Fprintf(&policies, "  %-8s %s\n", p, p.Describe())
	}
	policies.WriteString("\nUnder every policy no clock that a time namespace shifts reads less than it did:\n" +
		"CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME.\n" +
		"CLOCK_REALTIME cannot be shifted: see --wall-clock. CPU-time clocks cannot be set\n" +
		"at all: 'crtime show' says what they read.\n")
	codes.WriteString("What crtime ends with:\n\n")
	for _, m := range exitMeanings() {
		fmt.Fprintf(&codes, "  %3d  %s\n", m.Code, m.Meaning)
	}
	codes.WriteString("\n'restore' without --restore-detached, 'run' and 'exec' end with the status of the process\n" +
		"that they wait for, or 128 and the number of the signal that ended it.\n")
	return []*cobra.Command{
		{Use: "policies", Short: "What the clocks read after a restore", Long: policies.String()},
		{Use: "exit-codes", Short: "What crtime ends with", Long: codes.String()},
		{Use: "environment", Short: "Variables that crtime reads", Long: environmentHelp()},
	}
}

// environmentHelp is the text of `crtime help environment`.
func environmentHelp() string {
	var b strings.Builder
	list := func(title string, variables [][]string) {
		fmt.Fprintf(&b, "%s\n\n", title)
		for _, v := range variables {
			fmt.Fprintf(&b, "  %-18s %s\n", v[0], strings.Join(v[1:], "\n"+strings.Repeat(" ", 21)))
		}
	}
	list("Variables that crtime reads:", [][]string{
		{criu.EnvPath, "path of the criu program, if --criu is not given"},
		{"CRTIME_CACHE", "directory of crtime's own cache, which may hold a criu", "(default: crtime in $XDG_CACHE_HOME or ~/.cache)"},
		{criu.EnvState, "directory where crtime notes how long restores take", "(default: /var/lib/crtime)"},
	})
	list("\nFor clients that speak CRIU's RPC (crtime swrk), which know none of the flags:", [][]string{
		{settings.EnvConfig, "path of the settings file", "(default: " + settings.DefaultPath + ", if there is one)"},
		{settings.EnvPolicy, "as --policy; see 'crtime help policies'"},
		{settings.EnvWallClock, "as --wall-clock: warn, wait or fail"},
		{settings.EnvLead, "as --lead: a time such as 250ms, or auto"},
		{settings.EnvEngine, "as --engine: auto, native or criu"},
	})
	b.WriteString("\nThese, and " + criu.EnvPath + ", are over the settings file. Over them are lines\n" +
		"such as '# crtime: policy elapsed' in the config file of CRIU's that a request names.\n")
	return b.String()
}
