//! See `buildkit_gha_fuzz::wire`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| buildkit_gha_fuzz::wire::body(data));
