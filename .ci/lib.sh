# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the scripts of this folder share; source it first. It moves to the top
# of the source tree.

cd "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# tool runs a tool that internal/tools/go.mod pins. The first use on a machine
# builds it, which takes a minute or two for the linter and for buf.
tool() { go tool -modfile=internal/tools/go.mod "$@"; }
