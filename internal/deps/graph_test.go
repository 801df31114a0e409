// SPDX-License-Identifier: Apache-2.0

package deps

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// pkg is what the go command says of a package.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	CgoFiles   []string
}

// graph holds packages by import path: ours and all that they depend on.
type graph map[string]pkg

// loadGraph asks the go command for the import graph of this module on arch.
// Cgo counts as enabled, so that files which use it are not left out.
func loadGraph(t *testing.T, arch string) graph {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps",
		"-json=ImportPath,Standard,Imports,CgoFiles", module+"...")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list of the import graph: %v\n%s", err, stderr.Bytes())
	}
	g, err := parseGraph(bytes.NewReader(out))
	if err != nil {
		t.Fatalf("import graph from go list: %v", err)
	}
	return g
}

// parseGraph reads the output of go list -json: objects one after the other.
func parseGraph(r io.Reader) (graph, error) {
	g := graph{}
	for d := json.NewDecoder(r); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return g, nil
		}
		if err != nil {
			return nil, fmt.Errorf("package %d: %w", len(g)+1, err)
		}
		g[p.ImportPath] = p
	}
}

// matches reports whether the import path matches one of the patterns.
func matches(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if pattern == "..." {
			return strings.HasPrefix(path+"/", module)
		}
		base, below := strings.CutSuffix(pattern, "/...")
		if first, _, _ := strings.Cut(base, "/"); below && !strings.Contains(first, ".") {
			base = module + base
		}
		return path == base || below && strings.HasPrefix(path, base+"/")
	})
}

// violations checks every rule and describes each breach, in a stable order.
func violations(g graph, rules []rule) []string {
	var found []string
	for _, r := range rules {
		for path := range g {
			if !matches(path, r.From) || matches(path, r.Except) {
				continue
			}
			if chain := g.chain(path, r); chain != nil {
				found = append(found, fmt.Sprintf("%s must not: %s", strings.Join(chain, " imports "), r.Why))
			}
		}
	}
	slices.Sort(found)
	return found
}

// chain returns the shortest chain of imports from a package to one that r
// forbids, or nil. It does not look behind the standard library, which imports
// only itself.
func (g graph) chain(from string, r rule) []string {
	parent := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		path := queue[0]
		if path != from && matches(path, r.Forbid) && !matches(path, r.Allow) {
			return unwind(parent, path)
		}
		if g[path].Standard {
			continue
		}
		for _, next := range g[path].Imports {
			if _, seen := parent[next]; !seen {
				parent[next] = path
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// unwind follows the parents of a package back to where the search began.
func unwind(parent map[string]string, path string) []string {
	var chain []string
	for ; path != ""; path = parent[path] {
		chain = append(chain, path)
	}
	slices.Reverse(chain)
	return chain
}

// TestViolations checks the checker on graphs made for it.
func TestViolations(t *testing.T) {
	ours := func(imports ...string) pkg { return pkg{Imports: imports} }
	noC := rule{From: []string{"a/..."}, Forbid: []string{"c/..."}, Why: "because"}
	for _, tt := range []struct {
		name string
		g    graph
		rule rule
		want []string
	}{
		{
			name: "kept",
			g:    graph{module + "a": ours(module + "b"), module + "b": ours("fmt"), module + "c": ours(module + "a")},
			rule: noC,
		},
		{
			name: "direct",
			g:    graph{module + "a": ours(module + "c"), module + "c": ours()},
			rule: noC,
			want: []string{module + "a imports " + module + "c must not: because"},
		},
		{
			name: "through another, from a folder below, to a folder below",
			g:    graph{module + "a/x": ours(module + "b"), module + "b": ours(module + "c/y")},
			rule: noC,
			want: []string{module + "a/x imports " + module + "b imports " + module + "c/y must not: because"},
		},
		{
			name: "a name that only begins alike",
			g:    graph{module + "a": ours(module + "cc"), module + "ab": ours(module + "c")},
			rule: noC,
		},
		{
			name: "all of ours but what is allowed",
			g:    graph{module + "a": ours(module+"b", module+"d", "fmt", "example.org/x")},
			rule: rule{From: []string{"a/..."}, Forbid: []string{"..."}, Allow: []string{"b/..."}, Why: "pure"},
			want: []string{module + "a imports " + module + "d must not: pure"},
		},
		{
			name: "a library, with an exception",
			g:    graph{module + "a": ours("example.org/x/y"), module + "b": ours("example.org/x")},
			rule: rule{From: []string{"..."}, Except: []string{"b/..."}, Forbid: []string{"example.org/x/..."}, Why: "no"},
			want: []string{module + "a imports example.org/x/y must not: no"},
		},
		{
			name: "the standard library is not searched",
			g:    graph{module + "a": ours("net"), "net": {Standard: true, Imports: []string{module + "c"}}},
			rule: noC,
		},
		{
			name: "a cycle ends",
			g:    graph{module + "a": ours(module + "b"), module + "b": ours(module + "a")},
			rule: noC,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := violations(tt.g, []rule{tt.rule}); !slices.Equal(got, tt.want) {
				t.Errorf("violations:\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestParseGraph checks that a broken answer is an error and not a small graph.
func TestParseGraph(t *testing.T) {
	g, err := parseGraph(strings.NewReader(`{"ImportPath":"a","Imports":["b"]}{"ImportPath":"b","Standard":true}`))
	if err != nil || len(g) != 2 || !g["b"].Standard || g["a"].Imports[0] != "b" {
		t.Errorf("parseGraph = %v, %v", g, err)
	}
	if g, err := parseGraph(strings.NewReader(`{"ImportPath":"a"}{"Impo`)); err == nil || g != nil {
		t.Errorf("parseGraph of a truncated answer = %v, %v; want an error", g, err)
	}
}
