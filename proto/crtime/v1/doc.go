// SPDX-License-Identifier: Apache-2.0

// Package crtimev1 is the generated Go of crtime's clock image, format version
// 1. Package clockstate is the only one that reads and writes it; everything
// else uses that package's types, which are checked.
package crtimev1
