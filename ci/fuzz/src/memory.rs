//! Measures a reader's memory. Terminals have little, and sizes in a hostile file must not be
//! trusted.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Runs `read` and panics if it used more than `limit` bytes at once. No other thread may allocate
/// meanwhile.
pub fn within<T>(limit: usize, read: impl FnOnce() -> T) -> T {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = read();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        taken <= limit,
        "{taken} bytes of memory were taken, more than {limit}"
    );
    result
}
