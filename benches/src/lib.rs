//! The mixes that all measurements of Cloakroom share.

pub mod mix;
