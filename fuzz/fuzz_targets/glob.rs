//! Patterns against texts.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cloakroom_tests::fuzz::globs(data));
