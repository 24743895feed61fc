//! Modules of the agent, included by path because it is a program and not a library.

#![allow(dead_code, reason = "only what reads foreign bytes is used here")]

#[path = "../../../agent/src/tasks/download/answer/mod.rs"]
pub mod answer;
#[path = "../../../agent/src/orders.rs"]
pub mod orders;
#[path = "../../../agent/src/settings/mod.rs"]
pub mod settings;
