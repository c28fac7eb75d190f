//! `Envelope::parse` against any bytes: no panic, and what it reads is what writing it again says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_protocol::{BODY_MAX, ENVELOPE_HEAD_MAX, Envelope, NAME_MAX};

fuzz_target!(|input: &[u8]| {
    let Ok(envelope) = Envelope::parse(input) else {
        return;
    };
    assert!(
        envelope.from.len() <= NAME_MAX && envelope.to.len() <= NAME_MAX && envelope.body.len() <= BODY_MAX
    );
    let mut out = vec![0; ENVELOPE_HEAD_MAX + envelope.body.len()];
    let len = envelope.write(&mut out).expect("it was read, so it can be written");
    assert_eq!(Envelope::parse(&out[..len]), Ok(envelope));
    if len > 0 {
        assert!(envelope.write(&mut out[..len - 1]).is_err(), "one byte too few");
    }
});
