//! See `buildkit_gha_fuzz::block_list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| buildkit_gha_fuzz::block_list::body(data));
