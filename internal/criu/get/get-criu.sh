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
readonly criu_suite=${CRTIME_CRIU_SUITE:-testing}
readonly cache=${CRTIME_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or CRTIME_CACHE}/.cache}/crtime}/criu

# shellcheck source=internal/criu/get/private-apt.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/private-apt.sh"

# scratch is the folder that the exit trap removes; empty while there is none.
scratch=

say() { printf 'get-criu: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# criu_version prints the version of the criu at $1, such as 4.2.1.
criu_version() { "$1" --version 2>/dev/null | sed -n 's/^Version: *//p'; }

# version_at_least holds when version $1 is $2 or newer.
version_at_least() {
	[[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

# usable holds when the criu at $1 is new enough and its self-check passes.
# Otherwise it says why not.
usable() {
	local criu=$1 version log line
	version=$(criu_version "$criu") || version=
	if [[ -z $version ]]; then
		say "$criu does not start; not used"
		return 1
	fi
	if ! version_at_least "$version" "$minimum"; then
		say "$criu is $version, older than $minimum; not used"
		return 1
	fi
	if ! log=$("$criu" check 2>&1); then
		say "$criu ($version) does not pass 'criu check' on Linux $(uname -r):"
		while read -r line; do say "  $line"; done <<<"$log"
		return 1
	fi
	say "$criu ($version) passes 'criu check'"
}

# library_dirs prints the folders under root $1 that hold shared libraries, as
# the wrapper names them: below $root, joined by colons.
library_dirs() {
	local triplet dir joined=
	triplet=$(library_triplet)
	for dir in "usr/lib/$triplet" "lib/$triplet" usr/lib lib; do
		if [[ -d $1/$dir ]]; then joined+=${joined:+:}\$root/$dir; fi
	done
	printf '%s\n' "$joined"
}

# write_wrapper writes the executable $1/criu that runs the CRIU under $1/root
# on the libraries there. It finds its own folder when it runs, so that the
# folder may be renamed or reached through a symbolic link.
write_wrapper() {
	local dir=$1 loader binary
	loader=$(first_match "$dir"/root/{usr/,}{lib64,lib}/ld-linux-*.so.* "$dir"/root/{usr/,}lib/*-linux-gnu/ld-linux-*.so.*) ||
		die "no dynamic loader in what apt fetched"
	binary=$(first_match "$dir"/root/usr/{sbin,bin}/criu) ||
		die "no criu executable in what apt fetched"
	# CRIU refuses every dump when a plugin folder that it was told of is missing.
	mkdir -p "$dir/root/usr/lib/criu"
	cat >"$dir/criu" <<-WRAPPER
		#!/bin/sh
		# Runs the CRIU of this folder on the libraries of this folder.
		self=\$0
		if [ -L "\$self" ]; then self=\$(readlink -f -- "\$self") || exit 127; fi
		root=\${self%/*}/root
		# Plugins of another CRIU on this machine were built for another libc.
		export CRIU_LIBS_DIR="\${CRIU_LIBS_DIR:-\$root/usr/lib/criu}"
		exec "\$root${loader#"$dir/root"}" --inhibit-cache --argv0 criu \\
			--library-path "$(library_dirs "$dir/root")" "\$root${binary#"$dir/root"}" "\$@"
	WRAPPER
	chmod 755 "$dir/criu"
}

# fetch downloads, unpacks and checks CRIU, then moves it to $cache/<version>
# and points $cache/current at it. It prepares beside those names, so that
# nobody meets half of it.
fetch() {
	local version
	mkdir -p "$cache"
	scratch=$(mktemp -d "$cache/.new.XXXXXX")
	trap 'rm -rf -- "$scratch"' EXIT
	mkdir "$scratch/apt" "$scratch/criu"
	unpack_packages "$scratch/apt" "$scratch/criu/root" "$criu_suite" criu
	write_wrapper "$scratch/criu"
	usable "$scratch/criu/criu" ||
		die "the CRIU of Debian $criu_suite does not work here; crtime needs $minimum or newer, run by root"
	version=$(criu_version "$scratch/criu/criu")
	# Whoever runs the old copy at this moment keeps it: its files stay open.
	if [[ -e $cache/$version ]]; then mv -T "$cache/$version" "$scratch/old"; fi
	mv -T "$scratch/criu" "$cache/$version"
	ln -s "$version" "$scratch/current"
	mv -T "$scratch/current" "$cache/current"
}

main() {
	local system
	if [[ ${CRTIME_CRIU_SKIP_SYSTEM:-0} != 1 ]] && system=$(command -v criu) && usable "$system"; then
		printf '%s\n' "$system"
		return
	fi
	if [[ -x $cache/current/criu ]] && usable "$cache/current/criu"; then
		printf '%s\n' "$cache/current/criu"
		return
	fi
	fetch
	printf '%s\n' "$cache/current/criu"
}

# Tests source this file for its functions; only a run of it has an effect.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main; fi
