//! What a rollout does next, as pure functions: [`crate::store::rollouts`] asks them and keeps the answers.
//!
//! - [`plan`]: what an operator wants; [`windows`]: when terminals may start
//! - [`waves`]: who belongs to which wave
//! - [`step`]: whether terminals may start now, the next wave opens, or the rollout stops
//! - [`admit`]: whether one terminal may start beside those that are under way
//! - [`approval`]: whether a second person is needed, and who that can be

pub mod admit;
pub mod approval;
pub mod plan;
pub mod step;
pub mod waves;
pub mod windows;

#[cfg(test)]
mod simulation;
