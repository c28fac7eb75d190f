//! Frames that are meant to do harm: noise, nonsense that is well sealed, and claims that are not so.
//!
//! Owns their bytes. Who sends them, and when, is `attacker`'s business.

use std::collections::VecDeque;

use ble_bearer::FrameBytes;
use mesh_protocol::frame::{Frame, Kind, SEQ_MAX, TTL_MAX, decode};
use mesh_protocol::{
    Address, BlockHead, EpochKeys, Instant, Keyring, LEGACY_FRAME, MAX_FRAME, MessageId, Mic, Priority, Rng,
    SEGMENT_LEN,
};

/// Members of bad faith have the last addresses, which no lease has come to yet.
pub(super) const LAST: u16 = Address::LAST_NODE.bits();

/// One of the frames that were heard.
pub(super) fn pick<'a>(heard: &'a VecDeque<(Instant, FrameBytes)>, rng: &mut Rng) -> Option<&'a FrameBytes> {
    heard.get(rng.below(heard.len() as u64) as usize).map(|(_, frame)| frame)
}

/// A frame without a key: noise, noise that begins as what was heard, or what was heard with some of it changed.
pub(super) fn forge(heard: Option<FrameBytes>, rng: &mut Rng) -> FrameBytes {
    let mut frame = FrameBytes::new();
    let kind = rng.below(4);
    match heard {
        Some(heard) if kind == 0 => {
            frame = heard;
            for _ in 0..=rng.below(3) {
                let bit = rng.below(frame.len() as u64 * 8);
                if let Some(byte) = frame.get_mut((bit / 8) as usize) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
        // TTL stands outside the MIC, though under the mask: any change gives some other one.
        Some(heard) if kind == 1 => {
            frame = heard;
            if let Some(hop) = frame.get_mut(1) {
                *hop ^= (rng.below(16) as u8) << 4;
            }
        }
        heard => {
            let len = if kind == 3 { rng.below(LEGACY_FRAME as u64 + 1) as usize } else { LEGACY_FRAME };
            // Noise of legacy length always fits.
            let _ = frame.resize(len, 0);
            frame.iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
            // Version, epoch and key are in the clear: anyone can copy them.
            if let (Some(heard), Some(first)) =
                (heard.as_ref().and_then(|heard| heard.first()), frame.first_mut())
            {
                *first = *heard;
            }
        }
    }
    frame
}

/// A frame that is well sealed and makes no sense.
pub(super) fn nonsense<'a>(
    src: Address,
    seq: u32,
    nodes: u32,
    body: &'a mut [u8; MAX_FRAME],
    rng: &mut Rng,
) -> Frame<'a> {
    let dst = match rng.below(8) {
        0 => Address::new(1 + rng.below(u64::from(u16::MAX)) as u16),
        1 | 2 => Address::EVERYONE,
        _ => Address::new(1 + rng.below(u64::from(nodes.clamp(1, u32::from(LAST)))) as u16),
    };
    let mut ttl0 = rng.below(u64::from(TTL_MAX) + 1) as u8;
    let mut ttl = rng.below(u64::from(ttl0) + 1) as u8;
    let priority = Priority::from_bits(rng.below(4) as u8);
    let kind = Kind::from_bits(rng.below(3) as u8).unwrap_or(Kind::Control);
    // Now and then the short MIC where the long one must be, and the other way round.
    let long = (kind == Kind::Control) != rng.chance(100_000);
    let mic = if long { Mic::Long } else { Mic::Short };
    let room = LEGACY_FRAME - mesh_protocol::frame::overhead(false, mic);
    body.iter_mut().take(room).for_each(|byte| *byte = rng.next_u64() as u8);
    let mut len = room.min(rng.below(room as u64 + 1) as usize + usize::from(rng.chance(700_000)) * room);
    match kind {
        // Opcodes and lengths as `docs/protocol.md`, "Control messages", has them.
        Kind::Control if rng.chance(800_000) => {
            body[0] = 1 + rng.below(LENGTHS.len() as u64) as u8;
            len = LENGTHS[usize::from(body[0]) - 1];
            if (6..=8).contains(&body[0]) {
                // A way to somebody, or none; what is said of ways goes one hop.
                (ttl, ttl0) = (1, 1);
                (body[1], body[3]) = (body[1] & 0x7f, body[3] & 0x7f);
                if rng.chance(700_000) {
                    (body[1], body[2]) = (0, 1 + rng.below(u64::from(nodes.clamp(1, 255))) as u8);
                }
            } else if body[0] == 3 {
                body[5] = 1 + rng.below(4) as u8;
                body[6] = rng.below(7) as u8;
                body[1..4].fill(0);
            } else if body[0] == 1 {
                body[2] &= 0xf7;
            }
        }
        // A segment's header that is true to itself: what it belongs to is not.
        Kind::Segment if rng.chance(800_000) && room >= 3 + SEGMENT_LEN => {
            let last = 1 + rng.below(63) as u8;
            let offset = rng.below(u64::from(last)) as u8;
            body[1] = body[1] & 0xf0 | offset >> 2;
            body[2] = offset << 6 | last;
            len = 3 + SEGMENT_LEN;
        }
        // A whole message of a small number.
        Kind::Single if rng.chance(800_000) => {
            (body[0], body[1]) = (rng.below(100) as u8, 0);
            len = len.max(3);
        }
        _ => {}
    }
    let body = &body[..len.min(room)];
    Frame { ttl, ttl0, seq, src, dst, next: None, priority, kind, mic, body }
}

/// The length of each control message, by its opcode.
const LENGTHS: [usize; 16] = [9, 7, 7, 7, 7, 9, 9, 5, 7, 7, 5, 3, 3, 2, 6, 7];

/// The longest body that is forged on purpose.
pub(super) const FORGED_MAX: usize = 9;

/// Of so many of the frames that it heard.
const LEARNED: usize = 8;

/// What a member learns from one.
pub(super) struct Learned {
    src: Address,
    dst: Address,
    seq: u32,
    message: Option<MessageId>,
}

/// What it learns from some of what it heard of the nodes of the network, which are not members like itself.
pub(super) fn learn(
    heard: &VecDeque<(Instant, FrameBytes)>,
    nodes: u32,
    keys: &EpochKeys,
    rng: &mut Rng,
) -> Vec<Learned> {
    let keys = Keyring::new(keys.clone());
    let learned = (0..LEARNED).filter_map(|_| {
        let mut bytes = pick(heard, rng)?.clone();
        let verified = decode(&mut bytes, &keys).ok()?;
        let inside = verified.frame();
        let single = (inside.kind == Kind::Single).then(|| BlockHead::of_single(inside.body).ok()).flatten();
        let message = single.map(|(head, _)| head.message);
        Some(Learned { src: inside.src, dst: inside.dst, seq: inside.seq, message })
    });
    learned.filter(|it| u32::from(it.src.bits()) <= nodes).collect()
}

/// Makes of a frame of a member's own one that claims what is not so: its source, a receipt, a name or its urgency. Opcodes as
/// `docs/protocol.md`, "Control messages", has them.
pub(super) fn forge_as_member<'a>(
    frame: &mut Frame<'a>,
    body: &'a mut [u8; FORGED_MAX],
    learned: &[Learned],
    rng: &mut Rng,
) {
    // Just ahead, beyond a window, blocks ahead, and further than anyone goes.
    let ahead = |seq: u32, rng: &mut Rng| {
        let by = [1, 70, 5_000, 60_000, 70_000, 9_000_000][rng.below(6) as usize];
        (seq + by + rng.below(40) as u32).min(SEQ_MAX)
    };
    match (rng.below(4), learned.first()) {
        (0, Some(victim)) => (frame.src, frame.seq) = (victim.src, ahead(victim.seq, rng)),
        (1, Some(_)) => {
            // A receipt in the name of whoever a message was for.
            let Some((message, from, to)) = learned.iter().find_map(|it| {
                it.message.filter(|_| it.dst.is_node()).map(|message| (message, it.dst, it.src))
            }) else {
                return;
            };
            let seq = learned.iter().find(|it| it.src == from).map_or(1_000, |it| it.seq);
            let [a, b, c, d] = message.0.to_be_bytes();
            let verdict = [[1, 0], [2, 0], [3, 1], [4, 0]][rng.below(4) as usize];
            body[..7].copy_from_slice(&[3, a, b, c, d, verdict[0], verdict[1]]);
            (frame.src, frame.dst, frame.seq) = (from, to, ahead(seq, rng));
            (frame.kind, frame.mic, frame.body) = (Kind::Control, Mic::Long, &body[..7]);
        }
        (2, _) => {
            // An agent of some name is here.
            body[0] = 5;
            body[1..7].iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
            (frame.kind, frame.mic, frame.body) = (Kind::Control, Mic::Long, &body[..7]);
        }
        _ => frame.priority = Priority::Critical,
    }
    (frame.ttl, frame.ttl0) = (TTL_MAX, TTL_MAX);
}
