#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Generates the Go code of the .proto files, or checks that it is up to date.
#
# Usage: proto.sh [generate|check]
#
# check also holds the .proto files to buf's rules. It writes nothing below
# the source tree.
set -euo pipefail
# shellcheck source=.ci/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# generate writes the generated code into folder $1. buf looks for its plugin
# on the path: the pinned one comes first there.
generate() {
	local plugin
	tool protoc-gen-go --version >&2
	plugin=$(tool -n protoc-gen-go)
	PATH=${plugin%/*}:$PATH tool buf generate --template proto/buf.gen.yaml -o "$1" proto
}

check() {
	local fresh
	fresh=$(mktemp -d)
	# shellcheck disable=SC2064 # The name is to be expanded now.
	trap "rm -rf -- '$fresh'" EXIT
	tool buf lint proto
	generate "$fresh"
	# All files of the one kind that is generated: a leftover is stale too.
	(cd proto && find . -name '*.pb.go' | sort) >"$fresh/have"
	(cd "$fresh" && find . -name '*.pb.go' | sort) >"$fresh/want"
	diff -u "$fresh/have" "$fresh/want" >&2 || die "generated files are missing or left over: run make proto"
	local file
	while read -r file; do
		diff -u "proto/$file" "$fresh/$file" >&2 || die "proto/$file is stale: run make proto"
	done <"$fresh/want"
	say "$(wc -l <"$fresh/want") generated file(s) up to date"
}

case ${1:-generate} in
generate) generate proto ;;
check) check ;;
*) die "usage: proto.sh [generate|check]" ;;
esac
