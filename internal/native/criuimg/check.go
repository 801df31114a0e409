// SPDX-License-Identifier: Apache-2.0

package criuimg

import "fmt"

// Check reports whether the set is consistent in itself, and of a form that this
// package writes and reads:
//
//   - the processes form one tree, parents before children; every pid and tid is
//     within the kernel's bounds and used once; every process has the images that
//     its state needs, of this machine's processor, and shares neither memory nor
//     the namespaces' root_ids with another;
//   - memory mappings are aligned, ascending and apart; pagemaps ascend and lie
//     within mappings or segments; what is mapped is there;
//   - files have one id each and the message that their type says; descriptors,
//     working directories, mappings, ghosts, pipe data, packets, memfds, terminals
//     and locks refer to what exists.
//
// It does not look at the directory, and not at what only the rebuilder of a
// kind of state can judge. The error names the image file and the entry.
func (s *Set) Check() error {
	// Each relies on what those before it have found to be right.
	for _, check := range []func() error{
		s.checkInventory, s.checkTree, s.checkProcesses, s.checkFiles, s.checkTables, s.checkData, s.checkMemory,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// missing is the error for an image that a process needs.
func missing(k *kind, id uint32) error {
	return damaged(k.name(uint64(id)), -1, "it is missing, but %s lists the process", kindTree.name(0))
}

// unknown is the error for a reference to what does not exist.
func unknown(file string, entry int, what string, id any) error {
	return damaged(file, entry, "it refers to %s %v, which does not exist", what, id)
}

// address is how errors show one.
func address(a uint64) string { return fmt.Sprintf("%#x", a) }
