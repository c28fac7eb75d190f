//! The way of a message, and of a frame: what became of one message step by step, whether a node answers, and over which nodes.
//!
//! Owns the words and their written forms. What is known is the engine's.

use mesh_protocol::Address;
use serde::{Deserialize, Serialize};

use super::destination::{address_text, optional_address_text};
use super::outcome::Outcome;
use super::{MessageRef, two_forms};

/// A question about one message of this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct AskWhy {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// Which message.
    pub id: MessageRef,
}
two_forms!(AskWhy { reference, id });

/// A question to a node, or about the way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct AskNode {
    /// Repeated in the answer.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// Which node.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub node: Address,
    /// How long to wait for it, in milliseconds: 10,000 at the most.
    #[serde(default = "usual_timeout")]
    pub timeout_ms: u32,
}
two_forms!(AskNode { reference, node, timeout_ms });

const fn usual_timeout() -> u32 {
    super::PROBE_TIMEOUT_MS
}

/// What a message waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitedFor {
    /// To be written to the disk of its gateway.
    Disk,
    /// A node that says that the receiver is there.
    Name,
    /// Its turn: messages that go before it.
    Turn,
    /// The air: to be sent.
    Air,
    /// A route: nobody on the way knew how to go on.
    Route,
    /// Room in the queue of a node on the way.
    Room,
    /// An answer of its receiver's node.
    Answer,
    /// For nothing: it was *sent*. In JSON, the field is left out.
    #[default]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Nothing,
}

impl WaitedFor {
    fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

/// What is known of a message beyond its outcome: where it stood when it ended otherwise than delivered, and how many nodes have it if
/// it was for many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Detail {
    /// What it waited for.
    #[serde(default, skip_serializing_if = "WaitedFor::is_nothing")]
    pub waited_for: WaitedFor,
    /// How long it had waited for that, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// The node that is last known to have had custody of it; absent where that is this gateway.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub last_hop: Option<Address>,
    /// How many hops from this gateway that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops_on: Option<u8>,
    /// Of one to a group or everyone: so many other nodes at least have it. Absent where nothing was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<u16>,
    /// Of one to everyone that was counted: how many other nodes this gateway knows. Absent where more than that have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<u16>,
}
two_forms!(Detail { waited_for, since_ms, last_hop, hops_on, reached, known });

/// What happened to a message, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The gateway took it over.
    Accepted,
    /// It was under way when the gateway stopped, and goes on with its whole deadline; what was before is not known any more.
    Recovered,
    /// It is on the disk, where it has to be, and may leave.
    Stored,
    /// The mesh is asked where its receiver is.
    Naming,
    /// It waits for its turn, to go to `node`.
    Queued,
    /// It is being sent to `node`.
    Started,
    /// A frame of it left for all to pass on.
    Flooded,
    /// A frame of it left for `node` alone, to take it or to pass it on.
    Sent,
    /// A frame of it that had left before was flooded: no answer had come.
    FloodedAgain,
    /// The same, for `node` alone.
    SentAgain,
    /// `node` was not heard to pass a frame on, and got it again.
    Repeated,
    /// `node` has custody of a frame: it was heard to pass it on, or said so.
    Custody,
    /// The next hop before did not take it: `node` was asked instead.
    SecondHop,
    /// No next hop took it: a route was looked for anew.
    Repair,
    /// `node` gave a frame up; `why` says for what.
    Undelivered,
    /// Its receiver was silent for long: it goes behind all that waits.
    SetAside,
    /// Its receiver did not know the names that it refers to: it goes again with all of them.
    SaidInFull,
    /// The agent was not on that node any more: the mesh is asked again.
    Moved,
    /// It has ended; `outcome` says how.
    Ended,
    /// Its receiver was away: the gateway `node` keeps it, and brings it there when it is back.
    Kept,
}

/// One thing that happened to a message, or several of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Step {
    /// When, in microseconds on the gateway's clock; of several, the first.
    pub at_us: u64,
    /// What.
    pub what: StepKind,
    /// The node that did it, or that it was done with.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub node: Option<Address>,
    /// How often.
    pub count: u32,
    /// When for the last time, if there was more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_us: Option<u64>,
    /// How it ended, at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why, where something went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
two_forms!(Step { at_us, what, node, count, until_us, outcome, why });

/// What became of one message, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Timeline {
    /// The number the question had.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// Which message.
    pub id: MessageRef,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// How many steps are left out, as there was no room to keep them; they stood before the last ones.
    pub left_out: u32,
}
two_forms!(Timeline { reference, id, steps, left_out });

/// Whether a node answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct NodePong {
    /// The number the question had.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// Which node.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub node: Address,
    /// From the question to the answer, in microseconds; absent if none came in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u64>,
    /// How many hops the answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<u8>,
}
two_forms!(NodePong { reference, node, round_trip_us, hops });

/// A node on the way to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct TraceHop {
    /// How many hops from this gateway it is; 0 is the gateway itself.
    pub hop: u8,
    /// Which node.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub node: Address,
    /// Whom it asks to pass on what goes there; absent at the end, and where it asks all that hear it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub next_hop: Option<Address>,
    /// The share of its frames that arrive there, 0 to 1, as that one says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<f32>,
    /// When its answer came, in microseconds after the question.
    pub after_us: u64,
    /// Whether it keeps messages for others while their receivers are away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps: bool,
}
two_forms!(TraceHop { hop, node, next_hop, link, after_us, keeps });

/// The way to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(remote = "Self")]
pub struct Trace {
    /// The number the question had.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u64>,
    /// Which node.
    #[serde(with = "address_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub node: Address,
    /// Whether it answered itself.
    pub reached: bool,
    /// Who answered, in the order of the hops. Where there is no route, only the end answers; and answers may be lost.
    pub hops: Vec<TraceHop>,
}
two_forms!(Trace { reference, node, reached, hops });
