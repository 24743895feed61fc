//! The backup as a tar archive (POSIX pax format): one header per entry, in the order of their
//! paths.
//!
//! Every choice that pax leaves to a writer is fixed here, and the reader accepts nothing else:
//! docs/formats/parameters.md.

use super::entry::Role;

mod pax;
mod reader;
mod writer;

#[cfg(test)]
pub(super) use pax::push as push_record;
pub(super) use reader::{read, Content, CopyError};
pub(super) use writer::Writer;

/// Words in pax's `comment`, which other programs ignore.
const PARENT: &str = "folder above a parameter";
const LINKED: &str = "file with several names";
const REQUIRED: &str = "required";

/// Returns the comment for an entry; empty for a plain parameter.
fn comment(role: Role, required: bool) -> String {
    let role = match role {
        Role::Parameter => None,
        Role::Linked => Some(LINKED),
        Role::Parent => Some(PARENT),
    };
    let words = role.into_iter().chain(required.then_some(REQUIRED));
    words.collect::<Vec<_>>().join(", ")
}
