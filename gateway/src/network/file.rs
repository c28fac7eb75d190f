//! The network's file as text. Who may change it, and when, is decided one level up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use mesh_agent::api::codec::byte_order_mark;
use mesh_protocol::Address;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Leases, NetKey, Network, NetworkError, check_name};
use crate::datadir;

/// The layout of the file.
const VERSION: u32 = 1;
/// More than 32,767 leases with the longest names take, so that a wrong file is not read whole.
const MAX_LEN: u64 = 4 << 20;

const HEAD: &str = "\
# The network of this gateway. SECRET: whoever reads the key reads and writes all of its messages.
# Keep a copy in a safe place, and never put an older copy back: on the owner it would lease addresses twice,
# and two nodes with one address break the encryption.
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    name: String,
    node: String,
    address: Address,
    epoch: u32,
    key: Zeroizing<String>,
    owner: Option<Owner>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    next: u16,
    leases: BTreeMap<String, Address>,
}

pub(super) fn write(path: &Path, network: &Network) -> Result<(), NetworkError> {
    datadir::atomic_write(path, render(network).as_bytes(), 0o600).map_err(|source| NetworkError::Io {
        doing: "writing",
        path: path.to_owned(),
        source,
    })
}

fn render(network: &Network) -> Zeroizing<String> {
    // Names need no quoting: `check_name` allows no character that TOML would mind.
    let mut text = String::new();
    if let Some(leases) = &network.leases {
        let _ = writeln!(text, "\n[owner]\nnext = {}\n\n[owner.leases]", leases.next);
        for (name, address) in &leases.by_name {
            let _ = writeln!(text, "\"{name}\" = {}", address.bits());
        }
    }
    let about = format!(
        "version = {VERSION}\nname = \"{}\"\nnode = \"{}\"\naddress = {}\nepoch = {}\n",
        network.name,
        network.node,
        network.address.bits(),
        network.epoch,
    );
    let key = network.key.to_hex();
    // The key goes in last and without growing, which would leave a copy behind.
    let parts = [HEAD, &about, "key = \"", &key, "\"\n", &text];
    let mut whole = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| whole.push_str(part));
    whole
}

pub(super) fn read(path: &Path) -> Result<Network, NetworkError> {
    let io_error = |source| NetworkError::Io { doing: "reading", path: path.to_owned(), source };
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NetworkError::Missing { path: path.to_owned() },
        _ => io_error(error),
    })?;
    if datadir::open_to_others(&file).map_err(io_error)? {
        return Err(NetworkError::Exposed { path: path.to_owned() });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_LEN).read_to_end(&mut bytes).map_err(io_error)?;
    let parsed = match (std::str::from_utf8(&bytes), byte_order_mark(&bytes)) {
        (Ok(text), _) => parse(text),
        (Err(_), Some(mark)) => Err((mark, None)),
        // An empty text is refused with the right words.
        (Err(_), None) => parse(""),
    };
    parsed.map_err(|(problem, line)| NetworkError::Damaged { path: path.to_owned(), problem, line })
}

/// What is wrong and, where it can be told, in which line.
type Problem = (&'static str, Option<usize>);

fn parse(text: &str) -> Result<Network, Problem> {
    let raw: Text = toml::from_str(text).map_err(|error| {
        // Neither the message nor the excerpt of the TOML error may be shown: either can hold the key.
        let line =
            error.span().and_then(|span| text.get(..span.start)).map(|before| before.lines().count().max(1));
        ("it is not a network file of this version", line)
    })?;
    if raw.version != VERSION {
        return Err(("it was written by another version of mesh-gateway", None));
    }
    let key = NetKey::from_hex(&raw.key).ok_or(("the key is not 32 hex digits", None))?;
    let leases = raw.owner.map(|owner| Leases { next: owner.next, by_name: owner.leases });
    let network =
        Network { name: raw.name, node: raw.node, address: raw.address, epoch: raw.epoch, key, leases };
    let named = check_name(&network.name).and_then(|()| check_name(&network.node));
    if named.is_err() || !network.address.is_node() {
        return Err(("it holds a name or address that no node can have", None));
    }
    network.leases.as_ref().map_or(Ok(()), |leases| check_leases(leases, &network))?;
    Ok(network)
}

/// A list with a hole in its logic would lead to an address leased twice, so none is used.
fn check_leases(leases: &Leases, network: &Network) -> Result<(), Problem> {
    let mut holders = BTreeMap::new();
    for (name, address) in &leases.by_name {
        if check_name(name).is_err() || !address.is_node() || address.bits() >= leases.next {
            return Err(("a lease in it is not valid", None));
        }
        if holders.insert(*address, name).is_some() {
            return Err(("an address in it is leased twice", None));
        }
    }
    if leases.by_name.get(&network.node) != Some(&network.address) {
        return Err(("its leases leave out this gateway", None));
    }
    Ok(())
}
