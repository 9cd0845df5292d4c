//! See `buildkit_gha_fuzz::proxy_protocol`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| buildkit_gha_fuzz::proxy_protocol::body(data));
