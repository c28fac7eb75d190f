//! A node whose sizes its user need not know: for simulators and tests, which hold nodes of several sizes.
//!
//! Owns no behaviour: each function is the one of the same name of `Node`.

use super::{Capacity, Config, Host, Node, RouteError, SendError};
use crate::control::{NameHash, Verdict};
use crate::neighbours::Neighbours;
use crate::outbox::Delivery;
use crate::replay::{ReplayMark, ReplayMarks};
use crate::{
    Address, Conflict, Discard, Instant, LinkId, LinkInfo, MessageId, Path, Priority, Routes, Stats,
};

mod sealed {
    /// Keeps [`AnyNode`](super::AnyNode) to this crate, so that it can grow with `Node`.
    pub trait Sealed {}
}

every_size!(
    /// No other type is a node.
    impl sealed::Sealed => Node {}
);

/// The trait and its only impl from one list, so that the two cannot differ.
macro_rules! any_node {
    (
        $(#[$meta:meta])*
        pub trait AnyNode;
        look { $(fn $look:ident($($look_arg:ident: $look_type:ty),*) -> $look_result:ty;)* }
        change { $(fn $change:ident($($arg:ident: $type:ty),*) -> $result:ty;)* }
    ) => {
        $(#[$meta])*
        pub trait AnyNode: sealed::Sealed + core::fmt::Debug {
            #[doc = "As [`Node::new`]."]
            fn new(now: Instant, config: Config) -> Self
            where
                Self: Sized;
            $(
                #[doc = concat!("As [`Node::", stringify!($look), "`].")]
                fn $look(&self, $($look_arg: $look_type),*) -> $look_result;
            )*
            $(
                #[doc = concat!("As [`Node::", stringify!($change), "`].")]
                fn $change(&mut self, $($arg: $type),*) -> $result;
            )*
        }

        every_size!(
            /// Of every size.
            impl AnyNode => Node {
                fn new(now: Instant, config: Config) -> Self {
                    Self::new(now, config)
                }
                // An inherent function goes before the trait's of the same name; without one the compiler says that
                // this calls itself.
                $(fn $look(&self, $($look_arg: $look_type),*) -> $look_result {
                    Self::$look(self, $($look_arg),*)
                })*
                $(fn $change(&mut self, $($arg: $type),*) -> $result {
                    Self::$change(self, $($arg),*)
                })*
            }
        );
    };
}

any_node! {
    /// A [`Node`] of any size. Firmware holds a [`Node`], which costs it no table of functions.
    ///
    /// ```
    /// use mesh_protocol::*;
    ///
    /// # let config = |address| Config {
    /// #     address: Address::new(address),
    /// #     keys: Keyring::new(EpochKeys::derive(&NetKey::new([7; 16]), 1)),
    /// #     seed: 1, ttl: 5, relay: true, seq_start: 0, seq_block: 1024,
    /// # };
    /// let (mut small, mut large) =
    ///     (SmallNode::new(Instant::ZERO, config(1)), Box::new(GatewayNode::new(Instant::ZERO, config(2))));
    /// let nodes: [&mut dyn AnyNode; 2] = [&mut small, &mut *large];
    /// for node in nodes {
    ///     assert!(node.has_room());
    ///     assert!(node.join_group(Address::new(0x8001)));
    /// }
    /// ```
    pub trait AnyNode;
    look {
        fn address() -> Address;
        fn epoch() -> u32;
        fn stats() -> &Stats;
        fn neighbours() -> Neighbours<'_>;
        fn neighbours_alive(now: Instant) -> usize;
        fn paths() -> core::slice::Iter<'_, Path>;
        fn routes(now: Instant) -> Routes<'_>;
        fn replay_marks() -> ReplayMarks<'_>;
        fn replay_use() -> (usize, usize);
        fn next_seq() -> u32;
        fn conflict(now: Instant) -> Option<Conflict>;
        fn can_seal() -> bool;
        fn depth() -> (usize, usize);
        fn load(now: Instant) -> (u32, Option<u32>);
        fn capacity() -> Capacity;
        fn has_room() -> bool;
        fn waits_for_hops() -> bool;
        fn first_part_len(destination: Address, priority: Priority, total: usize) -> usize;
        fn transfers_ahead() -> u16;
        fn poll_timeout() -> Option<Instant>;
    }
    change {
        fn restore_mark(mark: ReplayMark) -> bool;
        fn restore_transfers(ahead: u16) -> ();
        fn seq_reserved(up_to: u32) -> ();
        fn join_group(group: Address) -> bool;
        fn leave_group(group: Address) -> ();
        fn set_route(now: Instant, destination: Address, next_hop: Address, cost: u16) -> Result<(), RouteError>;
        fn remove_route(destination: Address) -> bool;
        fn send(now: Instant, delivery: Delivery, total: usize, first: &[u8]) -> Result<(), SendError>;
        fn supply(now: Instant, id: MessageId, offset: u32, bytes: &[u8]) -> bool;
        fn cancel(id: MessageId) -> ();
        fn report(to: Address, id: MessageId, priority: Priority, verdict: Verdict) -> bool;
        fn announce(to: Address, name: NameHash) -> ();
        fn find_name(name: NameHash, priority: Priority) -> ();
        fn ping(to: Address, id: u16) -> bool;
        fn trace(now: Instant, to: Address, id: u8) -> bool;
        fn handle_link_up(now: Instant, id: LinkId, info: LinkInfo) -> bool;
        fn handle_link_down(id: LinkId) -> ();
        fn link_ready(now: Instant, id: LinkId) -> ();
        fn handle_frame(now: Instant, link: LinkId, bytes: &mut [u8], rssi: Option<i8>) -> Result<(), Discard>;
        fn drive(now: Instant, host: &mut dyn Host) -> Option<Instant>;
    }
}
