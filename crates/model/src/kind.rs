//! The kinds of upgrades.

worded! {
    /// The parts that an order, a package or an installation writes.
    pub enum Kind {
        /// The kernel.
        Kernel = "kernel",
        /// The root filesystem.
        Rootfs = "rootfs",
        /// Kernel and root filesystem, and the RecoveryOS that the package may bring.
        Full = "full",
        /// RecoveryOS alone: the agent's work, never RecoveryOS's own.
        Recovery = "recovery",
    }
}

impl Kind {
    /// Whether a kernel is written.
    pub const fn has_kernel(self) -> bool {
        matches!(self, Kind::Kernel | Kind::Full)
    }

    /// Whether a root filesystem is written.
    pub const fn has_rootfs(self) -> bool {
        matches!(self, Kind::Rootfs | Kind::Full)
    }
}
