//! Config files, and their settings written out again.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cloakroom_tests::fuzz::config_file(data));
