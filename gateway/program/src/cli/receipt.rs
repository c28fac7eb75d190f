//! Receipts in words.

use mesh_agent::api::{Outcome, Receipt};
use mesh_protocol::Address;

use super::output::tame;

/// The outcome as the protocol has it.
pub(super) const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Processed => "processed",
        Outcome::Sent => "sent",
        Outcome::Expired => "expired",
        Outcome::Rejected => "rejected",
        Outcome::Unknown => "unknown",
    }
}

/// Whether it is what the sender hoped for.
pub(super) const fn is_good(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Delivered | Outcome::Processed | Outcome::Sent)
}

/// What the sender can do about it; `flag` is what gives it longer in the command at hand.
pub(super) fn advice(outcome: Outcome, flag: &str) -> String {
    match outcome {
        Outcome::Expired => {
            return format!("give it longer with {flag}, or see `mesh-gateway agents` for who is there");
        }
        Outcome::Rejected => "see `mesh-gateway agents` for who is there",
        Outcome::Unknown => "it may have arrived: send it again only if twice does no harm",
        Outcome::Delivered | Outcome::Processed | Outcome::Sent => "nothing is to be done",
    }
    .to_owned()
}

/// One line for people: `0x0001/17 delivered at 0x0003 after 4 hops`.
pub(super) fn show(receipt: &Receipt) -> String {
    let at = receipt.at_node.map(|node: Address| format!(" at {node}")).unwrap_or_default();
    let hops = match receipt.hops {
        None => String::new(),
        Some(1) => " after 1 hop".to_owned(),
        Some(hops) => format!(" after {hops} hops"),
    };
    let why = receipt.why.as_ref().map(|why| format!(": {}", tame(why))).unwrap_or_default();
    format!("{} {}{at}{hops}{why}", receipt.id, word(receipt.outcome))
}
