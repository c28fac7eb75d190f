//! Shares of what there is that are left to those who matter more.

use mesh_protocol::Priority;

/// All but the last sixteenth of `most`: for those who leave some room to others. A guess.
pub(crate) const fn but_a_sixteenth(most: usize) -> usize {
    most - most / 16
}

/// How much of `most` messages of this priority may fill: the last sixteenth is for CRITICAL ones.
pub(crate) const fn for_priority(most: usize, priority: Priority) -> usize {
    if matches!(priority, Priority::Critical) { most } else { but_a_sixteenth(most) }
}
