//! What the application asks of a node. Each takes effect with the next drain.

use super::{Node, RouteError, SendError};
#[cfg(doc)]
use crate::Event;
use crate::block::{MESSAGE_MAX, PART_LEN, fits_one_block};
use crate::control::{Control, NameHash, Verdict};
use crate::outbox::Delivery;
use crate::replay::ReplayMark;
use crate::seq::SeqError;
use crate::{Address, Instant, MessageId, Priority};

every_size!(
    /// Commands.
    impl Node {
        /// Shuts out every frame at or below a mark from before a restart.
        ///
        /// `false` when the replay table is full: the network has more nodes than this one can guard against.
        pub fn restore_mark(&mut self, mark: ReplayMark) -> bool {
            self.replay.restore(mark)
        }

        /// Begins with transfer numbers that much further on, so that none comes twice while receivers may remember it. To be
        /// called before the first message.
        pub fn restore_transfers(&mut self, ahead: u16) {
            self.outbox.skip_transfers(ahead);
        }

        /// The host has synced what [`Event::ReserveSeq`] asked for.
        pub fn seq_reserved(&mut self, up_to: u32) {
            self.seq.reserved(up_to);
        }

        /// Also takes messages to `group`; `false` when this node is in as many as it has room for, or it is no group.
        pub fn join_group(&mut self, group: Address) -> bool {
            group.is_group() && (self.groups.contains(&group) || self.groups.push(group).is_ok())
        }

        /// No longer takes messages to `group`.
        pub fn leave_group(&mut self, group: Address) {
            self.groups.retain(|joined| *joined != group);
        }

        /// Bytes to hand to [`send`](Self::send) for such a message of `total` bytes: all, or a first part.
        #[must_use]
        pub fn first_part_len(&self, _destination: Address, _priority: Priority, total: usize) -> usize {
            if fits_one_block(total) { total } else { PART_LEN }
        }

        /// From now on a first attempt to reach `destination` is passed on by the neighbour `next_hop` alone, in place of any
        /// route before; without an answer it is flooded. CRITICAL messages use no routes. `cost` is only kept and shown.
        ///
        /// # Errors
        /// [`RouteError`], and nothing has changed.
        pub fn set_route(
            &mut self,
            now: Instant,
            destination: Address,
            next_hop: Address,
            cost: u16,
        ) -> Result<(), RouteError> {
            if !destination.is_node() || destination == self.address {
                return Err(RouteError::Destination);
            }
            if !next_hop.is_node() || next_hop == self.address {
                return Err(RouteError::NextHop);
            }
            if self.routes.set(now, destination, next_hop, cost) { Ok(()) } else { Err(RouteError::Full) }
        }

        /// Forgets the route to `destination`; whether there was one.
        pub fn remove_route(&mut self, destination: Address) -> bool {
            self.routes.remove(destination)
        }

        /// Sends a message of `total` bytes; `first` are its first [`first_part_len`](Self::first_part_len) bytes, which are
        /// all of it when it fits one block. Further parts are asked for by [`Event::NextPart`].
        ///
        /// # Errors
        /// [`SendError`], and nothing has changed.
        pub fn send(
            &mut self,
            now: Instant,
            delivery: Delivery,
            total: usize,
            first: &[u8],
        ) -> Result<(), SendError> {
            if self.seq.ready() == Err(SeqError::Exhausted) {
                return Err(SendError::SeqExhausted);
            }
            if total == 0 || total > MESSAGE_MAX {
                return Err(SendError::Length);
            }
            if first.len() != self.first_part_len(delivery.destination, delivery.priority, total) {
                return Err(SendError::FirstPart);
            }
            if delivery.destination == Address::NONE || delivery.destination == self.address {
                return Err(SendError::Destination);
            }
            if self.outbox.holds(delivery.id) {
                return Err(SendError::IdInUse);
            }
            let cut = self.cut(now, delivery.destination, delivery.priority, false);
            if self.outbox.push(now, delivery, total as u32, first, cut) {
                Ok(())
            } else {
                Err(SendError::OutboxFull)
            }
        }

        /// The bytes from `offset` on that [`Event::NextPart`] asked for; `false` if others or none are asked for now, or
        /// not as many.
        pub fn supply(&mut self, now: Instant, id: MessageId, offset: u32, bytes: &[u8]) -> bool {
            let Some((destination, priority, legacy)) = self.outbox.goes_to(id) else { return false };
            let cut = self.cut(now, destination, priority, legacy);
            self.outbox.supply(now, id, offset, bytes, cut)
        }

        /// Gives up an own message without an event.
        pub fn cancel(&mut self, id: MessageId) {
            self.outbox.cancel(id);
        }

        /// Tells a source what became of its message, now or again; `false` when there is no room for it now: try again
        /// after the next drain.
        pub fn report(&mut self, to: Address, id: MessageId, priority: Priority, verdict: Verdict) -> bool {
            self.finished.decide(to, id, verdict);
            self.control(to, priority, Control::Receipt { message: id, verdict }, false)
        }

        /// Tells everyone, or the node that asked, that an agent of this name is here.
        pub fn announce(&mut self, to: Address, name: NameHash) {
            self.control(to, Priority::High, Control::Here(name), false);
        }

        /// Asks everyone where the agent of this name is.
        pub fn find_name(&mut self, name: NameHash, priority: Priority) {
            self.control(Address::EVERYONE, priority, Control::WhoHas(name), false);
        }
    }
);
