//! Bytes into a whole server without sockets: no panic, and RESP comes out.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cloakroom_tests::fuzz::engine(data));
