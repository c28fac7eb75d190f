//! The network this gateway belongs to: its key, epoch and addresses, and the invitations that bring others in.
//!
//! The key derivation and everything on the air is [`mesh_protocol`]'s. Here the key only rests: in one file of mode
//! 0600, in an invitation's one line, and in memory that is wiped. It never appears in an error or a debug text.
//!
//! The owner leases addresses, one for each name, and never the same one twice: two nodes with one address under one
//! key would reuse nonces. A stronger join (a one-time secret, Noise) gets another invitation version.

mod file;
mod invitation;
mod key;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mesh_agent::api::Name;
use mesh_protocol::Address;
use thiserror::Error;

pub use invitation::{Invitation, InvitationError};
pub use key::{KeyFileError, NetKey};

use crate::datadir;

/// The network's file in the data directory.
pub const NETWORK_FILE: &str = "network.toml";
/// Held while the network's file is made or changed; the file itself cannot be locked, as each change replaces it.
const LOCK_FILE: &str = "network.lock";
/// The address of the gateway that makes a network.
pub const OWNER_ADDRESS: Address = Address::new(1);
/// The epoch a network starts with.
pub const FIRST_EPOCH: u32 = 1;
/// The longest name of a node or network, in bytes: a guess, so that a name fits a few frames.
pub const MAX_NAME: usize = 32;

/// Why a network cannot be made, joined, read or changed.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// There is no network in the data directory.
    #[error("opening the network: {path} does not exist; run `mesh-gateway init` first")]
    Missing {
        /// The network's file.
        path: PathBuf,
    },
    /// A network is there already.
    #[error(
        "making a network: {path} exists already, and its key must not be lost; choose another directory with \
         --data-dir"
    )]
    Exists {
        /// The network's file.
        path: PathBuf,
    },
    /// Others may read the key.
    #[error("reading {path}: others than its owner may read the network's key; run `chmod 600 {path}`")]
    Exposed {
        /// The network's file.
        path: PathBuf,
    },
    /// The file is not what this version writes. Its text is not shown, for the key stands in it.
    #[error("reading {path}: {problem}{}; restore the newest copy you have", at_line(*line))]
    Damaged {
        /// The network's file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// The line, where one can be named.
        line: Option<usize>,
    },
    /// A name that would not fit or could be misread.
    #[error(
        "naming a node or network: a name has 1 to {MAX_NAME} letters, digits, `.`, `_` or `-`, and is not `everyone`; choose another"
    )]
    BadName,
    /// An address of no node.
    #[error("entering a network at {address}: a node's address is 0x0001 to {:#06x}", Address::LAST_NODE.bits())]
    NoNode {
        /// The address.
        address: Address,
    },
    /// The name has an address already.
    #[error(
        "inviting {name}: that name already has the address {address}, and an address is never leased twice; \
         choose another name"
    )]
    Leased {
        /// The name.
        name: String,
        /// Its address.
        address: Address,
    },
    /// This gateway was invited itself.
    #[error(
        "inviting {name}: only the gateway that made the network leases addresses; run `mesh-gateway invite` there"
    )]
    NotOwner {
        /// Who was to be invited.
        name: String,
    },
    /// No address is left.
    #[error(
        "inviting {name}: all {} addresses are leased; make a second network with `mesh-gateway init`",
        Address::LAST_NODE.bits()
    )]
    Exhausted {
        /// Who was to be invited.
        name: String,
    },
    /// The operating system gave no random bytes.
    #[error("drawing the network's key: the operating system gave no random bytes; try again later")]
    NoRandomness,
    /// The data directory could not be made.
    #[error(transparent)]
    DataDir(#[from] datadir::DataDirError),
    /// The operating system refused.
    #[error("{doing} {path}: {source}; check the disk and that this user may write there")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

/// Checks the name of a node or network: 1 to [`MAX_NAME`] ASCII letters, digits, `.`, `_` or `-`, and not `everyone`.
///
/// # Errors
/// [`NetworkError::BadName`].
pub fn check_name(name: &str) -> Result<(), NetworkError> {
    // A node answers messages under its name, so that it is one that an agent can have.
    Name::new(name).map(drop).map_err(|_| NetworkError::BadName)
}

/// What a gateway knows of its network.
#[derive(Debug)]
pub struct Network {
    /// The network's name.
    pub name: String,
    /// This node's name.
    pub node: String,
    /// This node's address.
    pub address: Address,
    /// The key's epoch.
    pub epoch: u32,
    /// The key.
    pub key: NetKey,
    /// Who has which address; only the owner knows, `None` on an invited gateway.
    leases: Option<Leases>,
}

/// The owner's list of addresses.
#[derive(Debug)]
struct Leases {
    /// The lowest address never leased; one past [`Address::LAST_NODE`] when all are. It only grows, even if a lease
    /// should one day be taken off the list.
    next: u16,
    by_name: BTreeMap<String, Address>,
}

impl Network {
    /// A network with a random key. This node, called `node`, is the owner at [`OWNER_ADDRESS`]. It is there once
    /// [`found`](Self::found) has written it.
    ///
    /// # Errors
    /// [`NetworkError::BadName`] or [`NetworkError::NoRandomness`].
    pub fn new(name: &str, node: &str) -> Result<Self, NetworkError> {
        check_name(name)?;
        check_name(node)?;
        Ok(Self {
            name: name.to_owned(),
            node: node.to_owned(),
            address: OWNER_ADDRESS,
            epoch: FIRST_EPOCH,
            key: NetKey::random().ok_or(NetworkError::NoRandomness)?,
            leases: Some(Leases {
                next: OWNER_ADDRESS.bits() + 1,
                by_name: BTreeMap::from([(node.to_owned(), OWNER_ADDRESS)]),
            }),
        })
    }

    /// A network that was made elsewhere, with an address that someone else has leased to this node.
    ///
    /// # Errors
    /// [`NetworkError::BadName`], or [`NetworkError::NoNode`] for an address that no node can have.
    pub fn entered(
        name: &str,
        node: &str,
        address: Address,
        epoch: u32,
        key: NetKey,
    ) -> Result<Self, NetworkError> {
        check_name(name)?;
        check_name(node)?;
        if !address.is_node() {
            return Err(NetworkError::NoNode { address });
        }
        Ok(Self { name: name.to_owned(), node: node.to_owned(), address, epoch, key, leases: None })
    }

    /// The network that an invitation describes; this node is in it once [`found`](Self::found) has written it.
    ///
    /// The invitation's company id belongs to the settings, where the caller writes it.
    #[must_use]
    pub fn invited(invitation: &Invitation) -> Self {
        Self {
            name: invitation.network.clone(),
            node: invitation.name.clone(),
            address: invitation.address,
            epoch: invitation.epoch,
            key: invitation.key.clone(),
            leases: None,
        }
    }

    /// Reads the network in the data directory.
    ///
    /// # Errors
    /// [`NetworkError::Missing`], [`NetworkError::Exposed`], [`NetworkError::Damaged`] or [`NetworkError::Io`].
    pub fn load(data_dir: &Path) -> Result<Self, NetworkError> {
        file::read(&data_dir.join(NETWORK_FILE))
    }

    /// Leases the next address to `name` and brings that to the disk; only then the invitation exists.
    ///
    /// `company_id` is the one from this gateway's settings, so that the other one filters by the same. A running
    /// gateway need not stop for this, and two of these at once give two addresses.
    ///
    /// # Errors
    /// [`NetworkError::Leased`] for a name that has an address, [`NetworkError::NotOwner`],
    /// [`NetworkError::Exhausted`], [`NetworkError::BadName`], and those of [`Network::load`].
    pub fn invite(data_dir: &Path, name: &str, company_id: u16) -> Result<Invitation, NetworkError> {
        check_name(name)?;
        let path = data_dir.join(NETWORK_FILE);
        if !path.exists() {
            return Err(NetworkError::Missing { path });
        }
        let _lock = lock(data_dir)?;
        let mut network = file::read(&path)?;
        let address = network.lease(name)?;
        file::write(&path, &network)?;
        Ok(Invitation {
            key: network.key,
            epoch: network.epoch,
            address,
            name: name.to_owned(),
            network: network.name,
            company_id,
        })
    }

    /// Whether this gateway made the network and leases its addresses.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.leases.is_some()
    }

    /// Who has which address, by name; empty on an invited gateway.
    pub fn leases(&self) -> impl Iterator<Item = (&str, Address)> {
        self.leases.iter().flat_map(|leases| &leases.by_name).map(|(name, address)| (name.as_str(), *address))
    }

    fn lease(&mut self, name: &str) -> Result<Address, NetworkError> {
        let Some(leases) = &mut self.leases else {
            return Err(NetworkError::NotOwner { name: name.to_owned() });
        };
        if let Some(address) = leases.by_name.get(name) {
            return Err(NetworkError::Leased { name: name.to_owned(), address: *address });
        }
        let address = Address::new(leases.next);
        if !address.is_node() {
            return Err(NetworkError::Exhausted { name: name.to_owned() });
        }
        leases.next += 1;
        leases.by_name.insert(name.to_owned(), address);
        Ok(address)
    }

    /// Writes a network that is new here into the data directory, which it makes too.
    ///
    /// # Errors
    /// [`NetworkError::Exists`] when a network is there, or why it could not be written.
    pub fn found(&self, data_dir: &Path) -> Result<(), NetworkError> {
        datadir::create(data_dir)?;
        let _lock = lock(data_dir)?;
        let path = data_dir.join(NETWORK_FILE);
        // A dangling link counts as well: somebody meant something by it.
        if path.symlink_metadata().is_ok() {
            return Err(NetworkError::Exists { path });
        }
        file::write(&path, self)
    }
}

/// Waits until nobody else makes or changes the network; dropping the file ends it.
fn lock(data_dir: &Path) -> Result<File, NetworkError> {
    let path = data_dir.join(LOCK_FILE);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|source| NetworkError::Io { doing: "locking", path, source })
}

#[cfg(test)]
mod tests;
