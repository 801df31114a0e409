// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Why sockets of each family cannot be saved.
const (
	whyTCP      = "the native engine saves no network connections: close it first, or use --engine criu (--tcp-established, --tcp-close)"
	whyInternet = "the native engine saves no network sockets: close it first, or use --engine criu"
)

// unsupportedSocket names a socket that is not a UNIX one.
func unsupportedSocket(d *descriptor) (what, why string) {
	protocol := protocolOf(d)
	family, _, _ := strings.Cut(protocol, "-")
	switch {
	case family == "UNIX":
		return "", ""
	case d.info.flags&unix.O_PATH != 0:
		return "file of a UNIX socket " + d.link + " opened with O_PATH", closeFirst
	case family == "":
		return d.link, "its protocol cannot be found out: " + closeFirst
	case family == "NETLINK", family == "PACKET":
		return strings.ToLower(family) + " socket", useCRIU
	case family == "AF_VSOCK":
		return "socket to a virtual machine (vsock)", closeFirst
	}
	table, name, ok := internetTable(protocol)
	if !ok {
		return protocol + " socket", closeFirst
	}
	what = name + " socket"
	if address, err := internetAddress(d, table); err == nil {
		what += " " + address
	}
	if strings.HasPrefix(name, "TCP") {
		return what, whyTCP
	}
	return what, whyInternet
}

// internetTable is the file below /proc/PID/net that lists the sockets of a
// protocol.
func internetTable(protocol string) (table, name string, ok bool) {
	switch strings.ToUpper(protocol) {
	case "TCP", "MPTCP":
		return "tcp", "TCP", true
	case "TCPV6", "MPTCPV6":
		return "tcp6", "TCP", true
	case "UDP":
		return "udp", "UDP", true
	case "UDPV6":
		return "udp6", "UDP", true
	case "UDP-LITE":
		return "udplite", "UDP-Lite", true
	case "UDPLITEV6":
		return "udplite6", "UDP-Lite", true
	case "RAW":
		return "raw", "raw IP", true
	case "RAWV6":
		return "raw6", "raw IP", true
	case "PING":
		return "icmp", "ping", true
	case "PINGV6":
		return "icmp6", "ping", true
	default:
		return "", "", false
	}
}

// internetAddress finds the addresses of a socket in the network namespace of
// its process: "127.0.0.1:80", with "to" and the peer's where it has one.
func internetAddress(d *descriptor, table string) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(d.pid) + "/net/" + table)
	if err != nil {
		return "", err
	}
	return parseInternetTable(data, d.stat.Ino)
}

// parseInternetTable finds the addresses of the socket with an inode in a table
// like /proc/net/tcp (Documentation/networking/proc_net_tcp.rst).
func parseInternetTable(data []byte, ino uint64) (string, error) {
	const local, remote, inode = 1, 2, 9 // Columns.
	want := strconv.FormatUint(ino, 10)
	for line := range bytes.Lines(data) {
		columns := strings.Fields(string(line))
		if len(columns) <= inode || columns[inode] != want {
			continue
		}
		from, err := parseInternetAddress(columns[local])
		if err != nil {
			return "", err
		}
		to, err := parseInternetAddress(columns[remote])
		if err != nil {
			return "", err
		}
		if to.Port() == 0 && to.Addr().IsUnspecified() {
			return from.String(), nil
		}
		return from.String() + " to " + to.String(), nil
	}
	return "", fmt.Errorf("there is no socket with inode %d", ino)
}

// parseInternetAddress reads "0100007F:0050": the address in words of 32 bits,
// each in the machine's order, and the port, all hexadecimal.
func parseInternetAddress(text string) (netip.AddrPort, error) {
	digits, port, ok := strings.Cut(text, ":")
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q has no port", text)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: %w", text, err)
	}
	raw, err := hex.DecodeString(digits)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: %w", text, err)
	}
	if len(raw)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("address %q: %w", text, errors.ErrUnsupported)
	}
	for word := raw; len(word) > 0; word = word[4:] {
		binary.BigEndian.PutUint32(word, binary.NativeEndian.Uint32(word))
	}
	// The bytes are those of the address in network order, read as a number of
	// the machine's order and printed; swapping undoes that on either machine.
	addr, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q has %d bytes", text, len(raw))
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), nil
}
