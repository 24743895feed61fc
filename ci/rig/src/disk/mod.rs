//! A terminal's disk while it is off, accessed without root rights and without mounting.

mod boot;
mod ext4;
mod handoff;
mod image;

pub use boot::check_fat;
pub use ext4::Ext4;
pub use handoff::Handoff;
pub use image::{Disk, Extent};
