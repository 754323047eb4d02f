#![no_main]

#[path = "../speaker.rs"]
mod speaker;

libfuzzer_sys::fuzz_target!(|data: &[u8]| speaker::speaker(data));
