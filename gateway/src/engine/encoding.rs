//! How the engine's records become bytes and come back: one version byte, then postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of every record; a record of another is not read.
const VERSION: u8 = 1;

/// A record as the store keeps it.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).unwrap_or_default()
}

pub(super) fn decode<T: DeserializeOwned>(record: &[u8]) -> Option<T> {
    let (&version, rest) = record.split_first()?;
    if version != VERSION {
        return None;
    }
    postcard::from_bytes(rest).ok()
}

/// A record that was given more fields at its end, two at the most. Those of before end ahead of them: there was nothing to say.
pub(super) fn decode_grown<T: DeserializeOwned>(record: &[u8]) -> Option<T> {
    decode(record).or_else(|| decode(&[record, &[0, 0]].concat()))
}
