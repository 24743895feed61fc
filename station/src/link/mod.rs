//! The link to the terminals, over the MQTT broker.
//!
//! - [`session`]: the connection: TLS, back-off, acknowledgements; [`topics`]: subscriptions
//! - [`inbox`]: waiting messages, bounded per terminal and in total
//! - [`intake`]: one database transaction for a batch of messages; [`inbound`]: the handling of
//!   each
//! - [`heard`]: up to when terminals have been heard; [`window`]: how much may be asked of them
//! - [`outbound`]: due commands, and what is due by the clock: expiry, silence, busy terminals

pub use crate::store::outbox::Outgoing;

mod heard;
pub mod inbound;
mod inbox;
pub mod intake;
mod order;
pub mod outbound;
pub mod session;
mod tls;
mod topics;
mod window;
