//! How much memory a reader takes. Terminals have little, and a size in a hostile file must not be believed.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Runs `read` and fails when it took more than `limit` bytes at once. Other threads must not allocate meanwhile.
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
