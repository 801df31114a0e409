// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// places are what a request's descriptors and paths lead to, as this process's own
// descriptors.
type places struct {
	images *os.File
	work   *os.File // As images, unless the client says otherwise.
	more   []*os.File
}

// places opens what a request names.
func (s *Session) places(opts *rpc.CriuOpts) (p *places, err error) {
	p = &places{}
	if p.images, err = s.images(opts); err != nil {
		return nil, err
	}
	p.work = p.images
	if opts.WorkDirFd != nil && opts.GetWorkDirFd() != -1 {
		if p.work, err = s.peer.openDir(opts.GetWorkDirFd(), "work_dir_fd"); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

// images opens the image directory.
func (s *Session) images(opts *rpc.CriuOpts) (*os.File, error) {
	if opts.GetImagesDirFd() != -1 {
		return s.peer.openDir(opts.GetImagesDirFd(), "images_dir_fd")
	}
	path := opts.GetImagesDir()
	if path == "" {
		return nil, badRequest("the request names no image directory (images_dir_fd or images_dir)")
	}
	if s.Stranger {
		// Whose root directory, and with whose rights?
		return nil, badRequest("images_dir: open the directory, and pass its descriptor as images_dir_fd")
	}
	dir, err := os.OpenFile(path, unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("image directory: %w", err)
	}
	return dir, nil
}

// close closes all of them.
func (p *places) close() {
	p.images.Close()
	if p.work != nil {
		p.work.Close() // Twice, if it is the same, is no harm.
	}
	for _, f := range p.more {
		f.Close()
	}
}

// owned is a request's options with this process's own descriptors, as CRIU must get
// them: it takes this process for its client. They are open as long as p is.
func (s *Session) owned(opts *rpc.CriuOpts, p *places) (*rpc.CriuOpts, error) {
	if s.Stranger && (opts.GetRstSibling() || len(opts.GetInheritFd()) > 0 || opts.GetPs().GetFd() != 0) {
		return nil, badRequest("rst_sibling, inherit_fd and ps.fd mean what a client hands down to a criu that it starts itself; start `crtime swrk` to use them")
	}
	own := proto.CloneOf(opts)
	own.ImagesDirFd = proto.Int32(int32(p.images.Fd()))
	own.WorkDirFd = proto.Int32(int32(p.work.Fd()))
	if opts.StatusFd != nil {
		f, err := s.peer.open(opts.GetStatusFd(), "status_fd", unix.O_WRONLY)
		if err != nil {
			return nil, err
		}
		p.more = append(p.more, f)
		own.StatusFd = proto.Int32(int32(f.Fd()))
	}
	if opts.PidfdStoreSk != nil {
		f, err := s.peer.take(opts.GetPidfdStoreSk(), "pidfd_store_sk")
		if err != nil {
			return nil, err
		}
		p.more = append(p.more, f)
		own.PidfdStoreSk = proto.Int32(int32(f.Fd()))
	}
	return own, nil
}

// path is a path of a directory that others can follow, too. Where the client lives among
// other mounts there may be none; then it is good as long as this process has it open.
func path(dir *os.File) string {
	own := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), dir.Fd()) // A CRIU that crtime starts can follow it.
	name, err := os.Readlink(own)
	if err != nil {
		return own
	}
	here, err := os.Stat(name)
	if err != nil {
		return own
	}
	if there, err := dir.Stat(); err != nil || !os.SameFile(here, there) {
		return own
	}
	return name
}
