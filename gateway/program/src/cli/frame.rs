//! `mesh-gateway frame`: network frames by hand, for people and for checking the program from outside.
//!
//! Owns only the written form; layout and checks are [`mesh_protocol::frame`]'s.

use std::io::{self, Read};

use anyhow::{Context, anyhow, bail, ensure};
use gateway::network::NetKey;
use mesh_protocol::continuation::{self, is_continuation};
use mesh_protocol::frame::{self, Frame, Kind};
use mesh_protocol::{Address, Discard, EpochKeys, Keyring, MAX_FRAME};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::args::{DecodeArgs, EncodeArgs, FrameCommand, KeyArgs};
use super::fault::usage;
use super::output::{Output, pairs};
use super::values::{hex, to_hex};

/// Hops where none are given: the default of `mesh.ttl`.
const USUAL_TTL: u8 = 10;
/// More hexadecimal digits than any frame has, with room for white space: a guess.
const MAX_HEX: u64 = 4 * MAX_FRAME as u64;

/// A frame as `--json` shows it.
#[derive(Serialize)]
struct Shown {
    src: u16,
    dst: u16,
    seq: u32,
    ttl: u8,
    ttl0: u8,
    priority: u8,
    kind: u8,
    next: Option<u16>,
    mic_len: usize,
    body: String,
}

pub(super) fn run(command: FrameCommand, out: Output) -> anyhow::Result<()> {
    match command {
        FrameCommand::Decode(args) => decode(args, out).context("decoding the frame"),
        FrameCommand::Encode(args) => encode(args, out).context("encoding the frame"),
    }
}

fn decode(args: DecodeArgs, out: Output) -> anyhow::Result<()> {
    let keys = keys(args.key, args.epoch)?;
    let mut bytes = bytes(args.frame)?;
    if is_continuation(&bytes) {
        return decode_continuation(&mut bytes, keys, out);
    }
    let verified = frame::decode(&mut bytes, &Keyring::new(keys)).map_err(refused)?;
    let frame = verified.frame();
    let shown = Shown {
        src: frame.src.bits(),
        dst: frame.dst.bits(),
        seq: frame.seq,
        ttl: frame.ttl,
        ttl0: frame.ttl0,
        priority: frame.priority.bits(),
        kind: frame.kind.bits(),
        next: frame.next.map(Address::bits),
        mic_len: frame.mic.bytes(),
        body: to_hex(frame.body),
    };
    out.result(&shown, || {
        pairs(&[
            ("src", frame.src.to_string()),
            ("dst", frame.dst.to_string()),
            ("seq", frame.seq.to_string()),
            ("ttl", frame.ttl.to_string()),
            ("ttl0", frame.ttl0.to_string()),
            ("priority", format!("{} {}", frame.priority.bits(), frame.priority)),
            ("kind", format!("{} {}", frame.kind.bits(), kind_name(frame.kind))),
            ("next", frame.next.map_or_else(|| "none".to_owned(), |next| next.to_string())),
            ("mic_len", frame.mic.bytes().to_string()),
            ("body", to_hex(frame.body)),
        ])
    })
}

fn refused(why: Discard) -> anyhow::Error {
    anyhow!(
        "it does not verify: {}; check the key, the epoch, and that the AD header is left out",
        why.name()
    )
}

/// A frame with the short header: what it leaves out stood in the first segment of its block.
fn decode_continuation(bytes: &mut [u8], keys: EpochKeys, out: Output) -> anyhow::Result<()> {
    let verified = continuation::decode(bytes, &Keyring::new(keys)).map_err(refused)?;
    let frame = verified.frame();
    let shown = json!({
        "src": frame.src.bits(),
        "seq": frame.seq,
        "hop": frame.hop,
        "transfer": frame.transfer.bits(),
        "offset": frame.offset,
        "body": to_hex(frame.data),
    });
    out.result(&shown, || {
        pairs(&[
            ("src", frame.src.to_string()),
            ("seq", frame.seq.to_string()),
            ("hop", frame.hop.to_string()),
            ("kind", "continuation".to_owned()),
            ("transfer", frame.transfer.bits().to_string()),
            ("offset", frame.offset.to_string()),
            ("body", to_hex(frame.data)),
        ])
    })
}

fn encode(args: EncodeArgs, out: Output) -> anyhow::Result<()> {
    let keys = keys(args.key, args.epoch)?;
    let body = bytes(args.body)?;
    let ttl = args.ttl.or(args.ttl0).unwrap_or(USUAL_TTL);
    let frame = Frame {
        ttl,
        ttl0: args.ttl0.unwrap_or(ttl),
        seq: args.seq,
        src: args.src,
        dst: args.dst,
        next: args.next,
        priority: args.priority,
        kind: args.kind,
        mic: args.mic,
        body: &body,
    };
    let mut room = [0; MAX_FRAME];
    let len = frame::encode(&frame, &keys, &mut room)?;
    let text = to_hex(&room[..len]);
    out.result(&json!({ "frame": text }), || text.clone())
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Single => "single",
        Kind::Segment => "segment",
        Kind::Control => "control",
    }
}

/// The keys of the epoch. No error repeats any of the key.
fn keys(args: KeyArgs, epoch: u32) -> anyhow::Result<EpochKeys> {
    let key = match (args.net_key, args.net_key_file) {
        (Some(hex), _) => NetKey::from_hex(&Zeroizing::new(hex))
            .ok_or_else(|| usage(format!("reading --net-key: {}", NetKey::FORM)))?,
        (None, Some(path)) => NetKey::read(&path)?,
        // clap asks for one of them.
        (None, None) => bail!(usage("name the key with --net-key-file".to_owned())),
    };
    Ok(EpochKeys::derive(&mesh_protocol::NetKey::new(*key.as_bytes()), epoch))
}

/// The bytes of an argument, or of standard input for `-`.
fn bytes(argument: String) -> anyhow::Result<Vec<u8>> {
    let text = if argument == "-" {
        let mut text = String::new();
        io::stdin().lock().take(MAX_HEX + 1).read_to_string(&mut text).context("reading standard input")?;
        text
    } else {
        argument
    };
    ensure!(
        text.len() as u64 <= MAX_HEX,
        "it is longer than any frame; give one frame of at most {MAX_FRAME} bytes"
    );
    hex(&text)
        .ok_or_else(|| anyhow!("it is not hexadecimal; give an even number of the digits 0 to 9 and a to f"))
}
