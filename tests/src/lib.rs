//! What the end-to-end tests share.

/// A second opinion on every packet: a naive reference of the definitions.
pub mod naive;
