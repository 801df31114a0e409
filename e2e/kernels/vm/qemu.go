// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Accel is how QEMU runs a machine's code.
type Accel string

// The ways.
const (
	KVM Accel = "kvm"
	TCG Accel = "tcg" // Emulation.
)

// Program is QEMU's name.
const Program = "qemu-system-x86_64"

// kernelArguments: the console is the serial port, which holds what the kernel
// says; a panic ends the machine at once, since QEMU is told not to reboot; the
// time stamp counter is trusted, so that programs read their clocks in the vdso
// as they do on real machines, where the kernel would otherwise find an emulated
// counter too unsteady.
const kernelArguments = "console=ttyS0 panic=-1 oops=panic tsc=reliable random.trust_cpu=on quiet loglevel=4"

// arguments are those of this machine's kernel. An emulated processor has the
// counter of the host's, and the kernel finds out its rate by an emulated timer,
// which goes wrong when the host is busy: 7.2 was seen with clocks that ran 25
// times too fast. So it is told.
func (m *Machine) arguments() string {
	if rate := tickRate(); m.Accel == TCG && rate != 0 {
		return fmt.Sprintf("%s tsc_early_khz=%d", kernelArguments, rate)
	}
	return kernelArguments
}

// qemu is the command for a machine.
func (m *Machine) qemu() *exec.Cmd {
	// KVM refuses the first of these on some hosts; the second is gone from the
	// processors, and CRIU has an own place for it in its images.
	cpu := "host,arch-capabilities=off"
	if m.Accel == TCG {
		cpu = "max,mpx=off"
	}
	cmd := exec.Command(Program,
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-machine", "pc", "-accel", string(m.Accel), "-cpu", cpu, "-smp", "2", "-m", "1024",
		"-kernel", filepath.Join(m.Kernel.Dir, "vmlinuz"), "-initrd", m.path("initramfs"), "-append", m.arguments(),
		"-serial", "file:"+m.path("console"),
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=agent,server=on,wait=off,path="+m.path("agent"),
		"-device", "virtserialport,chardev=agent,name=crtime",
	)
	// Nothing outlives the tests, however they end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// bootTime is what a machine may take until its agent answers. Emulated it takes 4
// seconds on a quiet host and took 35 on a very busy one; beyond that, it hangs, as
// QEMU 7.2 was seen to do. KVM would do it in one second; where it is there and does
// not work, it may well hang, which is to be known soon.
func (a Accel) bootTime() time.Duration {
	if a == KVM {
		return 20 * time.Second
	}
	return 90 * time.Second
}
