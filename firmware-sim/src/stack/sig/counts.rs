//! What a node of the SIG baseline counts.

/// What a node counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) acks: u64,
    pub(super) acks_dropped: u64,
    pub(super) answers_refused: u64,
    pub(super) answers_stray: u64,
    pub(super) duplicates: u64,
    pub(super) malformed: u64,
    pub(super) radio_full: u64,
    pub(super) reassembly_full: u64,
    pub(super) reassembly_given_up: u64,
    pub(super) relay_full: u64,
    pub(super) relayed: u64,
    pub(super) replays: u64,
    pub(super) segments: u64,
    pub(super) segments_again: u64,
}

impl Counts {
    /// The counters by name, in alphabetical order; `given_up` is what the open sets have counted since the last power cut.
    pub(super) fn by_name(&self, given_up: u64) -> Vec<(&'static str, u64)> {
        vec![
            ("acks", self.acks),
            ("acks_dropped", self.acks_dropped),
            ("answers_refused", self.answers_refused),
            ("answers_stray", self.answers_stray),
            ("duplicates", self.duplicates),
            ("malformed", self.malformed),
            ("radio_full", self.radio_full),
            ("reassembly_full", self.reassembly_full),
            ("reassembly_given_up", self.reassembly_given_up + given_up),
            ("relay_full", self.relay_full),
            ("relayed", self.relayed),
            ("replays", self.replays),
            ("segments", self.segments),
            ("segments_again", self.segments_again),
        ]
    }
}
