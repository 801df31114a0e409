// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/choose"
	"github.com/crtime/crtime/internal/engine"
)

// bindTreeOptions adds the flags that dump and restore share. They are named as
// CRIU names them.
func bindTreeOptions(cmd *cobra.Command, o *engine.Options) {
	f := cmd.Flags()
	f.BoolVar(&o.TCPEstablished, "tcp-established", false, "save and rebuild established TCP connections")
	f.BoolVar(&o.TCPClose, "tcp-close", false, "bring established TCP connections back as closed")
	f.BoolVarP(&o.ShellJob, "shell-job", "j", false, "the tree belongs to a terminal or session outside it")
	f.BoolVarP(&o.ExtUnixSk, "ext-unix-sk", "x", false, "allow UNIX sockets whose other end is outside the tree")
	f.BoolVarP(&o.FileLocks, "file-locks", "l", false, "save and rebuild file locks")
	f.BoolVar(&o.LinkRemap, "link-remap", false, "allow links to be made for deleted files that have other names")
	f.Var((*sizeValue)(&o.GhostLimit), "ghost-limit", "save deleted files up to this `size` (K, M, G are understood)")
	f.Var((*cgroupValue)(&o.ManageCgroups), "manage-cgroups", "treat cgroups in this `mode`: "+strings.Join(cgroupModes(), ", "))
	f.Lookup("manage-cgroups").NoOptDefVal = "soft"
	f.StringArrayVar(&o.External, "external", nil, "name an `object` outside the tree, in CRIU's notation; may be repeated")
	f.StringVarP(&o.Root, "root", "r", "", "root `directory` of the tree, if it has its own mounts")
	f.Var((*timeoutValue)(&o.Timeout), "timeout", "wait at most so long for the tree to stop: `seconds`, or like 1m30s")
	f.StringVarP(&o.WorkDir, "work-dir", "W", "", "`directory` for the engine's log (default: the image directory)")
	f.StringVarP(&o.LogFile, "log-file", "o", "", "`name` of the engine's log")
	f.VarP((*verbosityValue)(&o.Verbosity), "verbosity", "v", "log more of what the engine does: -v, -vv, ... or -v4")
	f.Lookup("verbosity").NoOptDefVal = oneMore
	cmd.MarkFlagsMutuallyExclusive("tcp-established", "tcp-close")
}

// imagesDirFlag adds -D, which must be given.
func imagesDirFlag(cmd *cobra.Command, dir *string, usage string) {
	cmd.Flags().StringVarP(dir, "images-dir", "D", "", usage)
	// These fail only for a flag that does not exist.
	_ = cmd.MarkFlagDirname("images-dir")
	_ = cmd.MarkFlagRequired("images-dir")
}

// treeFlag adds -t, which must be given.
func treeFlag(cmd *cobra.Command, pid *int, usage string) {
	cmd.Flags().VarP((*pidValue)(pid), "tree", "t", usage)
	// These fail only for a flag that does not exist.
	_ = cmd.MarkFlagRequired("tree")
	_ = cmd.RegisterFlagCompletionFunc("tree", completePIDs)
}

// policyFlag adds --policy.
func policyFlag(cmd *cobra.Command, p *clockstate.Policy) {
	cmd.Flags().Var((*policyValue)(p), "policy",
		"what the clocks read afterwards: `suspend|freeze|elapsed|host`; see 'crtime help policies'")
	_ = cmd.RegisterFlagCompletionFunc("policy", completePolicies)
}

// engineFlags choose who collects and rebuilds trees.
type engineFlags struct {
	name     string
	criu     string
	progress string
}

// bind adds the flags.
func (e *engineFlags) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&e.name, "engine", "auto", "who collects and rebuilds the tree: `auto|native|criu`; auto takes CRIU only for what crtime cannot do itself")
	f.StringVar(&e.criu, "criu", "", "`path` of the criu program (default: $CRTIME_CRIU, the one in PATH, crtime's own cache)")
	f.StringVar(&e.progress, "progress", "auto", "show on a terminal that work is going on: `auto|never`")
}

// choice checks the flags and gives what picks the engine.
func (e *engineFlags) choice(env *environment) (choose.Choice, error) {
	log, err := env.logger()
	if err != nil {
		return choose.Choice{}, err
	}
	c := choose.Choice{Engine: e.name, CRIU: e.criu, Log: log}
	if !c.Valid() {
		return c, usagef("--engine %q: it is one of %s", e.name, strings.Join(choose.Names(), ", "))
	}
	if e.progress != "auto" && e.progress != "never" {
		return c, usagef("--progress %q: it is one of auto, never", e.progress)
	}
	return c, nil
}

// exactArgs accepts as many arguments as there are names, and says which one is
// missing.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s is missing", names[len(args)])
		case len(args) > len(names):
			return usagef("too many arguments, from %q on", args[len(names)])
		}
		return nil
	}
}
