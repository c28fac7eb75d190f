//! What became of the frames that a scheduler took.

/// What became of frames since someone asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// On the air for their time, or confirmed.
    pub(super) sent: u64,
    /// Never, as far as is known.
    pub(super) lost: u64,
}
