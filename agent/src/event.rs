//! What the main loop waits for.

use crate::link::LinkEvent;
use crate::work::WorkEvent;

/// From the other threads.
#[derive(Debug)]
pub enum Event {
    /// From the MQTT thread.
    Link(LinkEvent),
    /// From the worker with this number.
    Work(u32, WorkEvent),
    /// The system asks us to end.
    Stop,
}
