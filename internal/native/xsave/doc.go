// SPDX-License-Identifier: Apache-2.0

// Package xsave tells how this processor lays out extended state: the standard form
// of the XSAVE area (Intel SDM volume 1, 13.4), in which ptrace and signal frames
// hand it out.
package xsave
