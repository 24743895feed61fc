//! Events of the main loop.

use crate::link::LinkEvent;
use crate::tasks::TaskEvent;

/// An event from another thread.
#[derive(Debug)]
pub enum Event {
    /// From the MQTT thread.
    Link(LinkEvent),
    /// From the task with this number.
    Task(u32, TaskEvent),
    /// The system asks us to end.
    Stop,
}
