//! One function for every parser of foreign input: it takes any bytes and panics if a promise is
//! broken. The fuzzer calls them (`targets/`, `make fuzz`), and so does an ordinary test with every
//! seed.
//!
//! A promise is more than "no panic": accepted input is genuine, reads back as it was written,
//! keeps within the reader's memory limit, and has the effect that the design says.
//!
//! # Example
//!
//! A find of the fuzzer, once more:
//!
//! ```
//! dau_fuzz::check("messages", b"{\"mid\": 1e999}");
//! ```

pub mod agent;
mod boot_state;
pub mod delta;
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

/// A parser and its promises.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the target, of its folder of seeds and of its fuzzer.
    pub name: &'static str,
    /// Panics if a promise is broken.
    pub check: fn(&[u8]),
}

const fn target(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check }
}

/// All targets.
pub const TARGETS: [Target; 12] = [
    target("boot_state", boot_state::check),
    target("delta", delta::check),
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

/// Runs the target `name`, which must be in [`TARGETS`].
pub fn check(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    match target {
        Some(target) => (target.check)(data),
        None => panic!("there is no target {name}"),
    }
}

/// Returns the folder of this crate, with seeds and keyring.
pub fn folder() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
}
