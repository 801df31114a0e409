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
#   CRTIME_CRIU_MIRROR      Debian archive to take CRIU from (default: the
#                           first one in this machine's apt sources)
#   CRTIME_CRIU_SKIP_SYSTEM when 1, do not look at the system's criu
set -euo pipefail

readonly minimum=4.2
readonly suite=${CRTIME_CRIU_SUITE:-testing}
readonly cache=${CRTIME_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or CRTIME_CACHE}/.cache}/crtime}/criu

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
	local criu=$1 version log
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
		sed 's/^/get-criu:   /' <<<"$log" >&2
		return 1
	fi
	say "$criu ($version) passes 'criu check'"
}

# archives prints 'URI<TAB>keyring' for each Debian archive among the apt
# sources of this machine, in both of apt's formats. The keyring is empty when
# the source names none, and then apt's own trusted keys apply.
archives() {
	local file
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		if [[ -f $file ]]; then archives_in_list "$file"; fi
	done
	for file in /etc/apt/sources.list.d/*.sources; do
		if [[ -f $file ]]; then archives_in_deb822 "$file"; fi
	done
}

# archives_in_list reads the one-line format: deb [options] URI suite component...
archives_in_list() {
	awk '
		$1 != "deb" { next }
		{
			key = ""
			line = $0
			sub(/^[ \t]*deb[ \t]+/, "", line)
			if (match(line, /^\[[^]]*\][ \t]*/)) {
				options = substr(line, 2, RLENGTH - 2)
				line = substr(line, RLENGTH + 1)
				sub(/\].*/, "", options)
				count = split(options, option, /[ \t]+/)
				for (i = 1; i <= count; i++)
					if (sub(/^signed-by=/, "", option[i])) key = option[i]
			}
			split(line, field, /[ \t]+/)
			print field[1] "\t" key
		}' "$1"
}

# archives_in_deb822 reads the stanza format. A key written into the stanza
# itself, rather than named by path, is left out: it holds the keys of one
# archive's release, and apt's trusted keys are the better guess.
archives_in_deb822() {
	awk '
		function flush(  i, count, uri) {
			count = split(uris, uri, /[ \t]+/)
			if (binary && enabled)
				for (i = 1; i <= count; i++)
					if (uri[i] != "") print uri[i] "\t" key
			uris = key = name = ""; binary = 0; enabled = 1
		}
		BEGIN { enabled = 1 }
		/^#/ { next }
		/^[ \t]*$/ { flush(); next }
		/^[^ \t]/ { name = tolower($1); sub(/^[^:]*:[ \t]*/, "") }
		name == "uris:" { uris = uris " " $0 }
		name == "types:" { if ($0 ~ /(^|[ \t])deb([ \t]|$)/) binary = 1 }
		name == "enabled:" { if (tolower($0) ~ /^(no|false|0)/) enabled = 0 }
		name == "signed-by:" { if ($1 ~ /^\//) key = $1 }
		END { flush() }' "$1"
}

# debian_archive prints 'URI<TAB>keyring' for the archive to use. A Debian
# archive is one whose path ends in /debian; security updates and third
# parties live under other names. Hostnames say nothing: mirrors have any.
debian_archive() {
	local uri keyring first=
	if [[ -n ${CRTIME_CRIU_MIRROR:-} ]]; then
		printf '%s\t\n' "$CRTIME_CRIU_MIRROR"
		return
	fi
	while IFS=$'\t' read -r uri keyring; do
		if [[ -z $first && ${uri%/} == */debian ]]; then
			first="${uri%/}"$'\t'"$keyring"
		fi
	done < <(archives)
	[[ -n $first ]] || die "no Debian archive among the apt sources of this machine; name one with CRTIME_CRIU_MIRROR=http://host/debian, or install CRIU $minimum or newer yourself"
	printf '%s\n' "$first"
}

# write_apt_config makes folder $1 a private world for apt: its own sources,
# lists, cache and an empty package database, so that apt resolves everything
# that CRIU needs, libc included. The machine's own settings (proxies, mirror
# quirks) still apply, but none of its hooks, which would touch the system.
write_apt_config() {
	local dir=$1 uri keyring
	IFS=$'\t' read -r uri keyring < <(debian_archive)
	[[ -n $uri ]] || exit 1
	mkdir -p "$dir"/{lists/partial,cache/archives/partial,log,empty}
	: >"$dir/status"
	printf 'deb %s%s %s main\n' "${keyring:+[signed-by=$keyring] }" "$uri" "$suite" >"$dir/sources.list"
	cat >"$dir/apt.conf" <<-CONF
		Dir::State "$dir";
		Dir::State::lists "$dir/lists";
		Dir::State::status "$dir/status";
		Dir::State::extended_states "$dir/extended_states";
		Dir::Cache "$dir/cache";
		Dir::Cache::archives "$dir/cache/archives";
		Dir::Log "$dir/log";
		Dir::Etc::sourcelist "$dir/sources.list";
		Dir::Etc::sourceparts "$dir/empty";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "$dir/empty";
		Acquire::Languages "none";
		Acquire::Retries "3";
		APT::Sandbox::User "$(id -un)";
		Debug::NoLocking "true";
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Pre-Invoke;
		#clear DPkg::Post-Invoke;
		#clear DPkg::Pre-Install-Pkgs;
		#clear Acquire::IndexTargets::deb::DEP-11;
		#clear Acquire::IndexTargets::deb::DEP-11-icons;
		#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
		#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
		#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
		#clear Acquire::IndexTargets::deb::DEP-11-icons-large-hidpi;
	CONF
}

# download fetches CRIU and everything that it needs into $1/cache/archives.
download() {
	local dir=$1
	write_apt_config "$dir"
	say "reading $(cat "$dir/sources.list")"
	apt-get -c "$dir/apt.conf" -qq -o APT::Update::Error-Mode=any update >&2 ||
		die "apt cannot read or verify the suite '$suite'; if a key is missing, install a newer debian-archive-keyring"
	apt-get -c "$dir/apt.conf" -qq --download-only --no-install-recommends \
		-y install criu >&2 ||
		die "apt cannot fetch criu from the suite '$suite'"
}

# first_match prints the first of the paths given that exists.
first_match() {
	local path
	for path; do
		if [[ -e $path ]]; then
			printf '%s\n' "$path"
			return
		fi
	done
	return 1
}

# library_dirs prints the folders under root $1 that hold shared libraries,
# each written relative to $1 and joined by colons.
library_dirs() {
	local triplet
	triplet=$(dpkg-architecture_triplet)
	local dir joined=
	for dir in "usr/lib/$triplet" "lib/$triplet" usr/lib lib; do
		if [[ -d $1/$dir ]]; then joined+=${joined:+:}\$root/$dir; fi
	done
	printf '%s\n' "$joined"
}

# dpkg-architecture_triplet prints the folder name that Debian gives to this
# architecture's libraries. The tool that knows it is not on every machine.
dpkg-architecture_triplet() {
	case $(dpkg --print-architecture) in
	amd64) echo x86_64-linux-gnu ;;
	arm64) echo aarch64-linux-gnu ;;
	*) die "no CRIU for the architecture $(dpkg --print-architecture): crtime knows amd64 and arm64" ;;
	esac
}

# write_wrapper writes the executable $1/criu that runs the CRIU under $1/root
# on the libraries there. Paths are found at run time, so that the folder may
# be renamed or reached through a symbolic link.
write_wrapper() {
	local dir=$1 loader binary
	# shellcheck disable=SC2086 # The patterns are meant to expand.
	loader=$(first_match "$dir"/root/{usr/,}lib{64,}/ld-linux-*.so.* "$dir"/root/{usr/,}lib/*-linux-gnu/ld-linux-*.so.*) ||
		die "no dynamic loader in what apt fetched"
	binary=$(first_match "$dir"/root/usr/{sbin,bin}/criu) ||
		die "no criu executable in what apt fetched"
	cat >"$dir/criu" <<-WRAPPER
		#!/bin/sh
		# Runs this folder's CRIU on this folder's libraries. Written by get-criu.sh.
		self=\$(readlink -f -- "\$0") || exit 127
		root=\${self%/*}/root
		# Plugins of another CRIU on this machine were built for another libc.
		CRIU_LIBS_DIR=\${CRIU_LIBS_DIR:-\$root/usr/lib/criu}
		export CRIU_LIBS_DIR
		exec "\$root${loader#"$dir/root"}" --inhibit-cache --argv0 criu --library-path "$(library_dirs "$dir/root")" "\$root${binary#"$dir/root"}" "\$@"
	WRAPPER
	chmod 755 "$dir/criu"
}

# fetch downloads, unpacks and checks CRIU, then moves it to
# $cache/<version> and points $cache/current at it. Nobody sees half of it.
fetch() {
	command -v apt-get >/dev/null || die "no apt on this machine: install CRIU $minimum or newer yourself"
	mkdir -p "$cache"
	scratch=$(mktemp -d "$cache/.new.XXXXXX")
	trap 'rm -rf -- "$scratch"' EXIT
	download "$scratch/apt"
	local deb version
	mkdir "$scratch/criu" "$scratch/criu/root"
	for deb in "$scratch"/apt/cache/archives/*.deb; do
		dpkg-deb -x "$deb" "$scratch/criu/root" || die "cannot unpack $deb"
		basename "$deb" >>"$scratch/criu/packages"
	done
	write_wrapper "$scratch/criu"
	usable "$scratch/criu/criu" || die "the CRIU of Debian $suite does not work on this kernel"
	version=$(criu_version "$scratch/criu/criu")
	chmod 755 "$scratch/criu"
	rm -rf -- "${cache:?}/$version"
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

main "$@"
