//! The words that agent, RecoveryOS, station, packager and test harnesses share, each defined once.
//!
//! - [`Slot`]: the two places of a kernel or a RecoveryOS
//! - [`Kind`]: what an order, a package or an installation writes
//! - [`State`]: how far a job is, and which state may follow which
//! - [`Outcome`]: how a job ended, with the protocol's result code
//! - [`Word`]: what a program may go by in a refusal or failure, with [`Reason`]: a word and a text
//!   for people
//! - [`hex`]: digests as text
//!
//! Every enum here is one word on every wire and in every file; [`std::fmt::Display`],
//! [`std::str::FromStr`] and serde agree on it.
//!
//! ```
//! use dau_model::{Kind, Outcome, Reason, State, Word};
//!
//! assert!(State::Armed.may_become(State::Installing));
//! assert_eq!("rolled-back".parse(), Ok(Outcome::RolledBack));
//! assert!(Kind::Full.has_rootfs());
//! let reason = Reason::new(Word::NoSpace, "mnt has 4096 bytes");
//! assert_eq!(reason.to_string(), "no-space: mnt has 4096 bytes");
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

#[macro_use]
mod worded;

pub mod hex;
mod kind;
mod outcome;
mod reason;
mod slot;
mod state;
mod word;

pub use kind::Kind;
pub use outcome::Outcome;
pub use reason::Reason;
pub use slot::Slot;
pub use state::State;
pub use word::Word;
pub use worded::UnknownWord;
