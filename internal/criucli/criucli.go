// SPDX-License-Identifier: Apache-2.0

// Package criucli reads the command line of CRIU 4.2, as scripts and CRIU's own tests
// write it, and turns it into a request of CRIU's RPC. What the request has no field for
// becomes a line of a config file, which every option of CRIU's can be, and which the
// request names.
package criucli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"
)

// ErrUsage says that CRIU would not understand the command line either.
var ErrUsage = errors.New("not a command line of criu's")

// Command is a command line.
type Command struct {
	Name string // Such as "dump".
	// Options are what the RPC has fields for. Directories are not among them.
	Options *rpc.CriuOpts
	// Config are lines of a config file: all other options.
	Config []string
	// ConfigFile is --config; "": none.
	ConfigFile string

	ImagesDir string // As given; "" is ".".
	WorkDir   string // "": the image directory.
	PIDFile   string // "": none.
	Detached  bool   // --restore-detached.
}

// kind is what an option takes.
type kind uint8

const (
	flag     kind = iota // Nothing; --no-NAME takes it back.
	value                // A value.
	optional             // A value after "=", or none.
)

// option is one option of CRIU's.
type option struct {
	name  string
	short byte // 0: none.
	kind  kind
	// set puts it into the command; nil: it becomes a line of the config file.
	set func(c *Command, value string) error
}

// Parse reads the arguments after the name of the program, of which the first says what
// to do: "dump" or "restore". The error is ErrUsage and names the argument.
func Parse(args []string) (*Command, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("%w: it says not what to do", ErrUsage)
	}
	p := parser{command: &Command{Options: &rpc.CriuOpts{ImagesDirFd: proto.Int32(-1)}}, rest: args}
	for len(p.rest) > 0 {
		if err := p.next(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUsage, err)
		}
	}
	if p.command.Name == "" {
		return nil, fmt.Errorf("%w: it says not what to do", ErrUsage)
	}
	return p.command, nil
}

// parser is a command line that is being read.
type parser struct {
	command *Command
	rest    []string
}

// next reads one argument and what belongs to it.
func (p *parser) next() error {
	arg := p.rest[0]
	p.rest = p.rest[1:]
	switch {
	case arg == "--":
		p.command.Options.ExecCmd, p.rest = p.rest, nil
		return nil
	case strings.HasPrefix(arg, "--"):
		return p.long(arg[2:])
	case strings.HasPrefix(arg, "-verbosity="): // getopt_long takes it, and CRIU's tests write it.
		return p.long(arg[1:])
	case len(arg) > 1 && arg[0] == '-':
		return p.short(arg[1:])
	case p.command.Name == "":
		p.command.Name = arg
		return nil
	}
	return fmt.Errorf("%q is one argument too many", arg)
}

// long reads an option by its name.
func (p *parser) long(arg string) error {
	name, text, given := strings.Cut(arg, "=")
	o, off := find(func(o option) bool { return o.name == name }), false
	if o == nil {
		if positive, ok := strings.CutPrefix(name, "no-"); ok {
			o, off = find(func(o option) bool { return o.name == positive && o.kind == flag }), true
		}
	}
	switch {
	case o == nil:
		return fmt.Errorf("--%s is no option of criu 4.2", name)
	case o.kind == flag && given:
		return fmt.Errorf("--%s takes no value", name)
	case off:
		return nil // As if it had not been given.
	case o.kind == value && !given:
		var err error
		if text, err = p.value("--" + name); err != nil {
			return err
		}
	}
	return p.take(o, text)
}

// short reads options by their letters, of which the last may have a value.
func (p *parser) short(arg string) error {
	for i := range len(arg) {
		o := find(func(o option) bool { return o.short == arg[i] })
		if o == nil {
			return fmt.Errorf("-%c is no option of criu 4.2", arg[i])
		}
		if o.kind == flag {
			if err := p.take(o, ""); err != nil {
				return err
			}
			continue
		}
		text := arg[i+1:]
		if o.kind == value && text == "" {
			var err error
			if text, err = p.value("-" + arg[i:i+1]); err != nil {
				return err
			}
		}
		return p.take(o, text)
	}
	return nil
}

// value takes the next argument as the value of an option.
func (p *parser) value(of string) (string, error) {
	if len(p.rest) == 0 {
		return "", fmt.Errorf("the value of %s is missing", of)
	}
	text := p.rest[0]
	p.rest = p.rest[1:]
	return text, nil
}

// take puts an option into the command.
func (p *parser) take(o *option, text string) error {
	if o.set != nil {
		if err := o.set(p.command, text); err != nil {
			return fmt.Errorf("--%s %q: %w", o.name, text, err)
		}
		return nil
	}
	line := o.name
	if text != "" {
		if strings.ContainsAny(text, "\n\"") {
			return fmt.Errorf("--%s %q: a config file of criu's cannot hold this value", o.name, text)
		}
		if strings.ContainsAny(text, " \t#") {
			text = `"` + text + `"`
		}
		line += " " + text
	}
	p.command.Config = append(p.command.Config, line)
	return nil
}

// find returns the first option that is meant.
func find(meant func(option) bool) *option {
	all := options()
	if i := slices.IndexFunc(all, meant); i >= 0 {
		return &all[i]
	}
	return nil
}

// number reads a value that is a number.
func number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 0, 33)
	if err != nil {
		return 0, errors.New("want a number")
	}
	return n, nil
}
