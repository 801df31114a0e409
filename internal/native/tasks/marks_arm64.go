// SPDX-License-Identifier: Apache-2.0

package tasks

func machineThreadMarks() []mark { return nil }

func machineProcessMarks() []mark { return nil }
