// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Ticker is the C ticker that prints a record each millisecond; args are those
// of programs/ticker/ticker.c.
func (l *Lab) Ticker(args ...string) Program {
	return Program{Name: "ticker", Argv: append([]string{l.ticker}, args...)}
}

// Spinner is the C ticker that spins and shares a board in a file of dir.
func (l *Lab) Spinner(dir string, args ...string) Program {
	board := filepath.Join(dir, "board")
	return Program{Name: "spinner", Argv: append([]string{l.ticker, "-s", board}, args...), Board: board}
}

// GoTicker is the ticker with many goroutines and timers.
func (l *Lab) GoTicker() Program {
	return Program{Name: "goticker", Argv: []string{l.goTicker}}
}

// Pipeline is a shell pipeline of four processes.
func (l *Lab) Pipeline() Program {
	return Program{Name: "pipeline", Argv: []string{l.program("shell", "pipeline.sh"), l.ticker}}
}

// Sleepers sleep in every way that there is, for so long.
func (l *Lab) Sleepers(ctx context.Context, limit time.Duration) (Program, error) {
	return l.compiled(ctx, "sleeps", l.program("sleeps", "sleeps.c"), strconv.FormatInt(limit.Milliseconds(), 10))
}

// Checker is a tree of C and Go that checks itself in every way.
func (l *Lab) Checker(ctx context.Context) (Program, error) {
	return l.compiled(ctx, "checker", l.program("checker", "checker.c"), l.goTicker, "-interval", "0", "-work", "4")
}

// Spaces is a tree in several time namespaces; its processes print records into files
// of dir. The shapes are those of programs/spaces/spaces.c.
func (l *Lab) Spaces(ctx context.Context, shape, dir string) (Program, error) {
	return l.compiled(ctx, "spaces", l.program("spaces", "spaces.c"), shape, dir)
}

// HTTPServer is python's http.server with a thread that prints the clocks.
func (l *Lab) HTTPServer() (Program, error) {
	return l.python("http.server", l.program("python", "server.py"))
}

// SQLite writes to the database file db in a loop. SQLite keeps locks on it.
func (l *Lab) SQLite(db string) (Program, error) {
	p, err := l.python("sqlite", l.program("python", "sqlite_loop.py"), db)
	p.Flags = []string{"--file-locks"}
	return p, err
}

func (l *Lab) python(name string, args ...string) (Program, error) {
	// The system's own first: others may be scripts that look for a third.
	path, err := find("/usr/bin/python3", "python3")
	return Program{
		Name: name, Argv: append([]string{path}, args...),
		Env: []string{"PYTHONDONTWRITEBYTECODE=1"},
	}, err
}

// Node is a ticker on node's event loop.
func (l *Lab) Node() (Program, error) {
	path, err := find("node", "nodejs")
	return Program{Name: "node", Argv: []string{path, l.program("node", "ticker.js")}}, err
}

// Java is a ticker on a Java virtual machine, compiled from its source at
// start.
func (l *Lab) Java() (Program, error) {
	path, err := find("java")
	return Program{Name: "java", Argv: []string{path, l.program("java", "Ticker.java")}}, err
}

// Work is a python program whose threads wait, talk to a child process and write
// the given file. It does so many rounds of 50 ms and ends with the given status.
func (l *Lab) Work(file string, rounds, status int) (Program, error) {
	return l.python("work", l.program("python", "work.py"), fmt.Sprint(rounds), file, fmt.Sprint(status))
}

// NodeWorkers is a ticker on node's event loop with threads beside it. Node is
// asked to do without io_uring, which cannot be dumped.
func (l *Lab) NodeWorkers() (Program, error) {
	path, err := find("node", "nodejs")
	return Program{
		Name: "workers", Argv: []string{path, l.program("node", "workers.js")},
		Env: []string{"UV_USE_IO_URING=0"},
	}, err
}

// JavaRate is a scheduled executor of a Java virtual machine with garbage to
// collect by several threads.
func (l *Lab) JavaRate() (Program, error) {
	path, err := find("java")
	return Program{Name: "rate", Argv: []string{
		path, "-XX:+UseG1GC", "-XX:ParallelGCThreads=4", "-XX:ConcGCThreads=2", "-Xmx96m",
		l.program("java", "Rate.java"),
	}}, err
}

// Heap works through a heap of so many megabytes and checks each word of it. It
// is compiled when it is first asked for.
func (l *Lab) Heap(ctx context.Context, megabytes int) (Program, error) {
	return l.compiled(ctx, "heap", l.program("heap", "heap.c"), fmt.Sprint(megabytes))
}

// Gzip compresses a file into FILE.gz beside it.
func (l *Lab) Gzip(file string) (Program, error) {
	path, err := find("gzip")
	return Program{Name: "gzip", Argv: []string{path, "-9", "-k", file}}, err
}

// Compiler compiles a C source into an object, with the driver, the compiler
// proper and the assembler at once in a tree, joined by a pipe.
func (l *Lab) Compiler(source, object string) (Program, error) {
	path, err := find("gcc")
	return Program{Name: "gcc", Argv: []string{path, "-O2", "-pipe", "-c", "-o", object, source}}, err
}

// Redis is a server without persistence on the given port.
func (l *Lab) Redis(dir string, port int) (Program, error) {
	path, err := find("redis-server")
	return Program{
		Name:  "redis",
		Argv:  []string{path, "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--dir", dir},
		Flags: []string{"--tcp-established"},
	}, err
}

// Nginx is a server with two workers that stay root: reading the limits of
// another user's process takes CAP_SYS_RESOURCE, which not every root has.
func (l *Lab) Nginx(dir string, port int) (Program, error) {
	path, err := find("nginx")
	if err != nil {
		return Program{}, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`user root;
daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 127.0.0.1:%[2]d;
		return 200 "it works";
	}
}
`, dir, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return Program{}, fmt.Errorf("configuration of nginx: %w", err)
	}
	return Program{
		Name: "nginx",
		Argv: []string{path, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log")},
	}, nil
}

// program returns the path of a file below e2e/programs.
func (l *Lab) program(elem ...string) string {
	return filepath.Join(append([]string{l.root, "e2e", "programs"}, elem...)...)
}
