//! See `buildkit_gha_fuzz::range`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| buildkit_gha_fuzz::range::body(data));
