//! Advertising sets, as the stacks that pace themselves see a controller.
//!
//! Owns the trait. What a set does with a PDU is the controller's business.

use ble_bearer::Full;
use mesh_protocol::Duration;

/// The advertising sets of a controller, for stacks that say when each PDU goes out and how often.
///
/// A set holds one PDU at a time. Set 0 is for PDUs of the node itself, the others are for those it relays.
pub trait Sets {
    /// Puts a PDU, without its AD header, into a free set: it goes out `copies` times (0 counts as 1), one `interval`
    /// from the start of one to the next. When the last one has ended, the stack is told that the set is free.
    ///
    /// # Errors
    /// [`Full`] when the set is not free or the PDU does not fit; nothing is kept of it, and no word follows.
    fn advertise(&mut self, set: usize, pdu: &[u8], copies: u8, interval: Duration) -> Result<(), Full>;
}

impl Sets for ble_bearer::sim::Radio<'_> {
    fn advertise(&mut self, set: usize, pdu: &[u8], copies: u8, interval: Duration) -> Result<(), Full> {
        Self::advertise(self, set, pdu, copies, interval)
    }
}
