//! What an outbox holds beside what its own agents send by itself: messages that one gateway keeps for another, and what became of them.

use mesh_protocol::{Address, MessageId, MessageRef, Verdict};
use serde::{Deserialize, Serialize};

/// How a message of the outbox goes on otherwise than straight to its receiver; also what the store keeps of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Carriage {
    /// It is another node's, and kept here for its receiver.
    OnBehalf {
        /// Whose it is, and its number there.
        of: MessageRef,
        /// Whether its sender wants to know when the agent has acknowledged it.
        processed: bool,
    },
    /// It says to a gateway what became of one that was kept here.
    Settled {
        /// Its number there.
        id: MessageId,
        /// Over how many hops it went from here.
        hops: u8,
        /// The receiver's verdict, as it goes over the air.
        verdict: [u8; 2],
    },
    /// It is this gateway's own, and another one keeps it.
    KeptBy(Handover),
}

/// Who keeps a message, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handover {
    pub(super) keeper: Address,
    pub(super) receiver: Address,
}

impl Carriage {
    pub(super) fn settled(id: MessageId, hops: u8, verdict: Verdict) -> Self {
        Self::Settled { id, hops, verdict: verdict.codes() }
    }
}
