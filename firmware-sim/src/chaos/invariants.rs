//! What must hold after every event, whatever goes wrong: an observer that finds the first moment at which it does not.
//!
//! Owns the list of rules and the state they need. It looks at devices from outside, by the [events](crate::TraceEvent) they report, and
//! at the air. Nothing in it is believed because a node says so, where it can be known otherwise.
//!
//! | rule | what must hold |
//! |---|---|
//! | `unverified` | a frame that its owner never sent is refused by the MIC or a check before it, and changes nothing but counters |
//! | `refused` | a genuine frame that a node has not taken verifies, and is no replay |
//! | `replay` | a node takes each frame once, and none at or below what it kept over a restart |
//! | `genuine` | what a node sends is its own, or was sent by its owner |
//! | `nonce` | of one node, each new frame has a higher SEQ than all before, over restarts |
//! | `reservation` | no SEQ is used that flash does not say is reserved |
//! | `ttl` | a relay lowers TTL; none stands above TTL0 |
//! | `relays` | a node relays a frame at most twice, the second time with a higher TTL; never a copy whose NEXT names another. Asked to take it, it
//! |  | asks two neighbours as often as it may, and then all |
//! | `loop` | no node passes a frame on with a lower TTL than it did before |
//! | `custody` | what a node took to hand on was heard further on its way, was sent to all, or its source was told |
//! | `own_copies` | a node sends its own frame at most three times, or as often as it may ask for it to be taken |
//! | `next` | NEXT is changed by its source and the node that it names alone, to at most one other and then to none; it leads neither to that
//! |  | itself nor back to the source |
//! | `sent` | what reaches an application was sent: this number, these bytes, to it |
//! | `duplicate` | none does so twice within the window; nor at all, where flash remembers |
//! | `receipt` | a sender hears *delivered* only after the delivery |
//! | `expired` | what a sender heard cannot have arrived has not; nor did it hear so before its time |
//! | `numbers` | a number names one message for ever |
//! | `accounted` | a node holds every message that it took and has said nothing of |
//! | `silence` | none of them longer than until its deadline |
//! | `bounds` | tables hold no more than they have room for |
//! | `share`, `priority` | the urgent go first, and the others get their share |
//! | `timer` | nothing is due before `poll_timeout` says so, and nothing late |
//! | `backwards` | SEQ and epoch never go back |
//! | `conflict` | no node hears its own address from another, as there is none |
//!
//! Members who forge on purpose break some of these by design: which, and when that is excused, stands in `allowed`.

mod allowed;
mod events;
mod findings;
mod frame_hash;
mod frames;
mod messages;
mod observer;
mod order;
mod reception;
mod relays;
mod sealed;
mod snapshots;
mod state;
mod windows;

pub use allowed::{ALLOWANCES, Allowance};
pub use findings::{Counts, Violation};
pub use state::Invariants;
