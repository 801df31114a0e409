#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages that crtime's tests need, if any is missing.
#
# Usage: install-deps.sh [bpf|demo|test|kernels]
#   bpf      what compiles the BPF program
#   demo     a C compiler only
#   test     also the real programs that the end-to-end tests dump and restore
#   kernels  a C compiler, and QEMU to boot other kernels
#
# What is there already, from whatever source, is left alone, and a machine
# that lacks nothing is not touched and needs no network. Services that come
# with a package are not started.
set -euo pipefail

# A need is what must exist, a colon, and the package that brings it. What must
# exist is a command, or a path or pattern with a slash in it.
readonly demo_needs=(
	gcc:gcc
	/usr/include/stdio.h:libc6-dev
	git:git
	ip:iproute2
)
readonly kernels_needs=(
	"${demo_needs[@]}"
	qemu-system-x86_64:qemu-system-x86
)
readonly bpf_needs=(
	clang:clang
	llvm-strip:llvm
)
readonly test_needs=(
	"${demo_needs[@]}"
	busybox:busybox-static
	iptables:iptables
	java:default-jre-headless
	nft:nftables
	nginx:nginx-light
	node:nodejs
	'/usr/lib/postgresql/*/bin/postgres:postgresql'
	podman:podman
	ps:procps
	python3:python3
	redis-server:redis-server
	redis-cli:redis-tools
	runc:runc
	shellcheck:shellcheck
	sqlite3:sqlite3
	unshare:util-linux
)

say() { printf 'install-deps: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# present holds when the command or pattern $1 exists. Some servers live in
# /usr/sbin, which is not on everyone's path.
present() {
	if [[ $1 == */* ]]; then
		compgen -G "$1" >/dev/null
	else
		PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null
	fi
}

# missing_packages prints the package of each need given that is not met.
missing_packages() {
	local need
	for need; do
		present "${need%:*}" || printf '%s\n' "${need##*:}"
	done
}

# policy forbids packages to start their services during their installation.
# It is Debian's own switch, and is in place only while this script runs. A
# policy that the machine has already stays in force.
readonly policy=/usr/sbin/policy-rc.d
forbid_services() {
	if [[ -e $policy ]]; then return; fi
	trap 'rm -f -- "$policy"' EXIT
	printf '#!/bin/sh\n# Written by crtime for the length of one package installation.\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

# disable_services keeps what was just installed from starting at the next
# boot: tests start their own servers.
disable_services() {
	local package
	command -v systemctl >/dev/null || return 0
	for package; do
		case $package in
		redis-server | postgresql) systemctl --quiet disable "$package" >&2 ;;
		nginx-light) systemctl --quiet disable nginx >&2 ;;
		podman) systemctl --quiet disable podman.{service,socket} podman-auto-update.{service,timer} podman-restart.service >&2 ;;
		esac
	done
}

# install installs the packages given. Package lists are read anew only when
# the installation fails with those that are there.
install() {
	local -a apt_install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y
		-o Dpkg::Use-Pty=0 install --no-install-recommends "$@")
	forbid_services
	if ! "${apt_install[@]}" >&2; then
		say "reading the package lists anew"
		apt-get -qq update >&2
		"${apt_install[@]}" >&2
	fi
}

main() {
	local -a needs packages
	case ${1:-test} in
	bpf) needs=("${bpf_needs[@]}") ;;
	demo) needs=("${demo_needs[@]}") ;;
	test) needs=("${test_needs[@]}") ;;
	kernels) needs=("${kernels_needs[@]}") ;;
	*) die "usage: install-deps.sh [bpf|demo|test|kernels]" ;;
	esac
	mapfile -t packages < <(missing_packages "${needs[@]}")
	if ((${#packages[@]} == 0)); then return; fi
	command -v apt-get >/dev/null || die "install what provides these Debian packages: ${packages[*]}"
	((EUID == 0)) || die "run as root, or install these packages yourself: ${packages[*]}"
	say "installing ${packages[*]}"
	install "${packages[@]}" || die "apt could not install: ${packages[*]}"
	disable_services "${packages[@]}" || say "some of these services will start at the next boot: ${packages[*]}"
}

main "$@"
