#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Finds or fetches a Go toolchain, and prints the path of its go command.
#
# Any Go since 1.21 will do: it fetches by itself the release that go.mod
# names. On a machine with an older one (Debian 12) or none, Go is taken from
# Debian testing in the way that CRIU is: verified by apt, unpacked into
# crtime's cache, nothing of the system changed.
#
# Environment: CRTIME_CACHE and CRTIME_MIRROR, see get-criu.sh.
set -euo pipefail

readonly minimum=1.21
readonly cache=${CRTIME_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or CRTIME_CACHE}/.cache}/crtime}/go

# shellcheck source=internal/criu/get/private-apt.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../internal/criu/get/private-apt.sh"

# scratch is the folder that the exit trap removes; empty while there is none.
scratch=

say() { printf 'get-go: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# usable holds when the go command at $1 runs and is new enough.
usable() {
	local version
	version=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
	[[ $(printf '%s\n' "go$minimum" "$version" | sort -V | head -n 1) == "go$minimum" ]]
}

# fetch unpacks Go into $cache/current.
fetch() {
	local go
	mkdir -p "$cache"
	scratch=$(mktemp -d "$cache/.new.XXXXXX")
	trap 'rm -rf -- "$scratch"' EXIT
	mkdir "$scratch/apt" "$scratch/new"
	unpack_packages "$scratch/apt" "$scratch/new/root" testing golang-go
	go=$(first_match "$scratch"/new/root/usr/lib/go-*/bin/go) || die "no go command in what apt fetched"
	ln -s "${go#"$scratch/new/"}" "$scratch/new/go"
	usable "$scratch/new/go" || die "the Go of Debian testing does not run here; install Go $minimum or newer yourself"
	if [[ -e $cache/current ]]; then mv -T "$cache/current" "$scratch/old"; fi
	mv -T "$scratch/new" "$cache/current"
}

main() {
	local system
	if system=$(command -v go) && usable "$system"; then
		printf '%s\n' "$system"
		return
	fi
	if ! usable "$cache/current/go"; then fetch; fi
	printf '%s\n' "$cache/current/go"
}

main
