// SPDX-License-Identifier: Apache-2.0

package criuimg

// The numbers that image files begin with. commonMagic stands before all but
// inventory.img's. They are part of CRIU's file format (its magic.h).
const (
	commonMagic uint32 = 0x54564319

	cgroupMagic    uint32 = 0x59383330
	coreMagic      uint32 = 0x55053847
	fdinfoMagic    uint32 = 0x56213732
	fifoDataMagic  uint32 = 0x59333054
	fileLocksMagic uint32 = 0x54323616
	filesMagic     uint32 = 0x56303138
	fsMagic        uint32 = 0x51403912
	ghostFileMagic uint32 = 0x52583605
	idsMagic       uint32 = 0x54432030
	inventoryMagic uint32 = 0x58313116
	memfdMagic     uint32 = 0x48453499
	mmMagic        uint32 = 0x57492820
	pagemapMagic   uint32 = 0x56084025
	pipesDataMagic uint32 = 0x56453709
	pstreeMagic    uint32 = 0x50273030
	remapMagic     uint32 = 0x59133954
	seccompMagic   uint32 = 0x64413049
	skQueuesMagic  uint32 = 0x56264026
	timensMagic    uint32 = 0x43114433
	ttyDataMagic   uint32 = 0x59413026
	ttyInfoMagic   uint32 = 0x59453036
)
