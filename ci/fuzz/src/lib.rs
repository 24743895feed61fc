//! What every parser that reads what others wrote must do with any bytes at all: one function for each, which panics where a
//! promise is broken. The fuzzer calls them (`fuzz/`, `make fuzz`), and so does a plain test with every seed.
//!
//! A promise is more than "no panic": what was accepted is genuine, reads back as it was written, keeps within the memory that
//! the reader promises, and leads where the design says.

pub mod agent;
mod boot_state;
mod file;
mod fit;
mod frames;
mod job;
mod manifest;
mod memory;
mod messages;
mod package;
mod parameters;
mod plan;
mod settings;
mod texts;

/// A parser and what is promised of it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name; that of its folder of seeds and of its fuzzer too.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub check: fn(&[u8]),
}

const fn target(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check }
}

/// All of them.
pub const TARGETS: [Target; 11] = [
    target("boot_state", boot_state::check),
    target("fit", fit::check),
    target("frames", frames::check),
    target("job", job::check),
    target("manifest", manifest::check),
    target("messages", messages::check),
    target("package", package::check),
    target("parameters", parameters::check),
    target("plan", plan::check),
    target("settings", settings::check),
    target("texts", texts::check),
];

/// Checks the promises of the target of this name, which is one of [`TARGETS`].
pub fn check(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    match target {
        Some(target) => (target.check)(data),
        None => panic!("there is no target {name}"),
    }
}

/// Folder of this crate: seeds and keyring are in it.
pub fn folder() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
}
