//! A member of the network that takes what it is to pass on, says that it has it, and drops it.
//!
//! Its node is an honest one and believes that its frames leave; those of others do not, nor what it would say of having given them up.

use mesh_protocol::continuation::{self, is_continuation};
use mesh_protocol::{Address, Control, Keyring, MAX_FRAME, frame};

/// See the module.
#[derive(Debug)]
pub(super) struct Dropping {
    own: Address,
    keys: Keyring,
}

impl Dropping {
    pub(super) const fn new(own: Address, keys: Keyring) -> Self {
        Self { own, keys }
    }

    /// Whether a frame does not leave.
    pub(super) fn drops(&self, frame: &[u8]) -> bool {
        let mut buffer = [0; MAX_FRAME];
        let Some(bytes) = buffer.get_mut(..frame.len()) else { return false };
        bytes.copy_from_slice(frame);
        if is_continuation(bytes) {
            return continuation::decode(bytes, &self.keys).is_ok_and(|found| found.frame().src != self.own);
        }
        let Ok(found) = frame::decode(bytes, &self.keys) else { return false };
        let found = found.frame();
        let gives_up = || matches!(Control::parse(found.body), Ok(Control::Undelivered { .. }));
        found.src != self.own || found.kind == frame::Kind::Control && gives_up()
    }
}
