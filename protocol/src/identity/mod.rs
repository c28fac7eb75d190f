//! Who a node is: its own key, what follows from two of them, and what the network's owner says of it.
//!
//! The core has no randomness of its own: whoever makes a key gives its bytes.

mod announcement;
mod list;
mod member;
mod node_key;
mod noise;
mod owner;

pub use announcement::{ANNOUNCEMENT_LEN, Announcement, RotationCause};
pub use list::{LIST_HEAD_LEN, ListDigest, ListHead, SignedError};
pub use member::{MEMBER_MAX, Member, MemberError, Role};
pub use node_key::{KeyError, NodeKey, NodeSecret, PairKey};
pub use noise::{HANDSHAKE_OVERHEAD, Handshake, NoiseError, Side, TRANSPORT_OVERHEAD, Transport};
pub use owner::{OwnerKey, OwnerSecret};
