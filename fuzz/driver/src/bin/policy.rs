#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ingress_fuzz::policy::run(input));
