// SPDX-License-Identifier: Apache-2.0

package service

import (
	"slices"
	"strings"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crtime/crtime/internal/engine"
)

// understood are the options of CRIU that crtime carries out itself, or that say nothing
// about what its own engine does: how CRIU tracks memory, for one. A request with any
// other is CRIU's.
func understood() []protoreflect.Name {
	return []protoreflect.Name{
		"images_dir_fd", "images_dir", "work_dir_fd", "log_level", "log_file", "log_to_stderr", "config_file",
		"pid", "leave_running", "notify_scripts", "timeout", "rst_sibling",
		"ext_unix_sk", "tcp_established", "tcp_close", "shell_job", "file_locks", "link_remap",
		"ghost_limit", "external", "root", "manage_cgroups", "manage_cgroups_mode",
		"track_mem", "parent_img",
		"evasive_devices", "pre_dump_mode", "mntns_compat_mode", "network_lock",
	}
}

// onlyCRIU lists the options of a request that only CRIU knows.
func onlyCRIU(opts *rpc.CriuOpts) []string {
	var names []string
	known := understood()
	opts.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		off := f.Kind() == protoreflect.BoolKind && !f.IsList() && !v.Bool()
		if !off && !slices.Contains(known, f.Name()) {
			names = append(names, string(f.Name()))
		}
		return true
	})
	if len(opts.ProtoReflect().GetUnknown()) > 0 {
		names = append(names, "one that is newer than crtime")
	}
	slices.Sort(names)
	return names
}

// engineOptions translates what dump and restore have in common.
func engineOptions(opts *rpc.CriuOpts) (engine.Options, error) {
	o := engine.Options{
		TCPEstablished: opts.GetTcpEstablished(),
		TCPClose:       opts.GetTcpClose(),
		ShellJob:       opts.GetShellJob(),
		ExtUnixSk:      opts.GetExtUnixSk(),
		FileLocks:      opts.GetFileLocks(),
		LinkRemap:      opts.GetLinkRemap(),
		External:       opts.GetExternal(),
		Root:           opts.GetRoot(),
		Timeout:        time.Duration(opts.GetTimeout()) * time.Second,
		// The client has the images open and could do all this itself.
		TrustImages: true,
	}
	if opts.GhostLimit != nil {
		o.GhostLimit = opts.GetGhostLimit()
	}
	if mode, ok := cgroupMode(opts); ok {
		o.ManageCgroups = mode
	}
	if strings.Contains(opts.GetLogFile(), "/") {
		return o, badRequest("log_file %q: a plain name is wanted; work_dir_fd says where it is", opts.GetLogFile())
	}
	return o, nil
}

// cgroupMode is what a request says about cgroups, in the words of CRIU's command line.
func cgroupMode(opts *rpc.CriuOpts) (string, bool) {
	const old = "soft" // What manage_cgroups has meant since there are modes.
	if opts.ManageCgroupsMode == nil {
		return old, opts.GetManageCgroups()
	}
	names := map[rpc.CriuCgMode]string{
		rpc.CriuCgMode_IGNORE: "ignore", rpc.CriuCgMode_CG_NONE: "none", rpc.CriuCgMode_PROPS: "props",
		rpc.CriuCgMode_SOFT: "soft", rpc.CriuCgMode_FULL: "full", rpc.CriuCgMode_STRICT: "strict",
		rpc.CriuCgMode_DEFAULT: old,
	}
	name, ok := names[opts.GetManageCgroupsMode()]
	return name, ok
}
