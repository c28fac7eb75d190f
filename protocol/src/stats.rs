//! Counters: every frame, and the reason for everything that was not taken.
//!
//! Owns the list of reasons. Counts only; nothing decides by these numbers.

macro_rules! discards {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)+) => {
        /// Why bytes from the air were not taken. Each is counted, none is an error of the caller.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Discard { $($(#[$doc])* $name,)+ }

        impl Discard {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The reason as it stands in logs and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

discards! {
    /// Shorter than the shortest frame.
    TooShort => "too_short",
    /// Longer than the longest frame, or than this node can hold.
    TooLong => "too_long",
    /// Of a version this node does not speak.
    Version => "version",
    /// No key of this node has this NID and epoch bit.
    UnknownKey => "unknown_key",
    /// Reserved bits or values are set.
    Reserved => "reserved",
    /// The MIC does not verify: damaged or forged.
    Mic => "mic",
    /// TTL stands above the TTL0 that the MIC guards.
    Ttl => "ttl",
    /// SRC is not a node, or DST is nobody.
    Address => "address",
    /// This node's own frame, come back.
    Own => "own",
    /// This node's address with a SEQ it never sent: another node has the same address.
    AddressConflict => "address_conflict",
    /// Below the replay window, or seen and forgotten.
    Replay => "replay",
    /// Too far ahead of what its source has sent so far, until later frames confirm it.
    SeqJump => "seq_jump",
    /// From a new source while the replay table is full.
    ReplayTableFull => "replay_table_full",
    /// A copy of a frame that was taken before.
    Duplicate => "duplicate",
    /// Names another neighbour as the next hop.
    NotNextHop => "not_next_hop",
    /// A route is offered over a link that does not carry both ways.
    WeakLink => "weak_link",
    /// A continuation of a transfer whose first segment this node has not had, or that is not for it to take or pass on.
    NoContext => "no_context",
    /// The air queue is full of frames at least as urgent.
    QueueFull => "queue_full",
    /// Waited too long in the air queue.
    Stale => "stale",
    /// Not relayed because enough neighbours were heard to do it.
    Suppressed => "suppressed",
    /// The body is not what its kind says.
    Malformed => "malformed",
    /// A kind or control message that must carry the long MIC came with the short one.
    WeakMic => "weak_mic",
    /// Both reassembly sets of the source, or all sets of the node, hold something at least as urgent.
    ReassemblyFull => "reassembly_full",
    /// The segment contradicts the first one of its transfer.
    SegmentConflict => "segment_conflict",
    /// A transfer was not completed in time, or gave way to a more urgent one.
    ReassemblyAbandoned => "reassembly_abandoned",
    /// The reassembled block does not match its CRC.
    Crc => "crc",
    /// An ack, receipt or answer for something this node is not waiting for.
    Unexpected => "unexpected",
    /// More probes than this node answers.
    TooManyProbes => "too_many_probes",
    /// An event could not be queued for the application.
    EventQueueFull => "event_queue_full",
}

/// What a node has done since it was made.
///
/// ```
/// use mesh_protocol::{Discard, Stats};
///
/// let stats = Stats::default();
/// assert_eq!(stats.discarded(Discard::Mic), 0);
/// for (why, count) in stats.discards().filter(|(_, count)| *count > 0) {
///     println!("{}: {count}", why.name());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Stats {
    /// Frames whose MIC verified.
    pub frames_verified: u64,
    /// Frames handed to links, repeats included.
    pub frames_sent: u64,
    /// Frames of other nodes handed to links, repeats included.
    pub frames_relayed: u64,
    /// Repeats of the same bytes among `frames_sent`.
    pub repeats_sent: u64,
    /// Segments and single frames of this node's messages that had to be sent under a new SEQ.
    pub retransmissions: u64,
    /// Silences of the classes below CRITICAL for a CRITICAL frame that passed.
    pub silences: u64,
    /// Frames below CRITICAL with a pause behind them, as the air was busy.
    pub frames_paced: u64,
    /// Blocks taken whole.
    pub blocks_received: u64,
    discards: [u64; Discard::ALL.len()],
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            frames_verified: 0,
            frames_sent: 0,
            frames_relayed: 0,
            repeats_sent: 0,
            retransmissions: 0,
            silences: 0,
            frames_paced: 0,
            blocks_received: 0,
            discards: [0; Discard::ALL.len()],
        }
    }
}

impl Stats {
    /// How often this reason was met.
    #[must_use]
    pub const fn discarded(&self, why: Discard) -> u64 {
        self.discards[why as usize]
    }

    /// Every reason with its count.
    pub fn discards(&self) -> impl Iterator<Item = (Discard, u64)> + '_ {
        Discard::ALL.iter().map(|&why| (why, self.discarded(why)))
    }

    pub(crate) const fn count(&mut self, why: Discard) {
        self.discards[why as usize] += 1;
    }
}
