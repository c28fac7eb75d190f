//! The one line that brings a node into a network.
//!
//! `mesh1:` and base64url without padding of: version (1 byte), postcard of the fields, CRC-32 of all before it (4
//! bytes, big endian). The line is as secret as the key inside. The CRC is against a line that was cut off or typed
//! wrong, not against an enemy.

use std::fmt;
use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mesh_agent::api::codec::byte_order_mark;
use mesh_protocol::Address;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{NetKey, check_name};

const PREFIX: &str = "mesh1:";
/// The layout of the fields; another way of joining gets another number.
const VERSION: u8 = 1;
/// Version and key.
const HEAD_LEN: usize = 1 + 16;
/// CRC-32 as zip and Ethernet have it.
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
const CRC_LEN: usize = 4;
/// Longer than any invitation (about 140 characters with the longest names), so that a wrong file is not read whole:
/// a guess.
const MAX_LEN: usize = 1024;
/// Room for the decoded bytes of the longest invitation, 98: version 1, key 16, epoch 5, address 3, names 2 × 33,
/// company id 3, CRC 4.
const MAX_BYTES: usize = 128;

/// Why a line is not an invitation. None of these repeats the line, for it holds the key.
#[derive(Debug, Error)]
pub enum InvitationError {
    /// It does not begin like one.
    #[error(
        "reading the invitation: it does not begin with `{PREFIX}`; copy the whole line that `mesh-gateway invite` \
         printed"
    )]
    NotOne,
    /// It is text of another kind than is read here.
    #[error("reading the invitation: {0}; save it as UTF-8 without one")]
    Marked(&'static str),
    /// Its end is missing, or a character is wrong.
    #[error(
        "reading the invitation: the line is cut off or altered; copy all of what `mesh-gateway invite` printed, in \
         one line"
    )]
    Garbled,
    /// A newer gateway made it.
    #[error(
        "reading the invitation: it has version {0}, this program knows version {VERSION}; update mesh-gateway here"
    )]
    Version(u8),
    /// It names an address or name that no node can have.
    #[error(
        "reading the invitation: its address or names are not valid; invite the node again on the owner's gateway"
    )]
    Fields,
    /// The file could not be read.
    #[error("reading the invitation: {0}; check the file, or use `-` for standard input")]
    Io(#[from] io::Error),
}

/// A lease and all that its holder needs to take part.
pub struct Invitation {
    /// The network's key.
    pub key: NetKey,
    /// The key's epoch.
    pub epoch: u32,
    /// The address leased to the invited node.
    pub address: Address,
    /// The invited node's name.
    pub name: String,
    /// The network's name.
    pub network: String,
    /// The company identifier that the network's adverts carry.
    pub company_id: u16,
}

/// What follows version and key, which are copied by hand: postcard would write them the same way, but through a
/// struct that nobody wipes.
#[derive(Serialize, Deserialize)]
struct Fields<'a> {
    epoch: u32,
    address: Address,
    name: &'a str,
    network: &'a str,
    company_id: u16,
}

impl Invitation {
    /// Whether this text begins as the line of an invitation does.
    pub fn looks_like(text: &[u8]) -> bool {
        text.starts_with(PREFIX.as_bytes())
    }

    /// The invitation as one line without a line end; wiped when dropped. It is meant for standard output only.
    ///
    /// # Errors
    /// [`InvitationError::Fields`] when a name is not one that [`check_name`] allows.
    pub fn to_line(&self) -> Result<Zeroizing<String>, InvitationError> {
        self.check()?;
        let fields = Fields {
            epoch: self.epoch,
            address: self.address,
            name: &self.name,
            network: &self.network,
            company_id: self.company_id,
        };
        let mut bytes = Zeroizing::new([0; MAX_BYTES]);
        bytes[0] = VERSION;
        bytes[1..HEAD_LEN].copy_from_slice(self.key.as_bytes());
        // The last bytes are kept free for the CRC.
        let room = &mut bytes[HEAD_LEN..MAX_BYTES - CRC_LEN];
        let crc_at = HEAD_LEN + postcard::to_slice(&fields, room).map_err(|_| InvitationError::Fields)?.len();
        let end = crc_at + CRC_LEN;
        let crc = CRC.checksum(&bytes[..crc_at]);
        bytes[crc_at..end].copy_from_slice(&crc.to_be_bytes());

        // As long as it will get: growing would leave a copy of the key behind.
        let mut line = Zeroizing::new(String::with_capacity(PREFIX.len() + end * 4 / 3 + 1));
        line.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&bytes[..end], &mut line);
        Ok(line)
    }

    /// Reads an invitation line; space around it does not matter.
    ///
    /// # Errors
    /// [`InvitationError`], which never repeats any of the line.
    pub fn parse(line: &str) -> Result<Self, InvitationError> {
        let text = line.trim().strip_prefix(PREFIX).ok_or(InvitationError::NotOne)?;
        let mut room = Zeroizing::new([0; MAX_BYTES]);
        let used = URL_SAFE_NO_PAD.decode_slice(text, &mut *room).map_err(|_| InvitationError::Garbled)?;
        let bytes = room.get(..used).ok_or(InvitationError::Garbled)?;
        let (covered, crc) = bytes.split_last_chunk::<CRC_LEN>().ok_or(InvitationError::Garbled)?;
        if CRC.checksum(covered).to_be_bytes() != *crc {
            return Err(InvitationError::Garbled);
        }
        let (version, rest) = covered.split_first().ok_or(InvitationError::Garbled)?;
        if *version != VERSION {
            return Err(InvitationError::Version(*version));
        }
        let (key, fields) = rest.split_first_chunk::<16>().ok_or(InvitationError::Fields)?;
        let key = NetKey::new(*key);
        let fields: Fields<'_> = postcard::from_bytes(fields).map_err(|_| InvitationError::Fields)?;
        let invitation = Self {
            key,
            epoch: fields.epoch,
            address: fields.address,
            name: fields.name.to_owned(),
            network: fields.network.to_owned(),
            company_id: fields.company_id,
        };
        invitation.check()?;
        Ok(invitation)
    }

    /// Reads an invitation from a file or standard input.
    ///
    /// # Errors
    /// [`InvitationError`], which never repeats any of what was read.
    pub fn read(input: impl Read) -> Result<Self, InvitationError> {
        // As large as it will get: growing would leave a copy of the key behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_LEN));
        input.take(MAX_LEN as u64).read_to_end(&mut text)?;
        if let Some(mark) = byte_order_mark(&text) {
            return Err(InvitationError::Marked(mark));
        }
        Self::parse(std::str::from_utf8(&text).map_err(|_| InvitationError::NotOne)?)
    }

    fn check(&self) -> Result<(), InvitationError> {
        let names = check_name(&self.name).and_then(|()| check_name(&self.network));
        if names.is_ok() && self.address.is_node() { Ok(()) } else { Err(InvitationError::Fields) }
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("name", &self.name)
            .field("address", &self.address)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}
