#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the Go tests and ends with one line: N passed, N failed, N skipped.
# Every skipped test is listed with its reason.
#
# Usage: test.sh [all|unit|e2e|kernels]
#
# The end-to-end tests run after the others and alone, since they measure time.
# Those inside other kernels are part of all, too, but are skipped there: they are
# run by kernels, which gets the kernels first.
#
# Environment:
#   KERNELS             which ones: names that get-kernel.sh knows
#   RACE                when 1, use the race detector (needs a C compiler)
#   TESTFLAGS           more flags for go test, such as -short or -run=Name
#   CI                  when true, a skipped end-to-end test is a failure
#                       unless the tests know it to be impossible here; and what
#                       fails is run once more, see run
#   CRTIME_E2E_STRICT   the same, by itself
set -euo pipefail
# shellcheck source=.ci/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# Results cached from an earlier run say nothing about this kernel.
flags=(-count=1)
export CGO_ENABLED=0
if [[ ${RACE:-0} == 1 ]]; then
	export CGO_ENABLED=1
	flags+=(-race)
fi
read -ra more <<<"${TESTFLAGS:-}"
flags+=("${more[@]}")
if [[ ${CI:-} == true ]]; then export CRTIME_E2E_STRICT=${CRTIME_E2E_STRICT:-1}; fi

results=$(mktemp -d)
trap 'rm -rf -- "$results"' EXIT
status=0
limit=30m

# run tests the packages $3... in the format $2 and keeps the events as $1.
#
# Some tests meet, once in thousands of runs, what another program or the machine does
# at that moment. In CI, up to three that fail are run once more. That they had to be
# is said at the end, with how they failed above: it is for somebody to look into. A
# data race is never run again, nor does it help a package that has failed beside its
# tests, such as by what they have left behind.
run() {
	local name=$1 format=$2 again=()
	shift 2
	if (($# == 0)); then return; fi
	if [[ ${CI:-} == true ]]; then
		again=(--rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-abort-on-data-race
			--rerun-fails-report "$results/$name.again")
	fi
	tool gotestsum --format "$format" --format-hide-empty-pkg --jsonfile "$results/$name.json" \
		"${again[@]}" --packages "$*" -- -timeout "$limit" "${flags[@]}" || status=1
}

# get_kernels fetches the kernels $@ where the cache lacks them, and names them to
# the tests.
get_kernels() {
	local kernel dir
	CRTIME_KERNELS=
	for kernel; do
		dir=$(e2e/kernels/get-kernel.sh "$kernel")
		CRTIME_KERNELS+="$kernel=$dir "
	done
	export CRTIME_KERNELS
}

# count prints how many tests and subtests ended in the given way.
count() {
	cat "$results"/*.json | grep '"Test":' | grep -c "\"Action\":\"$1\"" || true
}

# beside lists the packages that have failed although all their tests had passed.
beside() {
	cat "$results"/*.json | grep '"Action":"fail"' | awk -F'"' '
		{ package = test = ""
		  for (i = 1; i < NF; i++) {
			if ($i == "Package") package = $(i + 2)
			if ($i == "Test") test = $(i + 2)
		  }
		  if (test == "") failed[package] = 1; else named[package] = 1 }
		END { for (p in failed) if (p != "" && !(p in named)) print p }' || true
}

what=${1:-all}
mapfile -t packages < <(go list ./...)
unit=() e2e=()
for package in "${packages[@]}"; do
	if [[ $package == */e2e || $package == */e2e/* ]]; then e2e+=("$package"); else unit+=("$package"); fi
done
case $what in
all | unit | e2e) ;;
kernels)
	read -ra kernels <<<"${KERNELS:-6.1 6.12 newest}"
	get_kernels "${kernels[@]}"
	unit=() e2e=(./e2e/kernels/...)
	limit=60m # Emulation is slow.
	;;
*) die "usage: test.sh [all|unit|e2e|kernels]" ;;
esac
if [[ $what != e2e ]]; then run unit pkgname "${unit[@]}"; fi
if [[ $what != unit ]]; then run e2e testname "${e2e[@]}"; fi

mapfile -t beside < <(beside)
if ((${#beside[@]} > 0)); then
	printf '\n%s\n' '=== Failed beside the tests, see above' "${beside[@]}"
	status=1
fi
passed=$(count pass) failed=$(count fail)
if ((status == 0 && failed > 0)); then
	printf '\n%s\n' '=== Failed at first, and passed when run again'
	cat "$results"/*.again
	failed=0
fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$(count skip)"
if ((passed == 0)); then die "no test ran"; fi
exit "$status"
