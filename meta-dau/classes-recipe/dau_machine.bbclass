# The machine's description: addresses, disk, boot script, fragments for kernel and U-Boot. A folder of boot/machines in the sources, or,
# for a board of yours, the path of such a folder in a layer of yours: DAU_MACHINE:my-board = "${LAYERDIR_my-layer}/dau-machines/my-board",
# in a configuration (docs/image-builders.md, "A new machine").

DAU_MACHINE ?= "${MACHINE}"
DAU_MACHINE[doc] = "Folder of boot/machines in the sources, or the path of one, that describes the machine."
DAU_MACHINE:qemuarm64 ?= "qemu-aarch64"
DAU_MACHINE:beaglebone-yocto ?= "beaglebone"

# For file-checksums: the files of a folder that is no source.
def dau_machine_checksums(d):
    machine = d.getVar('DAU_MACHINE')
    return '%s:True' % machine if '/' in machine else ''
