//! The flags of `mesh-gateway frame`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mesh_protocol::frame::Kind;
use mesh_protocol::{Address, Mic, Priority};

use crate::cli::values;

/// Decode or encode one network frame, as docs/protocol.md describes it
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway frame decode --net-key-file key.hex --epoch 7 5bb5c15a1e9d8d84...",
    "mesh-gateway frame encode --net-key-file key.hex --epoch 7 --src 1 --dst 2 --seq 1 --priority HIGH --kind single 6869",
])]
pub(in crate::cli) struct FrameArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: FrameCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum FrameCommand {
    Decode(DecodeArgs),
    Encode(EncodeArgs),
}

/// The network's key.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct KeyArgs {
    /// A file with the network key: 32 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) net_key_file: Option<PathBuf>,
    /// The network key itself. Everyone on this machine can read it in the process list: for test keys only, otherwise
    /// use --net-key-file
    #[arg(long, value_name = "HEX")]
    pub(in crate::cli) net_key: Option<String>,
}

/// Verify and decode a frame
///
/// Prints src, dst, seq, ttl, ttl0, priority, kind, next, mic_len and body. With --json these are the keys of one
/// object: body is hexadecimal text, next is a number or null (no next hop), all others are numbers: src, dst and next
/// addresses, seq 24 bits, ttl and ttl0 hops 0 to 15, priority 0 CRITICAL to 3 LOW, kind 0 single, 1 segment or
/// 2 control, mic_len 4 or 8 bytes. A frame that does not verify is an error: exit code 1.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway frame decode --net-key-file key.hex --epoch 7 5bb5c15a1e9d8d84...",
    "mesh-gateway frame decode --net-key-file key.hex --epoch 7 --json - < frame.hex",
])]
pub(in crate::cli) struct DecodeArgs {
    #[command(flatten)]
    pub(in crate::cli) key: KeyArgs,
    /// The epoch of the key
    #[arg(long, value_name = "N")]
    pub(in crate::cli) epoch: u32,
    /// The frame in hexadecimal, without the AD header; - reads standard input
    #[arg(value_name = "HEX|-")]
    pub(in crate::cli) frame: String,
}

/// Encode a frame and print it in hexadecimal
///
/// For tests: two different frames with the same key, epoch, src and seq betray the key's stream. A field that does not
/// fit is an error: exit code 1.
#[derive(Args, Debug)]
#[command(after_help = examples![
    "mesh-gateway frame encode --net-key-file key.hex --epoch 7 --src 0x0102 --dst 1 --seq 1 --ttl 7 --priority 1 --kind 0 6869",
    "echo 6869 | mesh-gateway frame encode --net-key-file key.hex --epoch 7 --src 1 --dst 0xffff --seq 2 --priority low --kind single -",
])]
pub(in crate::cli) struct EncodeArgs {
    #[command(flatten)]
    pub(in crate::cli) key: KeyArgs,
    /// The epoch of the key
    #[arg(long, value_name = "N")]
    pub(in crate::cli) epoch: u32,
    /// The origin: 0x0001 to 0x7fff, or decimal
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    pub(in crate::cli) src: Address,
    /// The destination: anything but 0x0000, or decimal
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    pub(in crate::cli) dst: Address,
    /// The sequence number, 0 to 16777215
    #[arg(long, value_name = "N")]
    pub(in crate::cli) seq: u32,
    /// Hops left, 0 to 15 [default: TTL0, and 10 without that]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) ttl: Option<u8>,
    /// Hops allowed at the origin, TTL to 15 [default: TTL]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) ttl0: Option<u8>,
    /// 0 CRITICAL, 1 HIGH, 2 MEDIUM, 3 LOW; the number or the name
    #[arg(long, value_name = "PRIORITY", value_parser = values::priority_bits)]
    pub(in crate::cli) priority: Priority,
    /// 0 single, 1 segment, 2 control; the number or the name
    #[arg(long, value_name = "KIND", value_parser = values::kind)]
    pub(in crate::cli) kind: Kind,
    /// The one neighbour that may relay it
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    pub(in crate::cli) next: Option<Address>,
    /// The length of the MIC in bytes: 4 or 8
    #[arg(long, value_name = "BYTES", default_value = "4", value_parser = values::mic)]
    pub(in crate::cli) mic: Mic,
    /// The body in hexadecimal; - reads standard input
    #[arg(value_name = "HEX|-")]
    pub(in crate::cli) body: String,
}
