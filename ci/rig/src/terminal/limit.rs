//! Time limits for an emulated terminal; generous, since a busy machine is slow.

use std::time::Duration;

/// From power-on to U-Boot's decision.
pub const U_BOOT: Duration = Duration::from_secs(60);
/// From power-on to a serving application.
pub const BOOT: Duration = Duration::from_secs(300);
/// A command on the console.
pub const COMMAND: Duration = Duration::from_secs(120);
/// A delta that the station makes.
pub const DELTA: Duration = Duration::from_secs(600);
/// A whole job.
pub const JOB: Duration = Duration::from_secs(900);
