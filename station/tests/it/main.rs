//! The station as its users see it: the real program, a real mosquitto with the project's own
//! configuration, real HTTPS requests, and simulated terminals with real TLS and MQTT.
//!
//! Nothing is skipped: without mosquitto these tests fail.

// Helpers panic as the tests do; clippy exempts only the tests themselves.
#![allow(clippy::unwrap_used)]

mod access;
mod broker;
mod busy;
mod cli;
mod connections;
mod crash;
mod database;
mod deltas;
mod download;
mod events;
mod filters;
mod health;
mod hostile;
mod jobs;
mod life;
mod migrate;
mod orders;
mod packages;
#[path = "../../../ci/rig/src/port.rs"]
mod port;
mod postgresql;
mod rest;
mod roles;
mod rollouts;
mod several;
mod site;
mod terminal;
mod unit;
