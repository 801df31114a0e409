# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Functions that find or fetch a program for crtime's own use, for other scripts
# to source: get-criu.sh says what they do and which variables of the
# environment they heed, for another program with its name in place of CRIU's.
#
# The script that sources this file sets
#
#   program   the name of the executable, of its package and of its folder in
#             the cache
#   packages  an array: that package, and what it needs but does not depend on
#
# and defines
#
#   version_of PATH  prints the version of the program at PATH; nothing if it
#                    does not start
#   usable PATH      holds when the program at PATH is one to use, else says
#                    why not
#   wrapper_lines DIR  makes what else the program needs below DIR/root, and
#                    prints lines of shell for its wrapper, which may use $root

: "${program:?}" "${packages:?}"

# program_setting prints the value of CRTIME_<program>_$1 in the environment.
program_setting() {
	local name=CRTIME_${program^^}_$1
	printf '%s\n' "${!name:-}"
}

program_suite=$(program_setting SUITE)
readonly program_suite=${program_suite:-testing}
readonly cache=${CRTIME_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or CRTIME_CACHE}/.cache}/crtime}/$program

# shellcheck source=internal/criu/get/private-apt.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/private-apt.sh"

# scratch is the folder that the exit trap removes; empty while there is none.
scratch=

say() { printf 'get-%s: %s\n' "$program" "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# version_at_least holds when version $1 is $2 or newer.
version_at_least() {
	[[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

# recent holds when the program at $1 is $2 or newer. Otherwise it says why not.
recent() {
	local version
	version=$(version_of "$1") || version=
	if [[ -z $version ]]; then
		say "$1 does not start; not used"
		return 1
	fi
	if ! version_at_least "$version" "$2"; then
		say "$1 is $version, older than $2; not used"
		return 1
	fi
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

# write_wrapper writes the executable $1/$program that runs the program under
# $1/root on the libraries there. It finds its own folder when it runs, so that
# the folder may be renamed or reached through a symbolic link.
write_wrapper() {
	local dir=$1 loader binary
	loader=$(first_match "$dir"/root/{usr/,}{lib64,lib}/ld-linux-*.so.* "$dir"/root/{usr/,}lib/*-linux-gnu/ld-linux-*.so.*) ||
		die "no dynamic loader in what apt fetched"
	binary=$(first_match "$dir"/root/usr/{sbin,bin}/"$program") ||
		die "no $program executable in what apt fetched"
	cat >"$dir/$program" <<-WRAPPER
		#!/bin/sh
		# Runs the $program of this folder on the libraries of this folder.
		self=\$0
		if [ -L "\$self" ]; then self=\$(readlink -f -- "\$self") || exit 127; fi
		root=\${self%/*}/root
		$(wrapper_lines "$dir")
		exec "\$root${loader#"$dir/root"}" --inhibit-cache --argv0 $program \\
			--library-path "$(library_dirs "$dir/root")" "\$root${binary#"$dir/root"}" "\$@"
	WRAPPER
	chmod 755 "$dir/$program"
}

# fetch downloads, unpacks and checks the program, then moves it to
# $cache/<version> and points $cache/current at it. It prepares beside those
# names, so that nobody meets half of it.
fetch() {
	local version
	mkdir -p "$cache"
	scratch=$(mktemp -d "$cache/.new.XXXXXX")
	trap 'rm -rf -- "$scratch"' EXIT
	mkdir "$scratch/apt" "$scratch/$program"
	unpack_packages "$scratch/apt" "$scratch/$program/root" "$program_suite" "${packages[@]}"
	write_wrapper "$scratch/$program"
	usable "$scratch/$program/$program" || die "the $program of Debian $program_suite does not work here"
	version=$(version_of "$scratch/$program/$program")
	# Whoever runs the old copy at this moment keeps it: its files stay open.
	if [[ -e $cache/$version ]]; then mv -T "$cache/$version" "$scratch/old"; fi
	mv -T "$scratch/$program" "$cache/$version"
	ln -s "$version" "$scratch/current"
	mv -T "$scratch/current" "$cache/current"
}

# find_or_fetch prints the path of a program to use: the system's own, else the
# one in the cache, which it fills if need be.
find_or_fetch() {
	local system cached=$cache/current/$program
	if [[ $(program_setting SKIP_SYSTEM) != 1 ]] && system=$(command -v "$program") && usable "$system"; then
		printf '%s\n' "$system"
		return
	fi
	if ! { [[ -x $cached ]] && usable "$cached"; }; then fetch; fi
	printf '%s\n' "$cached"
}
