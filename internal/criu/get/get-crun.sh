#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Finds or fetches a crun that can checkpoint containers, for crtime's tests,
# and prints its path.
#
# Debian 12 builds crun without CRIU. This one is found or fetched as get-criu.sh
# does it, with libcriu, which crun loads when it first needs it; libcriu in turn
# starts the criu in PATH.
#
# Environment: as for get-criu.sh, with CRUN in place of CRIU.
set -euo pipefail

# No older one has been tried.
readonly minimum=1.28
readonly program=crun packages=(crun libcriu2)

# shellcheck source=internal/criu/get/private-program.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/private-program.sh"

# version_of prints the version of the crun at $1, such as 1.28.
version_of() { "$1" --version 2>/dev/null | sed -n 's/^crun version *//p'; }

# has_libcriu holds when the crun at $1 will find libcriu: beside itself if it
# is in the cache, where the system has its libraries if not.
has_libcriu() {
	local root=${1%/*}/root
	if [[ -d $root ]]; then
		[[ -e $root/usr/lib/$(library_triplet)/libcriu.so.2 ]]
	else
		[[ $(PATH=$PATH:/usr/sbin:/sbin ldconfig -p) == *libcriu.so.2* ]]
	fi
}

# usable holds when the crun at $1 is new enough, built with CRIU, and finds
# libcriu. Otherwise it says why not.
usable() {
	local crun=$1
	recent "$crun" "$minimum" || return 1
	if [[ " $("$crun" --version) " != *" +CRIU "* ]]; then
		say "$crun is built without CRIU; not used"
		return 1
	fi
	if ! has_libcriu "$crun"; then
		say "$crun lacks libcriu; not used"
		return 1
	fi
	say "$crun ($(version_of "$crun")) can checkpoint containers"
}

wrapper_lines() { printf '# The criu that libcriu starts is the one in PATH.\n'; }

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then find_or_fetch; fi
