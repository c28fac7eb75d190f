//! Who a node is: its own key, and what follows from two of them.
//!
//! The core has no randomness of its own: whoever makes a key gives its bytes.

mod node_key;

pub use node_key::{KeyError, NodeKey, NodeSecret, PairKey};
