#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks the Go code with golangci-lint and the scripts with shellcheck.
set -euo pipefail
# shellcheck source=.ci/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# scripts prints the path of every shell script of the project.
scripts() {
	printf '%s\n' .ci/run
	find . -path './.*' ! -path './.ci*' -prune -o -name '*.sh' -print
}

mapfile -t scripts < <(scripts)
if command -v shellcheck >/dev/null; then
	shellcheck --external-sources --source-path="$PWD" "${scripts[@]}"
else
	die "shellcheck is missing: run make deps"
fi
tool golangci-lint run --timeout 10m ./...
