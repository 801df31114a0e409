// SPDX-License-Identifier: Apache-2.0

package criuimg

import "strings"

// foreign says what an image means that is not read here, by the beginning of
// its name.
func foreign() []struct{ reason, stems string } {
	return []struct{ reason, stems string }{
		{"the tree has a network namespace of its own", "netns- netdev- ifaddr- route- route6- rule- iptables- ip6tables- nftables-"},
		{"the tree has a mount namespace of its own", "mountpoints- tmpfs- autofs- binfmt-misc"},
		{"the tree has a host name of its own", "utsns-"},
		{"the tree has System V IPC of its own", "ipcns-"},
		{"the tree has a user namespace of its own", "userns-"},
		{"the tree has a pid namespace of its own", "pidns-"},
		{"it is an established TCP connection", "tcp-stream-"},
		{"AppArmor profiles came with the tree", "apparmor"},
		{"the tree has BPF maps open", "bpfmap-"},
		{"the dump asked for this very processor", "cpuinfo"},
		{
			"CRIU has not written such a file since long before 4.2: restore with an older CRIU, and dump again",
			"creds- sigacts- itimers- posix-timers- rlimit- signal-s- signal-p- vmas- pages-shmem- reg-files ext-files " +
				"ns-files eventfd eventpoll signalfd inotify fanotify pipes fifo unixsk inetsk packetsk netlinksk tunfile timerfd tty",
		},
	}
}

// stranger is the error for an image of no kind that is read here.
func stranger(name string) error {
	for _, f := range foreign() {
		for stem := range strings.FieldsSeq(f.stems) {
			if strings.HasPrefix(name, stem) {
				return unsupported(name, "%s", f.reason)
			}
		}
	}
	return unsupported(name, "no image of CRIU 4.2 has this name")
}
