//! Test packages made from genuine ones: attacks that a terminal must refuse, each named after the
//! attack; and valid variants.

mod build;
mod members;
mod recovery;
mod signatory;
mod tamper;

pub use build::{recovery_package, with_file, with_kernel_of, with_recovery};
pub use members::{payload, rootfs_image};
pub use recovery::recovery_without_init;
pub use signatory::{sign_again, Signatory};
pub use tamper::{tamper, Tampering};

#[cfg(test)]
mod tests;
