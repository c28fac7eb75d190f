//! Events out: what waits for the application, and the loop that runs a node for it.

use heapless::Vec;

use super::{Answer, Event, Host, Node, Received};
use crate::block::{BlockHead, PART_LEN};
use crate::control::{NameHash, Verdict};
use crate::outbox::SendOutcome;
use crate::probe::TracedHop;
use crate::reassembly::{Origin, SetIndex};
use crate::{Address, Instant, MAX_FRAME, MessageId, Priority, ReplayMark};

/// An event before the application has polled it.
#[derive(Clone, Debug)]
pub(super) enum PendingEvent<const FRAME: usize> {
    Single { source: Address, destination: Address, priority: Priority, hops: u8, body: Vec<u8, FRAME, u8> },
    Block(SetIndex),
    NextPart { id: MessageId, offset: u32, len: usize },
    Done { id: MessageId, outcome: SendOutcome, hops: Option<u8> },
    Processed { source: Address, id: MessageId },
    NameWanted { source: Address, name: NameHash },
    NameAt { source: Address, name: NameHash },
    Pong { source: Address, id: u16, hops: u8 },
    Traced { source: Address, hop: TracedHop },
}

every_size!(
    /// Events out.
    impl Node {
        /// The next event. The bytes it lends stay until the next call.
        #[must_use]
        pub fn poll_event(&mut self) -> Option<Event<'_>> {
            if let Some(PendingEvent::Block(set)) = self.lent.take() {
                self.reassembly.free(set);
            }
            if let Some(up_to) = self.seq.wants() {
                return Some(Event::ReserveSeq { up_to });
            }
            if self.seq.low() {
                return Some(Event::EpochWanted);
            }
            if let Some(seq) = self.conflict_news.take() {
                return Some(Event::AddressConflict { seq });
            }
            // Before what ends the message.
            if let Some((id, step)) = self.steps.pop() {
                return Some(Event::Progress { id, step });
            }
            self.lent = self.events.pop_front();
            // A block is queued only after its head was read, so none is lost here.
            Some(match self.lent.as_ref()? {
                PendingEvent::Single { source, destination, priority, hops, body } => {
                    let origin = Origin {
                        src: *source,
                        dst: *destination,
                        priority: *priority,
                        hops: *hops,
                        in_custody: false,
                    };
                    Event::Received(received(
                        origin,
                        self.replay.mark_of(*source),
                        BlockHead::of_single(body).ok()?,
                    ))
                }
                PendingEvent::Block(set) => {
                    let (origin, _, block) = self.reassembly.block(*set);
                    Event::Received(received(
                        origin,
                        self.replay.mark_of(origin.src),
                        BlockHead::parse(block).ok()?,
                    ))
                }
                &PendingEvent::NextPart { id, offset, len } => Event::NextPart { id, offset, len },
                &PendingEvent::Done { id, outcome, hops } => Event::Done { id, outcome, hops },
                &PendingEvent::Processed { source, id } => Event::Processed { source, id },
                &PendingEvent::NameWanted { source, name } => Event::NameWanted { source, name },
                &PendingEvent::NameAt { source, name } => Event::NameAt { source, name },
                &PendingEvent::Pong { source, id, hops } => Event::Pong { source, id, hops },
                &PendingEvent::Traced { source, hop } => Event::Traced { source, hop },
            })
        }

        /// Does everything that is due at `now`: timers, events, frames. Returns when to call again at the latest.
        pub fn drive(&mut self, now: Instant, host: &mut (impl Host + ?Sized)) -> Option<Instant> {
            let mut frame = [0; MAX_FRAME];
            let mut part = [0; PART_LEN];
            loop {
                self.handle_timeout(now);
                while let Some(event) = self.poll_event() {
                    let reply = match event {
                        Event::Received(received) if received.destination.is_node() => {
                            Reply::Verdict(received.source, received.id, received.priority)
                        }
                        Event::Received(received) if received.is_last() => {
                            Reply::Taken(received.source, received.id)
                        }
                        Event::ReserveSeq { up_to } => Reply::Reserved(up_to),
                        Event::NextPart { id, offset, len } => Reply::Part(id, offset, len),
                        _ => Reply::None,
                    };
                    match (host.event(event), reply) {
                        (Answer::Verdict(verdict), Reply::Verdict(to, id, priority)) => {
                            self.report(to, id, priority, verdict);
                        }
                        (Answer::None | Answer::Verdict(Verdict::Delivered), Reply::Taken(source, id)) => {
                            self.has_taken(now, source, id);
                        }
                        (Answer::Reserved, Reply::Reserved(up_to)) => self.seq_reserved(up_to),
                        (_, Reply::Part(id, offset, len)) => {
                            if let Some(part) = part.get_mut(..len)
                                && host.load(id, offset, part)
                            {
                                self.supply(now, id, offset, part);
                            }
                        }
                        _ => {}
                    }
                }
                while let Some(transmit) = self.poll_transmit(now, &mut frame) {
                    host.transmit(transmit.link, &frame[..transmit.len]);
                }
                let next = self.poll_timeout();
                let heard_all = self.events.is_empty()
                    && self.steps.is_empty()
                    && !self.seq.has_news()
                    && self.conflict_news.is_none();
                if heard_all && next.is_none_or(|next| next > now) {
                    return next;
                }
            }
        }

        /// Queues an event; `false` when the application has not drained.
        pub(super) fn push_event(&mut self, event: PendingEvent<FRAME>) -> bool {
            self.events.push_back(event).is_ok()
        }
    }
);

/// What `drive` does with an answer once the event no longer borrows the node.
enum Reply {
    None,
    Verdict(Address, MessageId, Priority),
    Taken(Address, MessageId),
    Reserved(u32),
    Part(MessageId, u32, usize),
}

fn received(origin: Origin, mark: Option<ReplayMark>, (head, bytes): (BlockHead, &[u8])) -> Received<'_> {
    Received {
        source: origin.src,
        destination: origin.dst,
        id: head.message,
        priority: origin.priority,
        hops: origin.hops,
        part: head.part,
        mark,
        bytes,
    }
}
