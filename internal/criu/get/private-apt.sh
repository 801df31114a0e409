# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Functions that fetch Debian packages without touching the system, for other
# scripts to source. They use the apt mirror that this machine already uses;
# apt resolves the dependencies and verifies the signatures, but its lists,
# cache and package database are private, so that it knows of no installed
# package and therefore fetches everything, libc included.
#
# The script that sources this file defines say and die.

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
		name == "signed-by:" { if ($1 ~ /^\/.*\.(gpg|asc|pgp)$/) key = $1 }
		END { flush() }' "$1"
}

# debian_archive prints 'URI<TAB>keyring' for the archive to use. A Debian
# archive is one whose path ends in /debian; security updates and third
# parties live under other names. Hostnames say nothing: mirrors have any.
debian_archive() {
	local uri keyring first=
	if [[ -n ${CRTIME_MIRROR:-} ]]; then
		printf '%s\t\n' "$CRTIME_MIRROR"
		return
	fi
	while IFS=$'\t' read -r uri keyring; do
		if [[ -z $first && ${uri%/} == */debian ]]; then
			first="${uri%/}"$'\t'"$keyring"
		fi
	done < <(archives)
	[[ -n $first ]] || die "no Debian archive among the apt sources of this machine; name one with CRTIME_MIRROR=http://host/debian"
	printf '%s\n' "$first"
}

# write_apt_config makes folder $1 a private world for apt that knows suite $2.
# The machine's own settings (proxies, mirror quirks) still apply, but none of
# its hooks, which would touch the system.
write_apt_config() {
	local dir=$1 suite=$2 uri keyring
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

# unpack_packages fetches the packages $4... of suite $3 with all that they
# depend on, and unpacks them into folder $2. Folder $1 holds apt's own files
# meanwhile. The names and versions of what was unpacked go into $2.packages.
unpack_packages() {
	local work=$1 root=$2 suite=$3 deb
	shift 3
	command -v apt-get >/dev/null || die "no apt on this machine: install $* yourself"
	write_apt_config "$work" "$suite"
	say "reading $(cat "$work/sources.list")"
	apt-get -c "$work/apt.conf" -qq -o APT::Update::Error-Mode=any update >&2 ||
		die "apt cannot read or verify the suite '$suite'; if it lacks a key, install a newer debian-archive-keyring"
	apt-get -c "$work/apt.conf" -qq -y --download-only --no-install-recommends install "$@" >&2 ||
		die "apt cannot fetch $* from the suite '$suite'"
	mkdir "$root"
	for deb in "$work"/cache/archives/*.deb; do
		dpkg-deb -x "$deb" "$root" || die "cannot unpack $deb"
		basename "$deb" .deb >>"$root.packages"
	done
}

# library_triplet prints the folder name that Debian gives to the libraries of
# this architecture. dpkg-architecture knows it too, but is seldom installed.
library_triplet() {
	case $(dpkg --print-architecture) in
	amd64) echo x86_64-linux-gnu ;;
	arm64) echo aarch64-linux-gnu ;;
	*) die "no package for the architecture $(dpkg --print-architecture): crtime knows amd64 and arm64" ;;
	esac
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
