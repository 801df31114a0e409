#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fetches one of Debian's cloud kernels, and prints the folder that it is in.
#
# Usage: get-kernel.sh 6.1|6.12|newest
#   6.1     of bookworm
#   6.12    of trixie
#   newest  of testing
#
# The folder holds vmlinuz, release (its version) and modules/, the few modules
# that a virtual machine for tests needs, numbered in the order in which they
# are loaded. Kernels come as CRIU does (see get-criu.sh): through the apt mirror
# of this machine, verified by apt, into crtime's cache, nothing of the system
# changed. What the cache has is used without the network; newest is looked up
# anew once it is 30 days old, and used as it is if that fails.
#
# Environment: CRTIME_CACHE and CRTIME_MIRROR, see get-criu.sh.
set -euo pipefail

readonly cache=${CRTIME_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or CRTIME_CACHE}/.cache}/crtime}/kernels

# What is built into one kernel is a module of another, so any may be missing.
# Between host and guest: a virtio port. For engines: what sockets there are. For
# CRIU's look at the kernel: nftables.
readonly wanted=(virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev
	virtio_pci virtio_console inet_diag tcp_diag udp_diag raw_diag unix_diag
	af_packet_diag netlink_diag libcrc32c nfnetlink nf_tables)

# shellcheck source=internal/criu/get/private-apt.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../../internal/criu/get/private-apt.sh"

# scratch is the folder that the exit trap removes; empty while there is none.
scratch=

say() { printf 'get-kernel: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# suite_of prints the Debian suite of kernel $1.
suite_of() {
	case $1 in
	6.1) echo bookworm ;;
	6.12) echo trixie ;;
	newest) echo testing ;;
	*) die "usage: get-kernel.sh 6.1|6.12|newest" ;;
	esac
}

# depends prints what package $2 depends on, by apt's configuration in $1.
depends() { apt-cache -c "$1/apt.conf" show --no-all-versions "$2" | sed -n 's/^Depends: //p'; }

# packages prints the packages of the kernel that the suite configured in $1
# offers. Newer ones have the kernel and its modules in packages of their own.
packages() {
	local image
	image=$(depends "$1" linux-image-cloud-amd64 | grep -oE 'linux-image-[0-9][^ ,]*') ||
		die "the suite has no linux-image-cloud-amd64"
	printf '%s\n' "$image"
	depends "$1" "$image" | grep -oE 'linux-(binary|modules)-[0-9][^ ,]*' || true
}

# download unpacks the kernel of suite $2 into $1/root. Dependencies are left
# out: a kernel's are for installing it.
download() {
	local work=$1 suite=$2 deb
	local -a names
	command -v apt-get >/dev/null || die "no apt on this machine"
	write_apt_config "$work/apt" "$suite"
	say "reading $(cat "$work/apt/sources.list")"
	apt-get -c "$work/apt/apt.conf" -qq -o APT::Update::Error-Mode=any update >&2 ||
		die "apt cannot read or verify the suite '$suite'"
	mapfile -t names < <(packages "$work/apt")
	((${#names[@]} > 0)) || exit 1
	say "fetching ${names[*]}"
	mkdir "$work/debs" "$work/root"
	(cd "$work/debs" && apt-get -c "$work/apt/apt.conf" -qq download "${names[@]}" >&2) ||
		die "apt cannot fetch ${names[*]}"
	for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
}

# collect puts what is needed of $1/root into folder $2.
collect() {
	local root=$1/root dir=$2 image modules module path number=10
	image=$(first_match "$root"/boot/vmlinuz-* "$root"/usr/lib/modules/*/vmlinuz) || die "no vmlinuz in what apt fetched"
	modules=$(first_match "$root"/{usr/,}lib/modules/*) || die "no modules in what apt fetched"
	mkdir -p "$dir/modules"
	cp -- "$image" "$dir/vmlinuz"
	basename "$modules" >"$dir/release"
	printf '%s\n' "${wanted[@]}" >"$dir/wanted"
	for module in "${wanted[@]}"; do
		path=$(find "$modules" -name "$module.ko*" -print -quit)
		if [[ -n $path ]]; then cp -- "$path" "$dir/modules/$number-${path##*/}"; fi
		((number += 1))
	done
}

# fetch puts kernel $1 into the cache, in place of an older one.
fetch() {
	local name=$1
	mkdir -p "$cache"
	scratch=$(mktemp -d "$cache/.new.XXXXXX")
	trap 'rm -rf -- "$scratch"' EXIT
	download "$scratch" "$(suite_of "$name")"
	collect "$scratch" "$scratch/new"
	if [[ -e $cache/$name ]]; then mv -T "$cache/$name" "$scratch/old"; fi
	mv -T "$scratch/new" "$cache/$name"
}

# complete holds if the cache has kernel $1 and all that this script wants of it.
complete() {
	[[ -e $cache/$1/wanted && $(<"$cache/$1/wanted") == "$(printf '%s\n' "${wanted[@]}")" ]]
}

# stale holds for a newest kernel that was fetched 30 days ago or more.
stale() { [[ $1 == newest && -n $(find "$cache/$1/release" -mtime +29) ]]; }

main() {
	local name=${1:-}
	suite_of "$name" >/dev/null
	[[ $(uname -m) == x86_64 ]] || die "kernels are booted on x86-64 only"
	if ! complete "$name"; then
		fetch "$name"
	elif stale "$name"; then
		# In a shell of its own, since a failure ends it.
		(fetch "$name") || say "using the $name kernel of the cache, $(cat "$cache/$name/release")"
	fi
	printf '%s\n' "$cache/$name"
}

main "$@"
