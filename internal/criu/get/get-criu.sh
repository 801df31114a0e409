#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Finds or fetches a CRIU that crtime can work with, and prints its path.
#
# Standard output is one line: the path. All else goes to standard error.
# The order is: the system's own criu if it is new enough and works here, then
# the copy in the private cache, and only then the network. What is fetched
# comes from Debian testing through the apt mirror that this machine already
# uses, with apt verifying every signature. It is unpacked beside the system,
# never into it: apt's lists, cache and package database are private and
# thrown away, and CRIU runs on its own libc through its own dynamic loader.
#
# Environment:
#   CRTIME_CACHE            cache folder
#                           (default: ${XDG_CACHE_HOME:-~/.cache}/crtime)
#   CRTIME_CRIU_SUITE       Debian suite to take CRIU from (default: testing)
#   CRTIME_MIRROR           Debian archive to take CRIU from (default: the
#                           first one in this machine's apt sources)
#   CRTIME_CRIU_SKIP_SYSTEM when 1, do not look at the system's criu
set -euo pipefail

readonly minimum=4.2
readonly program=criu packages=(criu)

# shellcheck source=internal/criu/get/private-program.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/private-program.sh"

# version_of prints the version of the criu at $1, such as 4.2.1.
version_of() { "$1" --version 2>/dev/null | sed -n 's/^Version: *//p'; }

# usable holds when the criu at $1 is new enough and its self-check passes.
# Otherwise it says why not.
usable() {
	local criu=$1 log line
	recent "$criu" "$minimum" || return 1
	if ! log=$("$criu" check 2>&1); then
		say "$criu does not pass 'criu check' on Linux $(uname -r); it needs root:"
		while read -r line; do say "  $line"; done <<<"$log"
		return 1
	fi
	say "$criu ($(version_of "$criu")) passes 'criu check'"
}

wrapper_lines() {
	# CRIU refuses every dump when a plugin folder that it was told of is missing.
	mkdir -p "$1/root/usr/lib/criu"
	cat <<-'LINES'
		# Plugins of another CRIU on this machine were built for another libc.
		export CRIU_LIBS_DIR="${CRIU_LIBS_DIR:-$root/usr/lib/criu}"
	LINES
}

# Tests source this file for its functions; only a run of it has an effect.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then find_or_fetch; fi
