//! The mesh itself: frames, keys, relaying, segmentation, receipts, as one state machine that is driven from
//! outside.
//!
//! `no_std`, no alloc, no IO, no clock, no log, no unsafe. The same [`Node`] runs in a gateway, in every simulated
//! device and on a microcontroller.
//!
//! # The contract
//! 1. Time enters only as `now` and never runs backwards. Randomness enters only as a seed.
//! 2. One input or command, then a full drain ([`Node::drive`]).
//! 3. [`Node::poll_timeout`] is exact: nothing is due before it, and after a drain it is later than `now`.
//! 4. No bytes from the air can panic, allocate, or cost more than a pass over fixed tables.
//! 5. Checks go length, version, key, MIC, replay, duplicate, capacity; only then is any state written.
//! 6. Every table is bounded, names in its documentation what happens when it is full, and has a test that fills
//!    it.
//! 7. Same seed and same inputs give the same outputs on every target.
//!
//! # Example
//! Two nodes that hear each other, and a message between them:
//! ```
//! use mesh_protocol::*;
//!
//! struct App {
//!     air: Vec<Vec<u8>>,
//!     log: Vec<String>,
//! }
//! impl Host for App {
//!     fn transmit(&mut self, _link: LinkId, frame: &[u8]) {
//!         self.air.push(frame.to_vec());
//!     }
//!     fn event(&mut self, event: Event<'_>) -> Answer {
//!         match event {
//!             Event::ReserveSeq { .. } => Answer::Reserved, // a real host syncs it to disk first
//!             Event::Received(message) => {
//!                 self.log.push(format!("got {:?}", message.bytes));
//!                 Answer::Verdict(Verdict::Delivered)
//!             }
//!             Event::Done { outcome, .. } => {
//!                 self.log.push(format!("{outcome:?}"));
//!                 Answer::None
//!             }
//!             _ => Answer::None,
//!         }
//!     }
//!     fn load(&mut self, _id: MessageId, _offset: u32, _out: &mut [u8]) -> bool {
//!         false // every message here fits one block
//!     }
//! }
//!
//! let key = NetKey::new([7; 16]);
//! let node = |address| {
//!     let mut node = SmallNode::new(Instant::ZERO, Config {
//!         address: Address::new(address),
//!         keys: Keyring::new(EpochKeys::derive(&key, 1)),
//!         seed: u64::from(address),
//!         ttl: 5,
//!         relay: true,
//!         seq_start: 0,
//!         seq_block: 1024,
//!     });
//!     let info = LinkInfo::advertising(LEGACY_FRAME, Duration::from_millis(12));
//!     assert!(node.handle_link_up(Instant::ZERO, LinkId(0), info));
//!     node
//! };
//! let (mut a, mut b) = (node(1), node(2));
//! let mut app = App { air: Vec::new(), log: Vec::new() };
//!
//! let mut now = Instant::ZERO;
//! let delivery = Delivery {
//!     id: MessageId(1),
//!     destination: Address::new(2),
//!     priority: Priority::High,
//!     deadline: now + Duration::from_secs(5),
//! };
//! a.send(now, delivery, 2, b"hi").unwrap();
//! while app.log.len() < 2 {
//!     let next_a = a.drive(now, &mut app);
//!     for mut frame in app.air.split_off(0) {
//!         let _ = b.handle_frame(now, LinkId(0), &mut frame, None);
//!     }
//!     let next_b = b.drive(now, &mut app);
//!     for mut frame in app.air.split_off(0) {
//!         let _ = a.handle_frame(now, LinkId(0), &mut frame, None);
//!     }
//!     a.drive(now, &mut app);
//!     now = next_a.into_iter().chain(next_b).min().unwrap().max(now);
//! }
//! assert_eq!(app.log, ["got [104, 105]", "Delivered"]);
//! ```
#![cfg_attr(not(test), no_std)]

#[cfg(feature = "node")]
mod air_queue;
#[cfg(feature = "node")]
mod backbone;
#[cfg(feature = "node")]
mod block;
#[cfg(feature = "node")]
mod budget;
#[cfg(feature = "node")]
mod carried;
#[cfg(feature = "node")]
mod contest;
#[cfg(feature = "node")]
mod contexts;
#[cfg(feature = "node")]
pub mod continuation;
#[cfg(feature = "node")]
mod control;
#[cfg(feature = "node")]
mod control_queue;
#[cfg(feature = "node")]
mod crypto;
#[cfg(feature = "node")]
mod discovery;
#[cfg(feature = "node")]
mod envelope;
#[cfg(feature = "node")]
mod feedback;
#[cfg(feature = "node")]
mod finished;
#[cfg(feature = "node")]
pub mod frame;
#[cfg(feature = "node")]
mod hellos;
#[cfg(feature = "node")]
mod hop_acks;
#[cfg(feature = "node")]
mod hops;
#[cfg(feature = "node")]
mod identity;
#[cfg(feature = "node")]
mod neighbours;
#[cfg(feature = "node")]
mod node;
#[cfg(feature = "node")]
mod outbox;
#[cfg(feature = "node")]
mod paths;
mod per_class;
#[cfg(feature = "node")]
mod probe;
#[cfg(feature = "node")]
mod reassembly;
#[cfg(feature = "node")]
mod replay;
mod rng;
#[cfg(feature = "node")]
mod routes;
#[cfg(feature = "node")]
mod seen;
#[cfg(feature = "node")]
mod segment;
#[cfg(feature = "node")]
mod seq;
#[cfg(feature = "node")]
mod shares;
#[cfg(feature = "node")]
mod stats;
#[cfg(feature = "node")]
mod steps;
#[cfg(feature = "node")]
mod tallies;
mod time;
mod types;
#[cfg(feature = "node")]
mod varint;

#[cfg(feature = "node")]
pub use block::{BlockHead, MESSAGE_MAX, PART_LEN, Part};
#[cfg(feature = "node")]
pub use carried::{CARRIED_HEAD_MAX, Carried};
#[cfg(feature = "node")]
pub use contest::Conflict;
#[cfg(feature = "node")]
pub use control::{
    Ack, CONTROL_MAX, Control, HELLO_REPORTS, HelloFlags, HelloReport, HopAck, NameHash, Reason, RouteReply,
    RouteRequest, Verdict, Why,
};
#[cfg(feature = "node")]
pub use crypto::{EpochKeys, Keyring, Mic, NONCE_LEN, NetKey};
#[cfg(feature = "node")]
pub use envelope::{
    BODY_MAX, CONTEXTS, ContextId, ENVELOPE_HEAD_MAX, EncodedEnvelope, Envelope, EnvelopeError, MessageRef,
    NAME_MAX,
};
#[cfg(feature = "node")]
pub use feedback::{Feedback, Nack, Tallied};
#[cfg(feature = "node")]
pub use identity::{
    ANNOUNCEMENT_LEN, Announcement, HANDSHAKE_OVERHEAD, Handshake, KeyError, LIST_HEAD_LEN, ListDigest,
    ListHead, MEMBER_MAX, Member, MemberError, NodeKey, NodeSecret, NoiseError, OwnerKey, OwnerSecret,
    PairKey, Role, RotationCause, Side, SignedError, TRANSPORT_OVERHEAD, Transport,
};
#[cfg(feature = "node")]
pub use neighbours::{ALIVE_FOR as NEIGHBOUR_ALIVE_FOR, Neighbour, Neighbours};
#[cfg(feature = "node")]
pub use node::{
    Answer, AnyNode, Capacity, Config, Event, Host, Node, Received, RouteError, SendError, Transmit,
};
#[cfg(feature = "node")]
pub use outbox::{Delivery, SendOutcome};
#[cfg(feature = "node")]
pub use paths::Path;
pub use per_class::PerClass;
#[cfg(feature = "node")]
pub use probe::{Probe, TracedHop};
#[cfg(feature = "node")]
pub use replay::{JUMP as SEQ_JUMP, ReplayMark, ReplayMarks};
pub use rng::Rng;
#[cfg(feature = "node")]
pub use routes::{Route, RouteOrigin, Routes};
#[cfg(feature = "node")]
pub use segment::{
    BLOCK_MAX, CONTINUATION_LEN, LONG_SEGMENT_LEN, SEGMENT_LEN, SEGMENTS_MAX, SHORT_SEGMENT_LEN, Segment,
    TransferId, block_crc, segments,
};
#[cfg(feature = "node")]
pub use seq::FIRST_BLOCK as SEQ_FIRST_BLOCK;
#[cfg(feature = "node")]
pub use stats::{Discard, Stats};
#[cfg(feature = "node")]
pub use steps::Step;
pub use time::{Duration, Instant};
pub use types::{Address, LinkId, LinkInfo, LongFrames, MessageId, MessageType, Priority, Reach};

/// The longest frame on any link: an extended advert less its AD header.
pub const MAX_FRAME: usize = 245;
/// The longest frame in a legacy advert: 31 bytes of AdvData less a 4-byte AD header.
pub const LEGACY_FRAME: usize = 27;

/// The node of a sensor or relay: one link, a network of 128 nodes, 18 KiB of RAM.
///
/// ```
/// use mesh_protocol::*;
///
/// # let config = Config {
/// #     address: Address::new(1),
/// #     keys: Keyring::new(EpochKeys::derive(&NetKey::new([7; 16]), 1)),
/// #     seed: 1, ttl: 5, relay: true, seq_start: 0, seq_block: 1024,
/// # };
/// assert!(size_of::<SmallNode>() <= 18 * 1024);
/// assert_eq!(SmallNode::new(Instant::ZERO, config).capacity().peers, 24);
/// ```
#[cfg(feature = "node")]
pub type SmallNode = Node<1, 128, 24, 128, 3, 3, 20, LEGACY_FRAME, 8, 96>;
/// A [`SmallNode`] with a radio for long frames, which take room where they wait: 26 KiB of RAM.
///
/// ```
/// use mesh_protocol::*;
///
/// # let config = Config {
/// #     address: Address::new(1),
/// #     keys: Keyring::new(EpochKeys::derive(&NetKey::new([7; 16]), 1)),
/// #     seed: 1, ttl: 5, relay: true, seq_start: 0, seq_block: 1024,
/// # };
/// assert!(size_of::<LongFrameNode>() <= 26 * 1024);
/// assert_eq!(LongFrameNode::new(Instant::ZERO, config).capacity().peers, 24);
/// ```
#[cfg(feature = "node")]
pub type LongFrameNode = Node<1, 128, 24, 128, 3, 3, 20, MAX_FRAME, 8, 128>;
/// The node of a gateway: a network of 2,048 nodes, 16 messages under way.
///
/// ```
/// use mesh_protocol::*;
///
/// # let config = Config {
/// #     address: Address::new(1),
/// #     keys: Keyring::new(EpochKeys::derive(&NetKey::new([7; 16]), 1)),
/// #     seed: 1, ttl: 5, relay: true, seq_start: 0, seq_block: 1024,
/// # };
/// // Too large for the stack of a thread that has little.
/// let node = Box::new(GatewayNode::new(Instant::ZERO, config));
/// assert_eq!(node.capacity().sources, 2_048);
/// ```
#[cfg(feature = "node")]
pub type GatewayNode = Node<8, 2048, 128, 1024, 16, 16, 64, MAX_FRAME, GATEWAY_GROUPS, 1024>;
/// Groups that a [`GatewayNode`] can be in, all its agents together. A guess: several for each of a hundred agents
/// that share most of theirs.
pub const GATEWAY_GROUPS: usize = 256;

// No change of a type makes the tables larger unseen.
#[cfg(all(feature = "node", target_pointer_width = "64"))]
const _: () = assert!(size_of::<SmallNode>() <= 18 * 1024 && size_of::<GatewayNode>() <= 192 * 1024);
#[cfg(feature = "node")]
const _: () = assert!(size_of::<LongFrameNode>() <= 26 * 1024, "one with long frames has 26 KiB");
#[cfg(feature = "node")]
const _: () = assert!(size_of::<SmallNode>() <= 18 * 1024, "a small node has 18 KiB of RAM");
