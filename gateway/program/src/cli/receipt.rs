//! Receipts in words.

use mesh_agent::api::{Detail, Outcome, Receipt, WaitedFor};
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
    let detail = receipt.detail.as_ref().map(show_detail).unwrap_or_default();
    format!("{} {}{at}{hops}{why}{detail}", receipt.id, word(receipt.outcome))
}

/// How many have it: `; reached at least 12 of 14 known nodes`. Where it stood: `; it waited for a route for 3.4 s; 0x0003, 2 hops on, had
/// custody last`.
fn show_detail(detail: &Detail) -> String {
    let reached = detail.reached.map(|reached| match (reached, detail.known) {
        (_, Some(1)) => format!("; reached at least {reached} of 1 known node"),
        (_, Some(known)) => format!("; reached at least {reached} of {known} known nodes"),
        (1, None) => "; reached at least 1 node".to_owned(),
        (_, None) => format!("; reached at least {reached} nodes"),
    });
    let reached = reached.unwrap_or_default();
    let what = match detail.waited_for {
        WaitedFor::Disk => "for the disk",
        WaitedFor::Name => "for its receiver's node to be known",
        WaitedFor::Turn => "for its turn",
        WaitedFor::Air => "for the air",
        WaitedFor::Route => "for a route",
        WaitedFor::Room => "for room in a queue",
        WaitedFor::Answer => "for an answer",
        WaitedFor::Nothing => return reached,
    };
    let since = detail.since_ms.map(|ms| format!(" for {:.1} s", ms as f64 / 1e3)).unwrap_or_default();
    let place = detail.last_hop.map(|node| match detail.hops_on {
        Some(1) => format!("; {node}, 1 hop on, had custody last"),
        Some(hops) => format!("; {node}, {hops} hops on, had custody last"),
        None => format!("; {node} had custody last"),
    });
    format!("{reached}; it waited {what}{since}{}", place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use mesh_agent::api::MessageRef;
    use mesh_protocol::MessageId;

    use super::*;

    #[test]
    fn a_receipt_says_what_was_waited_for_and_where() {
        let detail = Detail {
            waited_for: WaitedFor::Route,
            since_ms: Some(3_400),
            last_hop: Some(Address::new(3)),
            hops_on: Some(2),
            ..Detail::default()
        };
        let receipt = Receipt {
            cursor: None,
            reference: None,
            id: MessageRef { node: Address::new(1), id: MessageId(17) },
            outcome: Outcome::Unknown,
            at_node: None,
            why: Some("it was late".into()),
            hops: None,
            at_us: 0,
            detail: Some(detail),
        };
        assert_eq!(
            show(&receipt),
            "0x0001/17 unknown: it was late; it waited for a route for 3.4 s; 0x0003, 2 hops on, had custody last"
        );
        let bare = Detail { waited_for: WaitedFor::Name, ..Detail::default() };
        let said = show(&Receipt { detail: Some(bare), ..receipt });
        assert!(said.ends_with("; it waited for its receiver's node to be known"), "{said}");
    }

    #[test]
    fn a_receipt_says_how_many_nodes_have_it() {
        for (reached, known, said) in [
            (12, Some(14), "; reached at least 12 of 14 known nodes"),
            (1, Some(1), "; reached at least 1 of 1 known node"),
            (1, None, "; reached at least 1 node"),
            (3, None, "; reached at least 3 nodes"),
        ] {
            let detail = Detail { reached: Some(reached), known, ..Detail::default() };
            assert_eq!(show_detail(&detail), said);
        }
    }
}
