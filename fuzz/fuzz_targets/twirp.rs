//! See `buildkit_gha_fuzz::twirp`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| buildkit_gha_fuzz::twirp::body(data));
