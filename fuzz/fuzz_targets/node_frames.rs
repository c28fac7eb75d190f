//! A small node that lives through any sequence of frames, commands and time.
//!
//! Frames are raw, sealed with the right key, or repeats of earlier ones with another TTL. After each step the
//! contract must hold: no panic, `drive` ends, and what it says is due lies ahead of now.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_protocol::frame::{Frame, Kind, encode, overhead, retarget_ttl};
use mesh_protocol::{
    Address, Answer, Config, Delivery, Duration, EpochKeys, Event, Host, Instant, Keyring, LEGACY_FRAME,
    LinkId, LinkInfo, MAX_FRAME, MessageId, Mic, NameHash, NetKey, PART_LEN, Priority, Reason, SmallNode,
    Verdict,
};

/// Frames that one drain may put on the air: one, as the link paces them. The rest is room for a later change.
const BURST: usize = 4;
/// Drains between two steps of an input; more means that the node's timers do not come to rest.
const DRAINS: usize = 10_000;
const OWN: Address = Address::new(3);

struct App {
    /// How it answers: the low bits of a byte of the input.
    mood: u8,
    on_air: usize,
    heard: Vec<Vec<u8>>,
}

impl Host for App {
    fn transmit(&mut self, _: LinkId, frame: &[u8]) {
        self.on_air += 1;
        assert!(self.on_air <= BURST, "a drain that does not end");
        assert!(frame.len() <= LEGACY_FRAME);
        self.remember(frame);
    }

    fn event(&mut self, event: Event<'_>) -> Answer {
        match event {
            Event::ReserveSeq { .. } if self.mood & 1 == 0 => Answer::Reserved,
            Event::Received(message) => {
                assert!(message.source.is_node());
                match self.mood >> 1 & 3 {
                    0 => Answer::None,
                    1 => Answer::Verdict(Verdict::Delivered),
                    2 => Answer::Verdict(Verdict::Rejected(Reason::InboxFull)),
                    _ => Answer::Verdict(Verdict::Restart),
                }
            }
            Event::NextPart { len, .. } => {
                assert!((1..=PART_LEN).contains(&len));
                Answer::None
            }
            _ => Answer::None,
        }
    }

    fn load(&mut self, _: MessageId, _: u32, out: &mut [u8]) -> bool {
        out.fill(0xa5);
        self.mood & 8 == 0
    }
}

impl App {
    fn remember(&mut self, frame: &[u8]) {
        if self.heard.len() < 64 {
            self.heard.push(frame.to_vec());
        }
    }
}

/// Takes the input byte by byte; zeros when it has run out.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let [byte] = self.bytes();
        byte
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let n = N.min(self.0.len());
        out[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        out
    }

    fn address(&mut self) -> Address {
        // Few addresses, so that they meet.
        match self.byte() {
            low @ 0..=0xbf => Address::new(u16::from(low & 7)),
            0xc0..=0xdf => Address::new(0x8001),
            0xe0..=0xef => Address::EVERYONE,
            _ => Address::new(u16::from_be_bytes(self.bytes())),
        }
    }

    fn slice(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let secret = NetKey::new([7; 16]);
    let [old, new] = [5, 6].map(|epoch| EpochKeys::derive(&secret, epoch));
    let mut now = Instant::ZERO;
    let mut node = SmallNode::new(
        now,
        Config {
            address: OWN,
            keys: Keyring::with_previous(new.clone(), old.clone()),
            seed: u64::from(input.byte()),
            ttl: input.byte(),
            relay: input.byte() & 1 == 0,
            seq_start: u32::from_be_bytes([0, 0xff, 0xff, 0]) * u32::from(input.byte() & 1),
            seq_block: 1024,
        },
    );
    let info = LinkInfo::advertising(LEGACY_FRAME, Duration::from_millis(12));
    let link = LinkId(0);
    assert!(node.handle_link_up(now, link, info));
    node.join_group(Address::new(0x8001));
    let mut app = App { mood: 0, on_air: 0, heard: Vec::new() };

    while !input.0.is_empty() {
        let op = input.byte();
        match op & 7 {
            0 => {
                // Time: exactly from one deadline to the next, as every host must.
                let until = now + Duration::from_millis(u64::from(u16::from_be_bytes(input.bytes()) / 4));
                let mut drains = 0;
                while let Some(next) = drive(&mut node, now, &mut app).filter(|next| *next <= until) {
                    drains += 1;
                    assert!(drains < DRAINS, "timers that do not come to rest");
                    now = next;
                }
                now = until;
            }
            1 => {
                let len = usize::from(input.byte() % 32);
                let mut bytes = input.slice(len).to_vec();
                let _ = node.handle_frame(now, link, &mut bytes, None);
            }
            2 | 3 => {
                let [flags, hops, s0, s1, s2, len] = input.bytes();
                let (src, dst) = (input.address(), input.address());
                let mic = if flags & 2 != 0 { Mic::Long } else { Mic::Short };
                let next = (flags & 0x40 != 0).then_some(OWN);
                let room = LEGACY_FRAME - overhead(next.is_some(), mic);
                let body = input.slice(usize::from(len).min(room));
                let frame = Frame {
                    ttl: (hops >> 4).min(hops & 15),
                    ttl0: hops & 15,
                    seq: u32::from_be_bytes([0, s0 & 1, s1, s2]),
                    src,
                    dst,
                    next,
                    priority: Priority::from_bits(flags >> 2),
                    kind: Kind::from_bits(flags >> 4).unwrap_or(Kind::Segment),
                    mic,
                    body,
                };
                let mut out = [0; MAX_FRAME];
                let keys = if flags & 1 == 0 { &new } else { &old };
                if let Ok(len) = encode(&frame, keys, &mut out) {
                    app.remember(&out[..len]);
                    let rssi = (flags & 0x80 != 0).then_some(s1 as i8);
                    let _ = node.handle_frame(now, link, &mut out[..len], rssi);
                }
            }
            4 => {
                let [which, ttls] = input.bytes();
                if !app.heard.is_empty() {
                    let mut bytes = app.heard[usize::from(which) % app.heard.len()].clone();
                    retarget_ttl(&mut bytes, ttls >> 4, ttls & 15);
                    let _ = node.handle_frame(now, link, &mut bytes, None);
                }
            }
            5 => {
                let [id, len, deadline] = input.bytes();
                let total = 1 + usize::from(len) * 5;
                let bytes = vec![0x5a; total];
                let delivery = Delivery {
                    id: MessageId(u32::from(id)),
                    destination: input.address(),
                    priority: Priority::from_bits(op >> 3),
                    deadline: now + Duration::from_millis(u64::from(deadline) * 50),
                };
                let first = node.first_part_len(delivery.destination, delivery.priority, total);
                let _ = node.send(now, delivery, total, &bytes[..first]);
            }
            6 => match op >> 3 & 7 {
                0 => node.handle_link_down(link),
                1 => assert!(node.handle_link_up(now, link, info)),
                2 => node.cancel(MessageId(u32::from(input.byte()))),
                3 => {
                    let to = input.address();
                    let id = MessageId(u32::from(input.byte()));
                    if to.is_node() {
                        node.report(to, id, Priority::High, Verdict::Processed);
                    }
                }
                4 => node.find_name(NameHash::of("worker"), Priority::Medium),
                5 => node.announce(Address::EVERYONE, NameHash::of("worker")),
                6 => {
                    node.leave_group(Address::new(0x8001));
                }
                _ => {
                    node.join_group(Address::new(0x8001));
                }
            },
            _ => app.mood = input.byte(),
        }
        drive(&mut node, now, &mut app);
    }
    assert_eq!(node.stats().discards().count(), mesh_protocol::Discard::ALL.len());
});

fn drive(node: &mut SmallNode, now: Instant, app: &mut App) -> Option<Instant> {
    app.on_air = 0;
    let next = node.drive(now, app);
    assert_eq!(next, node.poll_timeout());
    assert!(next.is_none_or(|next| next > now), "due now, after a drain");
    next
}
