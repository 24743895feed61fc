//! The link to the terminals, over the MQTT broker.
//!
//! - [`session`]: the connection: TLS, subscriptions, back-off, acknowledgement after the commit
//! - [`inbound`]: what terminals say, one database transaction for a batch of messages
//! - [`pump`]: what the station has to say, and what the clock brings: expiry, silence, busy terminals

use dau_protocol::{Envelope, Topic};

pub mod inbound;
pub mod pump;
pub mod session;

/// A message to a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub topic: String,
    /// The message.
    pub payload: Vec<u8>,
}

impl Outgoing {
    /// `envelope` on `topic`.
    pub fn new(topic: Topic, envelope: &Envelope) -> Self {
        Outgoing {
            topic: topic.to_string(),
            payload: envelope.to_bytes(),
        }
    }
}
