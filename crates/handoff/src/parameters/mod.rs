//! What the applications were set to.
