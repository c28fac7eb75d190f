//! An agent's session in JSON lines: any bytes, in any pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_agent::api::codec::Codec;

fuzz_target!(|input: &[u8]| {
    let Some((&[a, b], stream)) = input.split_first_chunk() else {
        return;
    };
    mesh_fuzz::read_as_gateway(stream, &[a, b], Codec::Json);
});
