// SPDX-License-Identifier: Apache-2.0

// Package settings finds out what the clocks shall do where the client cannot say so.
//
// A container runtime that speaks CRIU's RPC has no field for a policy: the schema
// has no room for it. So what `crtime restore` takes as flags comes from elsewhere,
// each source over the one before:
//
//  1. the defaults of the flags;
//  2. the settings file, [DefaultPath] or the one that [EnvConfig] names, in YAML;
//  3. environment variables;
//  4. directives in the config file of CRIU's that a request names (config_file).
//     They are comments to CRIU, so that plain CRIU takes the same file:
//     "# crtime: policy elapsed".
//
// A mistake in any of them is an [*Error] that names the place and what is allowed
// there: a policy that was misspelt must not become the default without a word. A
// file that others could have written is refused with [ErrUntrusted], since it names
// a program that is then run.
//
// The parsers are pure and take bytes; reading files is in one place (file.go).
package settings
