//! Where power may go: every durable step says so, and tests cut there.

/// Passed along with whatever writes durably. In the program it does nothing; in tests it stops the run at the n-th
/// step, as a power cut does, and no code of ours runs afterwards.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    #[cfg(test)]
    left: Option<std::sync::Arc<std::sync::atomic::AtomicI64>>,
}

#[cfg(not(test))]
impl Cut {
    /// A durable step comes, or has just been done.
    #[inline]
    pub fn point(&self) {}
}

#[cfg(test)]
impl Cut {
    /// Cuts the power at the `n`-th step, counted from 0.
    pub fn after(n: i64) -> Self {
        Cut {
            left: Some(std::sync::Arc::new(n.into())),
        }
    }

    /// A durable step comes, or has just been done.
    pub fn point(&self) {
        if let Some(left) = &self.left {
            if left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) <= 0 {
                // Not panic!: no message, and nothing that a message could tell apart.
                std::panic::resume_unwind(Box::new("power cut"));
            }
        }
    }

    /// Whether the power is gone.
    pub fn happened(&self) -> bool {
        self.left
            .as_ref()
            .is_some_and(|left| left.load(std::sync::atomic::Ordering::SeqCst) < 0)
    }
}
