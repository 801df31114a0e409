// SPDX-License-Identifier: Apache-2.0

package rootless

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crtime/crtime/clockstate"
	"github.com/crtime/crtime/internal/proc"
	"github.com/crtime/crtime/internal/timens"
)

// firstNumber is the number of a program. Those below are for keepers and restores, so
// that no restored process needs one of theirs: the kernel gives no number below 300 a
// second time.
const firstNumber = 1000

// Keep is the life of a keeper. It returns the status to end with.
func Keep() (int, error) {
	const fd = 3 // The first of exec.Cmd.ExtraFiles.
	unix.CloseOnExec(fd)
	control := os.NewFile(fd, "control")
	var o opening
	if _, err := receive(control, &o); err != nil {
		return 0, fmt.Errorf("crtime itself starts keepers, nobody else: %w", err)
	}
	// Otherwise it is called exe, as it was started from /proc.
	_ = os.WriteFile("/proc/self/comm", []byte("crtime"), 0)
	k := &keeping{children: newChildren()}
	defer k.forgetSocket()
	a, err := k.begin(o)
	if err != nil {
		a = answer{Err: err.Error(), Refused: errors.Is(err, unix.EPERM)}
	}
	if err := send(control, a, nil); err != nil {
		return 0, err
	}
	control.Close()
	if a.PID == 0 {
		return a.Status, nil
	}
	if err := letGoOfStreams(); err != nil {
		return 0, err
	}
	// Of the terminal's signals the program gets its own, and needs none from the keeper.
	if err := unix.Setpgid(0, 0); err != nil {
		return 0, os.NewSyscallError("setpgid", err)
	}
	k.passSignals(a.PID)
	k.attending.Go(k.serve)
	status, err := k.children.collect(a.PID)
	// Who asked for the last crtime is still to hear of it.
	err = errors.Join(err, unix.Shutdown(int(k.listener.Fd()), unix.SHUT_RDWR))
	k.attending.Wait()
	return status, err
}

// keeping is a keeper at work.
type keeping struct {
	children  *children
	listener  *os.File
	socket    string // Its name.
	attending sync.WaitGroup
}

// forgetSocket removes the socket and, if no other keeper has one, its folder.
func (k *keeping) forgetSocket() {
	if k.socket != "" {
		_ = os.Remove(k.socket)
		_ = os.Remove(filepath.Dir(k.socket))
	}
}

// begin makes the namespaces what they should be and starts the job.
func (k *keeping) begin(o opening) (answer, error) {
	if err := ownProc(); err != nil {
		return answer{}, err
	}
	if err := k.listen(o.Number); err != nil {
		return answer{}, err
	}
	if o.Job.Restore {
		return k.restore(o.Job.Args)
	}
	if err := numbersFrom(firstNumber); err != nil {
		return answer{}, err
	}
	pid, err := k.start(o.Job.Args)
	return answer{PID: pid}, err
}

// ownProc mounts a /proc that shows the processes of the namespace.
func ownProc() error {
	// What is mounted later outside appears inside too, but not the other way round.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep the mounts to the namespace: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc (a container that hides parts of its own /proc does not allow it): %w", err)
	}
	return nil
}

// numbersFrom has the next process get a number, if it is free.
func numbersFrom(first int) error {
	return os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(first-1)), 0)
}

// start starts the program, with no privileges and in a time namespace of its own.
func (k *keeping) start(argv []string) (int, error) {
	path, err := exec.LookPath(argv[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return 0, fmt.Errorf("find the command: %w", err)
	}
	var pid int
	err = k.children.add(func() (int, error) {
		p, err := timens.Start(timens.Command{
			Path: path, Args: argv, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, DropAmbient: true,
		}, clockstate.Offsets{})
		if err != nil {
			return 0, err
		}
		pid = p.PID
		return pid, p.Release()
	}, nil)
	return pid, err
}

// restore has a crtime restore a tree, whose root then is the keeper's only child.
func (k *keeping) restore(args []string) (answer, error) {
	ended := make(chan int, 1)
	err := k.children.add(func() (int, error) { return startCrtime(request{Args: args, Env: os.Environ()}, nil) }, ended)
	if err != nil {
		return answer{}, err
	}
	if status := k.children.await(ended); status != 0 {
		return answer{Status: status}, nil
	}
	tree, err := proc.Scan(os.Getpid())
	if err != nil {
		return answer{}, err
	}
	pids := tree.PIDs()
	if len(pids) < 2 {
		return answer{}, errors.New("the restored tree has ended at once")
	}
	// Its own children get numbers as they would have.
	most := firstNumber
	for _, pid := range pids {
		most = max(most, pid+1)
	}
	return answer{PID: pids[1]}, numbersFrom(most)
}

// startCrtime starts a crtime with all privileges of the namespace. Without files it
// has the keeper's streams.
func startCrtime(r request, files []*os.File) (int, error) {
	if files == nil {
		files = []*os.File{os.Stdin, os.Stdout, os.Stderr}
	}
	p, err := os.StartProcess("/proc/self/exe", append([]string{"crtime"}, r.Args...), &os.ProcAttr{Dir: r.Dir, Env: r.Env, Files: files})
	if err != nil {
		return 0, err
	}
	pid := p.Pid
	return pid, p.Release()
}

// letGoOfStreams closes the streams of who has started the keeper, who may wait for
// their ends.
func letGoOfStreams() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := unix.Dup2(int(null.Fd()), fd); err != nil {
			return os.NewSyscallError("dup2", err)
		}
	}
	return nil
}

// passSignals has signals that are meant for the program reach it.
func (k *keeping) passSignals(pid int) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range caught {
			if number, ok := s.(syscall.Signal); ok {
				_ = syscall.Kill(pid, number) // It may have ended.
			}
		}
	}()
}

// listen makes the socket at which requests arrive.
func (k *keeping) listen(number int) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	k.listener = os.NewFile(uintptr(fd), "requests")
	at, err := address(number)
	if err != nil {
		return err
	}
	k.socket = at.Name
	_ = os.Remove(k.socket) // Of a keeper of that number that was killed.
	if err := unix.Bind(fd, at); err != nil {
		return fmt.Errorf("take requests at %s: %w", k.socket, err)
	}
	const waiting = 16
	return os.NewSyscallError("listen", unix.Listen(fd, waiting))
}

// serve carries out requests until the keeper ends.
func (k *keeping) serve() {
	for {
		fd, _, err := unix.Accept4(int(k.listener.Fd()), unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return
		}
		k.attending.Go(func() { k.attend(os.NewFile(uintptr(fd), "request")) })
	}
}

// attend carries out one request of the keeper's own user.
func (k *keeping) attend(conn *os.File) {
	defer conn.Close()
	cred, err := peer(conn)
	if err != nil || int(cred.Uid) != os.Getuid() {
		return
	}
	// Who says nothing does not keep the keeper.
	patience, always := unix.Timeval{Sec: 10}, unix.Timeval{}
	_ = unix.SetsockoptTimeval(int(conn.Fd()), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience)
	var r request
	files, err := receive(conn, &r)
	defer closeAll(files)
	if err != nil || len(files) != 3 {
		return
	}
	_ = unix.SetsockoptTimeval(int(conn.Fd()), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &always)
	ended := make(chan int, 1)
	var pid int
	err = k.children.add(func() (_ int, err error) {
		pid, err = startCrtime(r, files)
		return pid, err
	}, ended)
	if err != nil {
		_ = send(conn, answer{Err: err.Error()}, nil)
		return
	}
	closeAll(files)
	go k.passOn(conn, pid)
	_ = send(conn, answer{Status: <-ended}, nil) // Who has gone needs no answer.
}

// passOn sends a crtime the signals that its user sends, and ends it when he goes.
func (k *keeping) passOn(conn *os.File, pid int) {
	for {
		var r request
		files, err := receive(conn, &r)
		closeAll(files)
		if err != nil {
			k.children.signal(pid, unix.SIGTERM)
			return
		}
		k.children.signal(pid, unix.Signal(r.Signal))
	}
}
