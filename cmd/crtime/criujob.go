// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/crtime/crtime/internal/criucli"
	"github.com/crtime/crtime/internal/seqpacket"
	"github.com/crtime/crtime/internal/service"
	"github.com/crtime/crtime/internal/settings"
)

// carryOut does what a command line of CRIU's asks for, as a client of crtime's own
// service in this process: so it means the same as a request over the RPC.
func carryOut(ctx context.Context, s *streams, c *criucli.Command) error {
	images, err := os.OpenFile(orHere(c.ImagesDir), syscall.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("image directory: %w", err)
	}
	defer images.Close()
	c.Options.ImagesDirFd = proto.Int32(int32(images.Fd()))
	// It is named from the work directory that was asked for, not from the log's.
	pidPath := pidFilePath(c)
	if err := placeLog(c); err != nil {
		return err
	}
	if c.WorkDir != "" {
		work, err := os.OpenFile(c.WorkDir, syscall.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("work directory: %w", err)
		}
		defer work.Close()
		c.Options.WorkDirFd = proto.Int32(int32(work.Fd()))
	}
	config, err := configFile(c)
	if err != nil {
		return err
	}
	if config != nil {
		defer config.Close()
		// By this path a CRIU that this process starts finds it, too.
		c.Options.ConfigFile = proto.String(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), config.Fd()))
	}
	pidFile, err := preparePIDFile(pidPath)
	if err != nil {
		return err
	}
	defer pidFile.discard()
	pid, err := request(ctx, s, c)
	if err != nil || c.Name == "dump" {
		return err
	}
	if err := pidFile.commit(pid); err != nil {
		return err
	}
	if c.Detached || c.Options.GetRstSibling() {
		return nil
	}
	// CRIU waits, too, and does not tell how it ended.
	_, err = waitChild(ctx, pid)
	return err
}

// placeLog sees to a log file that is named by a path, from the work directory: a request
// can have but a name in there. So the log's directory becomes the work directory; if
// another one is asked for, that is an error.
func placeLog(c *criucli.Command) error {
	dir, name := filepath.Split(c.Options.GetLogFile())
	if dir == "" {
		return nil
	}
	work := c.WorkDir
	if work == "" {
		work = orHere(c.ImagesDir)
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(work, dir)
	}
	there, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	if c.WorkDir != "" {
		if asked, err := os.Stat(c.WorkDir); err != nil || !os.SameFile(there, asked) {
			return fmt.Errorf("log file %s: it is not in the work directory %s, which crtime cannot do", c.Options.GetLogFile(), c.WorkDir)
		}
	}
	c.WorkDir, c.Options.LogFile = dir, proto.String(name)
	return nil
}

// pidFilePath is where the pid file goes: CRIU counts a relative path from where it works.
func pidFilePath(c *criucli.Command) string {
	switch {
	case c.PIDFile == "" || filepath.IsAbs(c.PIDFile):
		return c.PIDFile
	case c.WorkDir != "":
		return filepath.Join(c.WorkDir, c.PIDFile)
	}
	return filepath.Join(orHere(c.ImagesDir), c.PIDFile)
}

// orHere is a directory, or the working directory if none is named.
func orHere(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// configFile makes a file of the options that a request has no field for, nil if there
// is none. It has no name.
func configFile(c *criucli.Command) (*os.File, error) {
	text := strings.Join(append(c.Config, ""), "\n")
	if c.ConfigFile != "" {
		given, err := os.ReadFile(c.ConfigFile)
		if err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
		text = string(given) + "\n" + text
	}
	if text == "" {
		return nil, nil
	}
	f, err := os.CreateTemp("", "crtime-config-*")
	if err != nil {
		return nil, fmt.Errorf("make a config file for criu: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return nil, errors.Join(fmt.Errorf("write a config file for criu: %w", err), f.Close())
	}
	return f, nil
}

// request sends the command to a session of the service in this process. It returns the
// restored root's number.
func request(ctx context.Context, s *streams, c *criucli.Command) (pid int, err error) {
	set, refusal := settings.Load()
	level := zap.WarnLevel
	if c.Options.LogFile == nil {
		// CRIU logs to standard error then.
		c.Options.LogToStderr = proto.Bool(true)
		const informative = 3
		if c.Options.GetLogLevel() >= informative {
			level = zap.InfoLevel
		}
	}
	enc, err := logEncoder("console")
	if err != nil {
		return 0, err
	}
	log := newLogger(enc, s.Err, level)
	client, theirs, err := seqpacket.Pair()
	if err != nil {
		return 0, err
	}
	session, err := service.NewSession(theirs, service.Options{
		Settings: set, Refusal: refusal, Own: true, Log: log,
	})
	if err != nil {
		return 0, errors.Join(err, client.Close())
	}
	served := make(chan error, 1)
	go func() { served <- session.Serve(ctx) }()
	kind := rpc.CriuReqType_DUMP
	if c.Name == "restore" {
		kind = rpc.CriuReqType_RESTORE
	}
	resp, err := ask(client, &rpc.CriuReq{Type: kind.Enum(), Opts: c.Options})
	err = errors.Join(err, client.Close())
	why := <-served
	switch {
	case err != nil:
		return 0, errors.Join(err, why)
	case why != nil:
		return 0, why // The session knows the reason best.
	case !resp.GetSuccess():
		return 0, errors.New(resp.GetCrErrmsg())
	}
	return int(resp.GetRestore().GetPid()), nil
}

// ask sends a request that makes no notifications, and waits for the response.
func ask(conn *seqpacket.Conn, req *rpc.CriuReq) (*rpc.CriuResp, error) {
	data, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	if err := conn.Send(data, nil); err != nil {
		return nil, err
	}
	packet, err := conn.Receive()
	if err != nil {
		return nil, err
	}
	packet.CloseFiles()
	resp := &rpc.CriuResp{}
	return resp, proto.Unmarshal(packet.Data, resp)
}
