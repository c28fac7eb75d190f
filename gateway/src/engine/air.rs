//! What comes from the bearer, and what the node gives it.
//!
//! Owns what the engine knows of its radio, and the exchange with the node: commands in, frames out, and what waits for room in it.

use std::collections::{BTreeMap, BTreeSet};

use ble_bearer::{Bearer, BearerError, BearerEvent, Clock, airtime};
use mesh_agent::api::{Airtime, StepKind};
use mesh_protocol::{
    Answer, Delivery, Duration, Event, GatewayNode, Host, Instant, LinkId, LinkInfo, MessageId, Reach,
    SendError,
};

use super::carriage::Handover;
use super::keepers::Keeper;
use super::state::EngineState;
use super::{Engine, records};
use crate::store::Op;

/// What the engine knows of its bearer.
#[derive(Debug, Default)]
pub(super) struct Air {
    /// What each link said of itself last, those that are down included.
    links: BTreeMap<LinkId, LinkInfo>,
    /// Whether the bearer has said that it has nothing to tell any more.
    gone: bool,
    /// Whether the radio carries frames.
    up: bool,
    /// Why it does not.
    problem: Option<String>,
    frames_received: u64,
    /// Frames that the bearer took.
    frames_sent: u64,
    /// What those of them on the radio took of the air, each on three channels.
    airtime: Duration,
}

impl Air {
    pub(super) const fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub(super) const fn frames_received(&self) -> u64 {
        self.frames_received
    }

    pub(super) const fn frames_sent(&self) -> u64 {
        self.frames_sent
    }

    pub(super) const fn airtime(&self) -> Airtime {
        Airtime { frames_sent: self.frames_sent, sent_us: self.airtime.as_micros() }
    }

    /// Whether a link is the radio's, heard by everyone in range. One that was never up is: a connection comes up before it says
    /// anything else, and a radio may be away from the start.
    fn is_radio(&self, link: LinkId) -> bool {
        self.links.get(&link).is_none_or(|info| info.reach == Reach::Everyone)
    }

    fn radio_up(&mut self, info: LinkInfo) {
        // A slow host's gap changes all the time: that is no news.
        let (bytes, gap_us) = (info.mtu, info.min_gap.as_micros());
        if std::mem::replace(&mut self.up, true) {
            tracing::debug!(bytes, gap_us, "the radio's gap between frames has changed");
        } else {
            tracing::info!(bytes, gap_us, "the radio is up");
        }
        self.problem = None;
    }

    fn radio_down(&mut self, link: LinkId, why: &str) {
        self.up = false;
        tracing::warn!(link = link.0, why, "link down");
        self.problem = Some(format!("the radio is away: {why}; messages are kept"));
    }

    /// Hands a frame to the bearer. What it does not take was never on the air, and is counted nowhere.
    fn send(&mut self, bearer: &mut impl Bearer, link: LinkId, frame: &[u8]) {
        if bearer.try_send(link, frame).is_err() {
            tracing::debug!(link = link.0, "the bearer is full: a frame is lost");
            return;
        }
        self.frames_sent += 1;
        // A connection to another gateway takes nothing of the air.
        if self.is_radio(link) {
            self.airtime = self.airtime + airtime::of_frame(frame.len());
        }
    }
}

impl<B: Bearer, C: Clock> Engine<B, C> {
    pub(super) fn bearer_event(&mut self, event: Result<BearerEvent, BearerError>) {
        self.tick();
        let now = self.state.now;
        match event {
            Ok(BearerEvent::LinkUp { link, info }) => {
                self.air.links.insert(link, info);
                if info.reach == Reach::Peer {
                    self.learn_certificates();
                } else {
                    self.air.radio_up(info);
                }
                if !self.node.handle_link_up(now, link, info) {
                    tracing::warn!(link = link.0, "too many links: this one is not used");
                }
            }
            Ok(BearerEvent::LinkDown { link, why }) => {
                if self.air.is_radio(link) {
                    self.air.radio_down(link, &why);
                }
                self.node.handle_link_down(link);
            }
            Ok(BearerEvent::Ready { link }) => self.node.link_ready(now, link),
            Ok(BearerEvent::Frame { link, mut bytes, rssi }) => {
                self.air.frames_received += 1;
                match self.node.handle_frame(now, link, &mut bytes, rssi) {
                    // A gateway that is connected over IP says nothing of whether the radio hears.
                    Ok(()) if self.air.is_radio(link) => self.watch.heard(now),
                    Ok(()) => {}
                    Err(why) => tracing::trace!(why = why.name(), "frame discarded"),
                }
            }
            Err(error) => {
                tracing::error!(%error, "the bearer failed");
                self.air.gone = true;
                self.air.problem = Some(error.to_string());
            }
        }
    }

    /// By the time a connection is up, the other end has shown its certificate: one that was not known is kept.
    fn learn_certificates(&mut self) {
        if self.peers.learn(self.peering.pins()) {
            let value = self.peers.record();
            self.state.journal.stage(Op::PutMeta { key: records::PEERS, value });
        }
    }

    /// Carries out what is asked of the node and drives it, until neither side has anything more for the other.
    pub(super) fn drain_node(&mut self, now: Instant) {
        loop {
            self.state.commands.carry_out(now, &mut self.node, &mut self.state.counts);
            self.fill_node(now);
            let (bearer, air) = (&mut self.bearer, &mut self.air);
            let send = |link: LinkId, frame: &[u8]| air.send(bearer, link, frame);
            let node_deadline = self.node.drive(now, &mut Shell { state: &mut self.state, send });
            self.state.known_nodes.get_or_insert_with(|| known_nodes(&self.node, now));
            // What the node said may have asked for more of it, or made room for what waits.
            if self.state.commands.is_empty() {
                self.deadline = [node_deadline, self.state.next_timeout()].into_iter().flatten().min();
                return;
            }
        }
    }

    /// Gives the node what it has room for. What nobody has answered for long makes room for what waits.
    fn fill_node(&mut self, now: Instant) {
        loop {
            let next = if self.node.has_room() { self.state.outgoing.dequeue(now) } else { None };
            let Some((dequeued, envelope)) = next else {
                // Without anything that waits, a silent receiver costs nobody a place, and the node may go on trying.
                let silent = self.node.unanswered().next();
                match silent.filter(|_| self.state.outgoing.is_crowded()) {
                    Some(id) => {
                        self.node.cancel(id);
                        self.state.outgoing.defer(id);
                        self.state.timelines.add(now, id, StepKind::SetAside, None);
                        self.state.counts.count("messages_set_aside");
                        continue;
                    }
                    None => return,
                }
            };
            let receiver = dequeued.destination;
            if dequeued.may_be_kept
                && let Keeper::Found(_, keeper) = self.state.keepers.of(now, receiver)
            {
                self.state.outgoing.hand_over(dequeued.id, Some(Handover { keeper, receiver }));
                continue;
            }
            let delivery = Delivery {
                id: dequeued.id,
                destination: dequeued.destination,
                priority: dequeued.priority,
                deadline: dequeued.deadline,
            };
            let first = self.node.first_part_len(delivery.destination, delivery.priority, envelope.len());
            let first = &envelope[..first.min(envelope.len())];
            match self.node.send(now, delivery, envelope.len(), first) {
                Ok(()) => {
                    let to = Some(delivery.destination).filter(|to| to.is_node());
                    self.state.timelines.add(now, delivery.id, StepKind::Started, to);
                }
                Err(SendError::OutboxFull | SendError::IdInUse) => {
                    return self.state.outgoing.requeue(dequeued.id, dequeued.destination);
                }
                Err(error) => self.state.unsendable(dequeued.id, &error.to_string()),
            }
        }
    }
}

/// How many other nodes are known: those that `peers` and `routes` list.
fn known_nodes(node: &GatewayNode, now: Instant) -> u16 {
    let near = node.neighbours().map(|neighbour| neighbour.address);
    let heard = node.paths().map(|path| path.destination);
    let given = node.routes(now).map(|route| route.destination);
    let others = near.chain(heard).chain(given).filter(|other| *other != node.address());
    others.collect::<BTreeSet<_>>().len() as u16
}

/// The node's host: the state for what it says, a bearer for what it sends.
struct Shell<'a, F> {
    state: &'a mut EngineState,
    send: F,
}

impl<F: FnMut(LinkId, &[u8])> Host for Shell<'_, F> {
    fn transmit(&mut self, link: LinkId, frame: &[u8]) {
        (self.send)(link, frame);
    }
    fn event(&mut self, event: Event<'_>) -> Answer {
        self.state.node_event(event)
    }
    fn load(&mut self, id: MessageId, offset: u32, out: &mut [u8]) -> bool {
        self.state.outgoing.load(id, offset, out)
    }
}

#[cfg(test)]
mod tests {
    use ble_bearer::Full;

    use super::*;

    /// A bearer that takes every other frame.
    struct Every2nd(bool);

    impl Bearer for Every2nd {
        async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
            std::future::pending().await
        }

        fn try_send(&mut self, _: LinkId, _: &[u8]) -> Result<(), Full> {
            self.0 = !self.0;
            if self.0 { Ok(()) } else { Err(Full) }
        }
    }

    #[test]
    fn a_frame_that_the_bearer_refuses_is_not_counted_as_sent() {
        let (mut air, mut bearer) = (Air::default(), Every2nd(false));
        for _ in 0..5 {
            air.send(&mut bearer, LinkId(0), &[0; 20]);
        }
        assert_eq!(air.frames_sent(), 3);
        assert_eq!(air.airtime().sent_us, 3 * airtime::of_frame(20).as_micros());
    }
}
