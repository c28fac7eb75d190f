//! Which gateways this one is to be connected with over IP: those of the settings, and those that were added since.
//!
//! Owns the list, its bound and its record. Connecting is [`crate::peering`]'s.

use std::collections::BTreeMap;

use mesh_agent::Endpoint;
use mesh_agent::api::{ErrorCode, LinkAdd, Name, Refusal};
use serde::{Deserialize, Serialize};

use super::encoding::encode;
use crate::peering::{CONNECTIONS, Fingerprint, PeerConfig};

/// What the store keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct PeerRecord {
    /// Name and address of each that was added.
    added: Vec<(Name, String)>,
    /// The certificates of all that have been connected or were added with one.
    pins: Vec<(Name, Fingerprint)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PeerBook {
    /// Those of the settings: they are not to be removed here.
    configured: BTreeMap<Name, String>,
    added: BTreeMap<Name, String>,
    pins: BTreeMap<Name, Fingerprint>,
}

impl PeerBook {
    pub(super) fn new(configured: Vec<PeerConfig>, record: PeerRecord) -> Self {
        let mut pins: BTreeMap<_, _> = record.pins.into_iter().collect();
        // What a person wrote counts for more than what was seen.
        pins.extend(configured.iter().filter_map(|peer| Some((peer.name, peer.pin?))));
        let configured: BTreeMap<_, _> =
            configured.into_iter().map(|peer| (peer.name, peer.address)).collect();
        let mut added: BTreeMap<_, _> = record.added.into_iter().collect();
        added.retain(|name, _| !configured.contains_key(name));
        Self { configured, added, pins }
    }

    /// All of them.
    pub(super) fn wanted(&self) -> Vec<PeerConfig> {
        let all = self.configured.iter().chain(&self.added);
        all.map(|(name, address)| PeerConfig {
            name: *name,
            address: address.clone(),
            pin: self.pins.get(name).copied(),
        })
        .collect()
    }

    pub(super) fn add(&mut self, add: LinkAdd) -> Result<(), Refusal> {
        let LinkAdd { name, address, fingerprint, .. } = add;
        let refused = |code, why: &str| Refusal::new(code, format!("cannot add the gateway {name}: {why}"));
        if !matches!(address.parse(), Ok(Endpoint::Tcp(_))) {
            return Err(refused(ErrorCode::BadRequest, &format!("{address:?} is no address"))
                .hint("write HOST:PORT, as in 192.168.1.100:7700")
                .field("address"));
        }
        let pin = match fingerprint.as_deref().map(Fingerprint::parse) {
            Some(None) => {
                return Err(refused(ErrorCode::BadRequest, "the fingerprint has not 64 hexadecimal digits")
                    .hint("copy it from `mesh-gateway peers` there")
                    .field("fingerprint"));
            }
            pin => pin.flatten(),
        };
        match self.configured.get(&name).or_else(|| self.added.get(&name)) {
            Some(known) if *known != address => {
                return Err(refused(ErrorCode::Conflict, &format!("one of that name is at {known} already"))
                    .hint("remove it first, or choose another name")
                    .field("name"));
            }
            Some(_) => {}
            None if self.configured.len() + self.added.len() >= CONNECTIONS => {
                let why = format!("a gateway connects with {CONNECTIONS} others at most");
                return Err(refused(ErrorCode::TooLarge, &why).hint("remove one"));
            }
            None => {
                self.added.insert(name, address);
            }
        }
        if let Some(pin) = pin {
            self.pins.insert(name, pin);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, name: Name) -> Result<(), Refusal> {
        let refused = |code, why: &str| {
            Refusal::new(code, format!("cannot remove the gateway {name}: {why}")).field("name")
        };
        if self.configured.contains_key(&name) {
            return Err(refused(ErrorCode::Conflict, "it stands in the settings file")
                .hint("take it out there and start the gateway again"));
        }
        if self.added.remove(&name).is_none() {
            return Err(refused(ErrorCode::BadRequest, "there is none of that name")
                .hint("`mesh-gateway peers` lists them"));
        }
        self.pins.remove(&name);
        Ok(())
    }

    /// Takes note of certificates; whether there was anything new.
    pub(super) fn learn(&mut self, pins: Vec<(Name, Fingerprint)>) -> bool {
        let mut news = false;
        for (name, pin) in pins {
            let known = self.configured.contains_key(&name) || self.added.contains_key(&name);
            // Never in place of one that is there: a person may have given it.
            if known && !self.pins.contains_key(&name) {
                self.pins.insert(name, pin);
                news = true;
            }
        }
        news
    }

    /// As the store keeps it.
    pub(super) fn record(&self) -> Vec<u8> {
        let added = self.added.iter().map(|(name, address)| (*name, address.clone())).collect();
        encode(&PeerRecord { added, pins: self.pins.iter().map(|(name, pin)| (*name, *pin)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(name: &str, address: &str, fingerprint: Option<&str>) -> LinkAdd {
        LinkAdd {
            reference: None,
            name: Name::new(name).unwrap(),
            address: address.into(),
            fingerprint: fingerprint.map(Into::into),
        }
    }

    fn said(book: &mut PeerBook, request: LinkAdd) -> String {
        book.add(request).unwrap_err().to_string()
    }

    #[test]
    fn what_is_added_is_kept_with_its_certificate_until_it_is_removed() {
        let print = "ab".repeat(32);
        let mut book = PeerBook::default();
        book.add(add("cellar", "192.168.1.2:7700", Some(&print))).unwrap();
        book.add(add("roof", "roof.local:7700", None)).unwrap();
        assert!(book.learn(vec![(Name::new("roof").unwrap(), Fingerprint::of(b"roof"))]));
        assert!(!book.learn(vec![(Name::new("roof").unwrap(), Fingerprint::of(b"roof"))]), "nothing new");
        assert!(!book.learn(vec![(Name::new("nobody").unwrap(), Fingerprint::of(b"x"))]));
        let record: PeerRecord = postcard::from_bytes(&book.record()[1..]).unwrap();
        let mut again = PeerBook::new(Vec::new(), record);
        assert_eq!(again.wanted(), book.wanted());
        assert_eq!(again.wanted()[1].pin, Some(Fingerprint::of(b"roof")));
        again.remove(Name::new("roof").unwrap()).unwrap();
        again.add(add("roof", "roof.local:7700", None)).unwrap();
        assert_eq!(again.wanted()[1].pin, None, "removed with its certificate");
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let cellar =
            PeerConfig { name: Name::new("cellar").unwrap(), address: "10.0.0.1:7700".into(), pin: None };
        let mut book = PeerBook::new(vec![cellar], PeerRecord::default());
        assert!(said(&mut book, add("a", "10.0.0.1", None)).contains("write HOST:PORT"));
        assert!(said(&mut book, add("a", "unix:/run/x", None)).contains("write HOST:PORT"));
        assert!(said(&mut book, add("a", "10.0.0.1:1", Some("abc"))).contains("64 hexadecimal digits"));
        assert!(said(&mut book, add("cellar", "10.0.0.2:7700", None)).contains("at 10.0.0.1:7700 already"));
        assert_eq!(book.add(add("cellar", "10.0.0.1:7700", None)), Ok(()), "as it is");
        let removed =
            |book: &mut PeerBook, name| book.remove(Name::new(name).unwrap()).unwrap_err().to_string();
        assert!(removed(&mut book, "cellar").contains("stands in the settings file"));
        assert!(removed(&mut book, "nobody").contains("none of that name"));
        for n in 1..CONNECTIONS {
            book.add(add(&format!("n{n}"), "10.0.0.3:7700", None)).unwrap();
        }
        assert!(said(&mut book, add("one-more", "10.0.0.3:7700", None)).contains("7 others at most"));
    }
}
