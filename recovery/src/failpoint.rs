//! Failpoints before and after every durable step, where tests cut the power.

/// A failpoint handle for everything that writes durably. In the program it does nothing; in tests
/// it ends the run at the n-th step as a power cut does, without running any more of its code.
#[derive(Debug, Clone, Default)]
pub struct Failpoint {
    #[cfg(test)]
    left: Option<std::sync::Arc<std::sync::atomic::AtomicI64>>,
}

#[cfg(not(test))]
impl Failpoint {
    /// Marks a durable step that is due or was just done.
    #[inline]
    pub fn hit(&self) {}
}

#[cfg(test)]
impl Failpoint {
    /// Cuts the power at the `n`-th step, counted from 0.
    pub fn after(n: i64) -> Self {
        Failpoint {
            left: Some(std::sync::Arc::new(n.into())),
        }
    }

    /// Marks a durable step that is due or was just done.
    pub fn hit(&self) {
        if let Some(left) = &self.left {
            if left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) <= 0 {
                // Not panic!, which prints a message.
                std::panic::resume_unwind(Box::new("power cut"));
            }
        }
    }

    /// Returns whether the power was cut.
    pub fn happened(&self) -> bool {
        self.left
            .as_ref()
            .is_some_and(|left| left.load(std::sync::atomic::Ordering::SeqCst) < 0)
    }
}
