//! Modules of the agent, taken in by their path: it is a program and no library.

#![allow(dead_code, reason = "only what reads foreign bytes is used here")]

#[path = "../../../agent/src/download/answer.rs"]
pub mod answer;
#[path = "../../../agent/src/orders.rs"]
pub mod orders;
#[path = "../../../agent/src/settings/mod.rs"]
pub mod settings;
