//! See `buildkit_gha_fuzz::query`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| buildkit_gha_fuzz::query::body(data));
