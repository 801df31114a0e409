#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fuzzes every fuzz target of the project, one after the other.
#
# Usage: fuzz.sh [SECONDS]
#
# SECONDS (default 60) is shared by all targets; each gets one second at least.
# An input that fails is kept under testdata/fuzz beside the test: commit it
# with the fix.
set -euo pipefail
# shellcheck source=.ci/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

total=${1:-60}
[[ $total =~ ^[0-9]+$ ]] || die "usage: fuzz.sh [SECONDS]"
export CGO_ENABLED=0

# targets prints 'package target' for each. go test lists the names of a
# package before the line that names the package.
targets() {
	go test -list '^Fuzz' ./... | awk '
		/^Fuzz/ { names[++count] = $1 }
		$1 == "ok" { for (i = 1; i <= count; i++) print $2, names[i]; count = 0 }'
}

# fuzz runs one target. go test sometimes takes the end of its own time for a failure
# of the target; it names no input then, and is run once more.
fuzz() {
	local log try
	log=$(mktemp)
	for try in 1 2 3; do
		if go test -run '^$' -fuzz "^$2\$" -fuzztime "${each}s" -fuzzminimizetime 5x "$1" 2>&1 | tee "$log"; then
			rm -f -- "$log"
			return 0
		fi
		if ((try == 3)) || grep -q 'Failing input' "$log" || ! grep -q '^ *context deadline exceeded$' "$log"; then break; fi
	done
	rm -f -- "$log"
	return 1
}

# A failing go list must not pass for a project without targets.
list=$(targets) || die "cannot list the fuzz targets"
if [[ -z $list ]]; then
	say "no fuzz targets"
	exit 0
fi
mapfile -t all <<<"$list"
each=$((total / ${#all[@]}))
if ((each == 0)); then each=1; fi

for target in "${all[@]}"; do
	read -r package name <<<"$target"
	printf -- '--- %s %s, %d s\n' "$package" "$name" "$each"
	fuzz "$package" "$name"
done
printf '%d fuzz targets, %d s each, no failure\n' "${#all[@]}" "$each"
