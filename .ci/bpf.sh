#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Compiles the BPF program of internal/native/waits with clang, and writes the Go
# code that loads it. Both are committed: only who changes the program needs clang.
#
# Usage: bpf.sh [generate|check]
#
# check compares the Go code and what the committed object was made of with the
# source. Compilers of different versions make different objects, so that the object
# itself is not compared.
set -euo pipefail
# shellcheck source=.ci/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

package=internal/native/waits
source_file=$package/bpf/waits.c
sum_file=$package/bpf/waits.c.sha256

generate() {
	.ci/install-deps.sh bpf
	GOPACKAGE=waits tool bpf2go -cc clang -cflags '-O2 -g -Wall -Werror -mcpu=v3' -no-strip \
		-target bpfel -output-dir "$package" bpf "$source_file"
	llvm-strip -g "$package/bpf_bpfel.o"
	sha256sum "$source_file" >"$sum_file"
}

check() {
	sha256sum --check --quiet "$sum_file" >&2 || die "$source_file has changed since it was compiled: run make bpf"
	say "the BPF program is up to date"
}

case ${1:-generate} in
generate | check) "${1:-generate}" ;;
*) die "usage: bpf.sh [generate|check]" ;;
esac
