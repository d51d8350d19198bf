#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_bodies::h2_hpack::run(data));
