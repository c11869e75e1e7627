//! Requests are the same in whatever pieces they come.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cloakroom_tests::fuzz::parser_split(data));
