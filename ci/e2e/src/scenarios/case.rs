//! Test cases, and suites of cases that share a site.

use anyhow::Result;
use dau_rig::site::{Options, Site};

/// A test.
#[derive(Debug)]
pub struct Case {
    /// The name, of letters, digits and `-`.
    pub name: &'static str,
    /// One line that says what the test shows.
    pub about: &'static str,
    /// Runs the test on the running site.
    pub run: fn(&mut Site) -> Result<()>,
}

/// Cases that share a site.
#[derive(Debug)]
pub struct Suite {
    /// Returns the site's options.
    pub options: fn() -> Options,
    /// The cases in order; each but the last leaves the site as it found it.
    pub cases: &'static [Case],
}
