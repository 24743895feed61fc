//! The station as its users meet it: the real program, a real mosquitto with the project's own configuration, real HTTPS
//! requests, and terminals that are simulated down to TLS and MQTT.
//!
//! Nothing is skipped: where mosquitto is missing, these tests fail.

// Helpers of tests fail their test; clippy knows only the tests themselves.
#![allow(clippy::unwrap_used)]

mod broker;
mod cli;
mod crash;
mod download;
mod jobs;
mod rest;
mod site;
mod terminal;
