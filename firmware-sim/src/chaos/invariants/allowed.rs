//! What a member may do by design, until there are keys for pairs of nodes: which rules that excuses, when, and how often it did.
//!
//! Owns the list. A broken rule is excused only where such a forgery was on the air, and only if it stands here; everything else must
//! still hold. With keys for pairs the list shrinks.

use std::collections::{BTreeMap, BTreeSet};

use mesh_protocol::{Address, MessageId};

use super::findings::Fault;
use super::messages::Name;

/// Something that a member may do, and the rules that break by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Its name.
    pub name: &'static str,
    /// What it excuses.
    pub rules: &'static [&'static str],
}

/// Frames in another node's name are taken and sent on, and applications get messages that nobody sent, or others of the same number.
pub(super) const MEMBER_MAY_SEND_AS_ANYONE: Allowance =
    Allowance { name: "MEMBER_MAY_SEND_AS_ANYONE", rules: &["unverified", "genuine", "sent"] };
/// An outcome is reported to a sender that its message did not have.
pub(super) const MEMBER_MAY_FORGE_RECEIPT: Allowance =
    Allowance { name: "MEMBER_MAY_FORGE_RECEIPT", rules: &["receipt"] };
/// A node hears its own address. It says nothing for a while, and goes on behind the SEQ that it heard.
pub(super) const MEMBER_MAY_CONTEST_ADDRESS: Allowance =
    Allowance { name: "MEMBER_MAY_CONTEST_ADDRESS", rules: &["conflict", "reservation"] };
/// A forged SEQ shuts out genuine frames at and below it.
pub(super) const MEMBER_MAY_SPEND_SEQ: Allowance =
    Allowance { name: "MEMBER_MAY_SPEND_SEQ", rules: &["refused"] };

/// All that members may do.
pub const ALLOWANCES: [Allowance; 4] =
    [MEMBER_MAY_SEND_AS_ANYONE, MEMBER_MAY_FORGE_RECEIPT, MEMBER_MAY_CONTEST_ADDRESS, MEMBER_MAY_SPEND_SEQ];

/// What was forged, as it was on the air.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forgery {
    /// In whose name.
    pub(super) src: Address,
    pub(super) what: Forged,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Forged {
    /// A whole message.
    Message(MessageId),
    /// Part of a message, of whichever.
    Segment,
    /// A receipt for this message.
    Receipt(Name),
    /// A report to this node that a frame of it was given up.
    Undelivered(Address),
    Other,
}

/// What was forged so far, and what was excused for it.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    /// The one that is withheld, to see what it hides.
    pub(super) withheld: Option<&'static str>,
    names: BTreeSet<Address>,
    messages: BTreeSet<Name>,
    segments: BTreeSet<Address>,
    receipts: BTreeSet<Name>,
    /// By allowance and rule.
    pub(super) excused: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) forged: u64,
}

impl Allowed {
    pub(super) fn forged(&mut self, forgery: Forgery) {
        self.forged += 1;
        self.names.insert(forgery.src);
        match forgery.what {
            Forged::Message(id) => _ = self.messages.insert((forgery.src, id)),
            Forged::Segment => _ = self.segments.insert(forgery.src),
            Forged::Receipt(name) => _ = self.receipts.insert(name),
            Forged::Undelivered(..) | Forged::Other => {}
        }
    }

    /// Whether an allowance excuses this rule. Counts it.
    pub(super) fn excuses(&mut self, allowance: &Allowance, rule: &'static str) -> bool {
        let excused = self.withheld != Some(allowance.name) && allowance.rules.contains(&rule);
        if excused {
            *self.excused.entry((allowance.name, rule)).or_default() += 1;
        }
        excused
    }

    /// What an application is shown of a message.
    pub(super) fn shown(&mut self, name: Name, result: Result<(), Fault>) -> Result<(), Fault> {
        let forged = self.messages.contains(&name) || self.segments.contains(&name.0);
        result.or_else(|fault| {
            let excused = forged && self.excuses(&MEMBER_MAY_SEND_AS_ANYONE, fault.0);
            if excused { Ok(()) } else { self.reported(name, Err(fault)) }
        })
    }

    /// What is reported to a sender of its message.
    pub(super) fn reported(&mut self, name: Name, result: Result<(), Fault>) -> Result<(), Fault> {
        result.or_else(|fault| {
            let excused = self.receipts.contains(&name) && self.excuses(&MEMBER_MAY_FORGE_RECEIPT, fault.0);
            if excused { Ok(()) } else { Err(fault) }
        })
    }

    /// Whether a node may think that another one has its address.
    pub(super) fn contested(&mut self, node: Address) -> bool {
        self.names.contains(&node) && self.excuses(&MEMBER_MAY_CONTEST_ADDRESS, "conflict")
    }

    /// Whether its next SEQ may be one that it has not reserved.
    pub(super) fn moved(&mut self, node: Address) -> bool {
        self.names.contains(&node) && self.excuses(&MEMBER_MAY_CONTEST_ADDRESS, "reservation")
    }
}
