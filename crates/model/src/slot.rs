//! The two slots of a kernel or a RecoveryOS.

worded! {
    /// A kernel or RecoveryOS slot.
    pub enum Slot {
        /// Slot a.
        A = "a",
        /// Slot b.
        B = "b",
    }
}

impl Slot {
    /// The slot beside this one.
    pub const fn other(self) -> Self {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// Returns `a` for slot a and `b` for slot b.
    pub fn of<T>(self, a: T, b: T) -> T {
        match self {
            Slot::A => a,
            Slot::B => b,
        }
    }
}
