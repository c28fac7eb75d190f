//! An agent's session in postcard behind lengths: any bytes, in any pieces.
//!
//! Half of the inputs have their frames' lengths written for them; chance alone would mostly wait for a frame's end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_agent::api::codec::Codec;

fuzz_target!(|input: &[u8]| {
    let Some((&[mode, a, b], rest)) = input.split_first_chunk() else {
        return;
    };
    let mut stream = rest.to_vec();
    if mode & 1 != 0 {
        stream.clear();
        for frame in rest.split(|byte| *byte == 0xff) {
            stream.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            stream.extend_from_slice(frame);
        }
    }
    mesh_fuzz::read_as_gateway(&stream, &[a, b], Codec::Postcard);
});
