#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| dau_fuzz::check("texts", data));
