//! The partitions of a terminal.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Partition {
    /// FAT32, read by U-Boot.
    Boot,
    /// ext4, the normal OS.
    Rootfs,
    /// ext4, the files that agent and RecoveryOS leave each other.
    Mnt,
}

impl Partition {
    /// All partitions of a terminal.
    pub const ALL: [Partition; 3] = [Partition::Boot, Partition::Rootfs, Partition::Mnt];

    pub fn label(self) -> &'static str {
        match self {
            Partition::Boot => dau_system::BOOT_LABEL,
            Partition::Rootfs => dau_system::ROOTFS_LABEL,
            Partition::Mnt => dau_system::MNT_LABEL,
        }
    }
}
