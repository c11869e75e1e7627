//! The mixes and sessions that all measurements of Cloakroom share.

pub mod document;
pub mod mix;
