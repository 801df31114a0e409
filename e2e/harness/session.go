// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Session is a shell that leads a session with a terminal, for programs that
// belong to one. It is for one goroutine.
type Session struct {
	// Terminal is the user's end of the terminal.
	Terminal *os.File

	shell *exec.Cmd
	lines io.WriteCloser // What the shell reads its commands from.
	tty   string         // The programs' end of the terminal, by name.
	dir   string         // For what the commands print.
}

// NewSession starts a shell on a new terminal. The caller must call Close.
func NewSession(dir string, env ...string) (*Session, error) {
	user, shell, err := openTerminal()
	if err != nil {
		return nil, fmt.Errorf("making a terminal: %w", err)
	}
	defer shell.Close()
	s := &Session{Terminal: user, tty: shell.Name(), dir: dir, shell: exec.Command("sh", "-s")}
	s.shell.Env = append(os.Environ(), env...)
	// The commands come through a pipe, and the terminal is at output.
	s.shell.Stdout, s.shell.Stderr = shell, shell
	s.shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1}
	if s.lines, err = s.shell.StdinPipe(); err == nil {
		err = s.shell.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting a shell on a terminal: %w", err), user.Close())
	}
	return s, nil
}

// openTerminal returns both ends of a new terminal.
func openTerminal() (user, program *os.File, err error) {
	user, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			user.Close()
		}
	}()
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, os.NewSyscallError("TIOCSPTLCK", err)
	}
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, nil, os.NewSyscallError("TIOCGPTN", err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	return user, program, err
}

// Start starts a program in the session, its standard input the terminal and the
// rest as Start has it.
func (s *Session) Start(ctx context.Context, p Program, output string) (*Tree, error) {
	out, err := os.OpenFile(output, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("output of %s: %w", p.Name, err)
	}
	out.Close()
	command := fmt.Sprintf("(cd %s && exec %s) <>%s >>%s 2>&1 & echo $!", quote(p.Dir), quote(p.Argv...), s.tty, quote(output))
	printed, err := s.do(ctx, command, p.Argv)
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(printed)))
	if err != nil {
		return nil, fmt.Errorf("starting %s in a session: %w", p.Name, err)
	}
	return &Tree{Program: p, PID: pid, Output: output, known: map[int]bool{pid: true}}, nil
}

// Reap has the shell wait for what it has started.
func (s *Session) Reap(ctx context.Context) error {
	_, err := s.do(ctx, "wait", []string{"wait"})
	return err
}

// run runs a command with the terminal as its standard input, like run.
func (s *Session) run(ctx context.Context, argv []string) ([]byte, error) {
	return s.do(ctx, quote(argv...)+" <>"+s.tty, argv)
}

// do has the shell run a command and returns what it prints.
func (s *Session) do(ctx context.Context, command string, argv []string) ([]byte, error) {
	file := func(name string) string { return filepath.Join(s.dir, "session."+name) }
	names := []string{file("out"), file("err"), file("new"), file("status")}
	defer func() {
		for _, name := range names {
			// One that was not made, or that is found by the leftover check.
			_ = os.Remove(name)
		}
	}()
	_, err := fmt.Fprintf(s.lines, "{ %s; } >%s 2>%s; echo $? >%s; mv %s %s\n",
		command, quote(names[0]), quote(names[1]), quote(names[2]), quote(names[2]), quote(names[3]))
	if err != nil {
		return nil, fmt.Errorf("telling the shell: %w", err)
	}
	var status []byte
	if err := wait(ctx, argv[0], func() (bool, error) {
		var err error
		if status, err = os.ReadFile(names[3]); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return true, err
	}); err != nil {
		return nil, err
	}
	out, outErr := os.ReadFile(names[0])
	said, saidErr := os.ReadFile(names[1])
	code, err := strconv.Atoi(strings.TrimSpace(string(status)))
	if err := errors.Join(outErr, saidErr, err); err != nil {
		return nil, fmt.Errorf("output of %s: %w", argv[0], err)
	}
	if code != 0 {
		return out, &CommandError{argv, code, string(said)}
	}
	return out, nil
}

// quote writes arguments as the shell reads them.
func quote(args ...string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// Close ends the shell and takes the terminal away.
func (s *Session) Close() error {
	// It may be in the midst of a command that does not end.
	killed := s.shell.Process.Kill()
	if err := s.shell.Wait(); err != nil && s.shell.ProcessState == nil {
		return fmt.Errorf("ending the session: %w", err)
	}
	if err := errors.Join(killed, s.Terminal.Close()); err != nil {
		return fmt.Errorf("ending the session: %w", err)
	}
	return nil
}
