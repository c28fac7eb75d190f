//! What several fuzz targets share: the stream of an agent's session, read as the gateway reads it.

use mesh_agent::api::Request;
use mesh_agent::api::codec::{Bounds, Codec, Decoder, encode};

/// Feeds `stream` to a decoder in pieces whose lengths `cuts` gives, and holds it to its promises: it ends, it keeps
/// no more than its bound and one read, and what it reads can be written and read again.
pub fn read_as_gateway(stream: &[u8], cuts: &[u8], codec: Codec) {
    let bounds = Bounds::REQUEST;
    let mut decoder = Decoder::with_codec(bounds, codec);
    let mut lost = false;
    let mut rest = stream;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let cut = cuts.next().map_or(rest.len(), |&cut| usize::from(cut) + 1);
        let (piece, later) = rest.split_at(cut.min(rest.len()));
        rest = later;
        decoder.space().extend_from_slice(piece);
        // Each value takes at least one byte, so no stream has more of them.
        for _ in 0..=stream.len() {
            match decoder.decode::<Request>() {
                Ok(None) => break,
                Ok(Some(request)) => {
                    assert!(!lost, "a value after the stream was lost");
                    check_round_trip(&request);
                }
                Err(why) => {
                    assert!(!why.to_string().is_empty());
                    lost |= why.is_fatal();
                }
            }
        }
        let kept = decoder.space().len();
        assert!(kept <= bounds.line.max(bounds.frame) + piece.len() + 4, "{kept} bytes kept");
    }
}

/// Both codecs must give back what they were given.
fn check_round_trip(request: &Request) {
    for codec in [Codec::Json, Codec::Postcard] {
        let mut written = Vec::new();
        encode(request, codec, &mut written).expect("what was read can be written");
        let mut decoder = Decoder::with_codec(Bounds::EVENT, codec);
        decoder.space().extend_from_slice(&written);
        let again = decoder.decode::<Request>().expect("what was written can be read");
        assert_eq!(again.as_ref(), Some(request), "{codec:?}");
        assert!(!decoder.is_mid_value());
    }
}
