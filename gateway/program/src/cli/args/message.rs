//! The commands that send, listen and ask.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mesh_agent::api::{Destination, MessageRef, Name, ReceiptRequest};
use mesh_protocol::{MessageType, Priority};

use super::GatewayArgs;
use crate::cli::values;

/// Send a message
///
/// Prints the message's name (as in 0x0001/17) when the gateway has accepted it: written, synced, and safe from a power
/// cut. With --wait it goes on until it is known what became of the message, prints that, and ends with 0 if it was
/// delivered, processed or sent, and with 1 otherwise.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway send --to bob 'the pump is on'",
    "mesh-gateway send --to bob@0x0003 --type TASK --priority HIGH --deadline 30s --wait 'open the valve'",
    "mesh-gateway send --to group:kitchen --type PARAMETER_UPDATE - < table.bin",
    "mesh-gateway send --to bob -- '-40 degrees'       a body that begins with a dash",
])]
pub(in crate::cli) struct SendArgs {
    /// Where it goes: bob, bob@0x0003, node:0x0003, group:kitchen or everyone
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) to: Destination,
    /// Who sends it. A name has one session at a time: not one that is listening. Without this the gateway gives it a name and
    /// forgets it at the end, and what is answered to it is not kept
    #[arg(long = "as", value_name = "NAME")]
    pub(in crate::cli) name: Option<Name>,
    /// TASK, QUERY, RESPONSE, NOTIFICATION or PARAMETER_UPDATE, in any case
    #[arg(long = "type", value_name = "TYPE", default_value = "NOTIFICATION", value_parser = values::message_type)]
    pub(in crate::cli) kind: MessageType,
    /// CRITICAL, HIGH, MEDIUM or LOW, in any case
    #[arg(long, value_name = "PRIORITY", default_value = "MEDIUM", value_parser = values::priority)]
    pub(in crate::cli) priority: Priority,
    /// After this it is worth nothing: a number and ms, s, m or h, at most 24h [default: the gateway's]
    #[arg(long, value_name = "TIME", value_parser = values::deadline)]
    pub(in crate::cli) deadline: Option<Duration>,
    /// Do not write it to disk first: faster, and lost with the gateway's power
    #[arg(long)]
    pub(in crate::cli) no_durable: bool,
    /// The message it answers, as in 0x0001/17
    #[arg(long, value_name = "MESSAGE")]
    pub(in crate::cli) reply_to: Option<MessageRef>,
    /// What to wait for: the destination's gateway has it, or the agent there has acknowledged it
    #[arg(long, value_name = "RECEIPT", default_value = "delivered")]
    pub(in crate::cli) receipt: ReceiptArg,
    /// Wait until it is known what became of it, also across a restart of the gateway
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
    /// What it says, at most 64 KiB; - reads standard input. Sent as text if it is UTF-8, else as bytes
    pub(in crate::cli) body: OsString,
}

/// [`ReceiptRequest`] as a flag.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum ReceiptArg {
    Delivered,
    Processed,
}

impl From<ReceiptArg> for ReceiptRequest {
    fn from(receipt: ReceiptArg) -> Self {
        match receipt {
            ReceiptArg::Delivered => Self::Delivered,
            ReceiptArg::Processed => Self::Processed,
        }
    }
}

/// Print what is sent to an agent, one message a line
///
/// A line is SENDER TYPE PRIORITY BODY, or the message as a JSON object. Each message is acknowledged when it has been
/// printed. When the gateway goes away, listen connects again and goes on where it was. Ctrl-C ends it with 0.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway listen --as bob",
    "mesh-gateway listen --as cook --group kitchen --group hall --json",
    "mesh-gateway listen --as bob --count 1            end after one message",
])]
pub(in crate::cli) struct ListenArgs {
    /// Whose messages: the name others send to
    #[arg(long = "as", value_name = "NAME")]
    pub(in crate::cli) name: Name,
    /// Also hear what is sent to this group; may be given several times. The gateway remembers it for the name
    #[arg(long = "group", value_name = "GROUP")]
    pub(in crate::cli) groups: Vec<Name>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) count: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
}

/// Ask an agent and print its answer
///
/// Unless --durable, this gateway does not write the question to disk, and without --as never its answer: the answer is the receipt. Who must know that
/// a question was accepted sends it with `send --type QUERY`.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway query --to echo 'are you there?'",
    "mesh-gateway query --to sensor@0x0003 --timeout 5s temperature",
    "mesh-gateway query --to archive --raw - < question.bin > answer.bin",
])]
pub(in crate::cli) struct QueryArgs {
    /// Whom to ask: bob, bob@0x0003 or node:0x0003
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) to: Destination,
    /// Who asks. A name has one session at a time: not one that is listening [default: a name that the gateway gives, for this question]
    #[arg(long = "as", value_name = "NAME")]
    pub(in crate::cli) name: Option<Name>,
    /// CRITICAL, HIGH, MEDIUM or LOW, in any case
    #[arg(long, value_name = "PRIORITY", default_value = "MEDIUM", value_parser = values::priority)]
    pub(in crate::cli) priority: Priority,
    /// How long to wait for the answer: a number and ms, s, m or h, at most 24h
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::deadline)]
    pub(in crate::cli) timeout: Duration,
    /// Print the bytes of the answer as they are. Without it, what would drive a terminal is written out, and what is no text
    /// is shown in hexadecimal digits
    #[arg(long)]
    pub(in crate::cli) raw: bool,
    /// Have the gateway write the question to disk first
    #[arg(long)]
    pub(in crate::cli) durable: bool,
    #[command(flatten)]
    pub(in crate::cli) gateway: GatewayArgs,
    /// The question, at most 64 KiB; - reads standard input
    pub(in crate::cli) body: OsString,
}
