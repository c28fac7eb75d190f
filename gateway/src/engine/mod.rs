//! The engine: the one task that owns the node and the bearer.
//!
//! Owns the loop: bearer, agents, timer, disk, shutdown, and a full drain of the node behind each. What inputs mean is
//! in `state`; agents' sockets are in [`crate::agents`].

mod acceptance;
mod accounts;
mod air_watch;
mod completion;
mod contexts;
mod counts;
#[cfg(test)]
mod damage_tests;
mod directory;
mod encoding;
mod groups;
mod inbox;
mod incoming;
mod journal;
mod keys;
mod lanes;
mod numbers;
mod outgoing;
mod peers;
mod promises;
mod receipt_requests;
mod recent;
mod reception;
mod records;
mod report;
mod reserve;
mod sessions;
mod state;
#[cfg(test)]
mod state_tests;

use std::collections::VecDeque;
use std::sync::Arc;

use ble_bearer::{Bearer, BearerEvent, Clock, airtime};
use mesh_agent::api::{
    Airtime, Done, ErrorCode, Event, Pong, Refusal, Request, RouteAdd, RouteRemove, Status,
};
use mesh_protocol::{
    Address, Config, Duration, EpochKeys, GatewayNode, Instant, Keyring, LinkId, MessageId, NetKey, Priority,
    Rng, RouteError, SendError, Verdict, frame::SEQ_MAX,
};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

use crate::access::Audit;
use crate::agents::{Counters, SessionId, ToEngine};
use crate::peering::{self, PeerConfig, PeerKey, Peering};
use crate::store::{NEW_ADDRESS, Op, Recovered, Store, StoreError};
use air_watch::AirWatch;
use journal::{After, Journal};
use numbers::{FIRST_IDS, ID_BLOCK, SEQ_BLOCK, SEQ_LEAP};
use reception::Shell;
use records::Seqs;
use state::{EngineState, MeshCommand, Start};

pub use records::fresh_seq;
pub use state::EngineConfig;

/// Replay marks of all sources go to disk at most this often, with other writes. That of a source whose message is delivered
/// goes with the message; a restarted gateway takes again at most what was no message.
const MARKS_EVERY: Duration = Duration::from_secs(60);
/// Batches of agents' requests handled before the node gets its turn.
const BATCHES: usize = 32;

/// The network a gateway is in.
#[derive(Debug)]
pub struct Membership {
    /// The network's key in its epoch.
    pub key: NetKey,
    /// The epoch.
    pub epoch: u32,
    /// A number that names the key without betraying it; records of another key are not used.
    pub fingerprint: [u8; 8],
    /// Whether the key was made for this run, so that no SEQ can have been used under it.
    pub fresh: bool,
    /// What proves to other gateways that this one is of the network.
    pub peer_key: PeerKey,
}

impl Membership {
    /// The membership of this key and epoch.
    #[must_use]
    pub fn new(key: [u8; 16], epoch: u32, fresh: bool) -> Self {
        Self {
            fingerprint: fingerprint(&key, epoch),
            peer_key: PeerKey::derive(&key, epoch),
            key: NetKey::new(key),
            epoch,
            fresh,
        }
    }
}

/// Names a key in an epoch without betraying it.
#[must_use]
pub fn fingerprint(key: &[u8; 16], epoch: u32) -> [u8; 8] {
    let digest = Sha256::new()
        .chain_update(b"mesh-gw store fingerprint")
        .chain_update(key)
        .chain_update(epoch.to_be_bytes())
        .finalize();
    std::array::from_fn(|i| digest[i])
}

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store does not say which SEQs were used.
    #[error(
        "starting the gateway: the message store does not say which sequence numbers were used under the network's key, and \
         using one twice would betray what was sent under it; {NEW_ADDRESS}"
    )]
    NoSeqRecord,
    /// The store's record of SEQs is another address's.
    #[error(
        "starting the gateway: the message store belongs to the address {found} and network.toml says {own}; numbers that \
         were used under one address must not be used under another unnoticed: put {found} back into network.toml if it \
         was changed there; otherwise {NEW_ADDRESS}"
    )]
    OtherAddress {
        /// Whose record it is.
        found: Address,
        /// The gateway's address.
        own: Address,
    },
    /// The store's record of SEQs is of another key or epoch.
    #[error(
        "starting the gateway: the message store belongs to another key or epoch than network.toml, so that it does not say \
         which sequence numbers were used under this one; put network.toml back as it was if it was changed; otherwise \
         {NEW_ADDRESS}"
    )]
    OtherKey,
    /// The store failed at the end.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The engine of one gateway over one bearer.
#[derive(Debug)]
pub struct Engine<B, C: Clock> {
    node: Box<GatewayNode>,
    bearer: B,
    clock: C,
    state: EngineState,
    deadline: Option<Instant>,
    /// Whether the bearer has said that it has nothing to tell any more.
    bearer_gone: bool,
    /// Whether the radio carries frames.
    radio_up: bool,
    /// Reports that found no room in the node.
    reports: VecDeque<(Address, MessageId, Priority, Verdict)>,
    frames_received: u64,
    watch: AirWatch,
    marks_at: Instant,
    /// Keeps a simulated clock still while the disk is waited for.
    hold: Option<C::Hold>,
    commands: mpsc::Receiver<ToEngine>,
    doors: Arc<Counters>,
    peering: Peering,
    /// What frames on the radio took of the air, each on three channels.
    airtime: Duration,
    due: Vec<After>,
}

/// What an engine is made of.
#[derive(Debug)]
pub struct Parts<B, C> {
    /// Who it is, and its bounds.
    pub config: EngineConfig,
    /// Its network.
    pub membership: Membership,
    /// Hops allowed to its messages, 1 to 15.
    pub ttl: u8,
    /// Seeds the node's jitter.
    pub seed: u64,
    /// How it sends and receives.
    pub bearer: B,
    /// Its time.
    pub clock: C,
    /// Its disk.
    pub store: Store,
    /// What that held.
    pub recovered: Recovered,
    /// What sessions ask of it.
    pub commands: mpsc::Receiver<ToEngine>,
    /// What is counted at the doors.
    pub doors: Arc<Counters>,
    /// Where what agents send is noted.
    pub audit: Audit,
    /// Connections to other gateways.
    pub peering: Peering,
    /// Gateways of the settings to be connected with.
    pub peers: Vec<PeerConfig>,
}

impl<B: Bearer, C: Clock> Engine<B, C> {
    /// An engine that goes on where the store's last run ended.
    ///
    /// # Errors
    /// [`EngineError::NoSeqRecord`], [`EngineError::OtherAddress`] or [`EngineError::OtherKey`] for a key that may have been
    /// used, without a record of how far.
    pub fn new(parts: Parts<B, C>) -> Result<Self, EngineError> {
        let Parts {
            config,
            membership,
            ttl,
            seed,
            bearer,
            clock,
            store,
            recovered,
            commands,
            doors,
            audit,
            peering,
            peers,
        } = parts;
        let now = clock.now();
        let recovered = records::recover(recovered, membership.fingerprint, config.address);
        if recovered.unreadable > 0 {
            tracing::error!(
                records = recovered.unreadable,
                "records of the message store could not be read and are left out"
            );
        }
        let seq = match recovered.seqs {
            Seqs::Known(seqs) => seqs.start(recovered.lost, SEQ_BLOCK, SEQ_LEAP).min(SEQ_MAX + 1),
            _ if membership.fresh => 0,
            Seqs::OfAddress(found) => {
                return Err(EngineError::OtherAddress { found, own: config.address });
            }
            Seqs::OfOtherKey => return Err(EngineError::OtherKey),
            Seqs::Unknown => return Err(EngineError::NoSeqRecord),
        };
        if recovered.known_lost > 0 {
            tracing::error!(
                writes = recovered.known_lost,
                "the message store has lost what it wrote last: messages may be missing, or come again; check the disk"
            );
        }
        let id = match recovered.ids {
            Some(ids) => ids.start(recovered.lost, ID_BLOCK, 0),
            None if membership.fresh => 1,
            // The address may have had another disk: its numbers would be taken for repeats of those.
            None => 1 + Rng::stream(seed, "first message number").below(FIRST_IDS) as u32,
        };
        let start = Start { id, seq };
        let node_config = Config {
            address: config.address,
            keys: Keyring::new(EpochKeys::derive(&membership.key, membership.epoch)),
            seed,
            ttl,
            relay: true,
            seq_start: start.seq,
            seq_block: SEQ_BLOCK,
        };
        let mut node = Box::new(GatewayNode::new(now, node_config));
        node.restore_transfers(recovered.transfers_ahead);
        for mark in &recovered.marks {
            node.restore_mark(*mark);
        }
        for (destination, next_hop, cost) in &recovered.routes {
            if let Err(error) = node.set_route(now, *destination, *next_hop, *cost) {
                tracing::warn!(%destination, %next_hop, %error, "a route of before the restart is left out");
            }
        }
        let mut state = EngineState::new(now, config, Journal::new(store), recovered, start, peers);
        state.audit = audit;
        peering.want(state.peers.wanted());
        Ok(Self {
            node,
            bearer,
            clock,
            state,
            deadline: Some(now),
            bearer_gone: false,
            radio_up: false,
            reports: VecDeque::new(),
            frames_received: 0,
            watch: AirWatch::new(now),
            marks_at: now + MARKS_EVERY,
            hold: None,
            commands,
            doors,
            peering,
            airtime: Duration::ZERO,
            due: Vec::new(),
        })
    }

    /// Runs until `stop` says so or every session's way in is gone; then closes the store.
    ///
    /// # Errors
    /// [`StoreError`] when something promised is not on the disk.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), EngineError> {
        let mut progress = self.state.journal.progress();
        self.turn();
        while !*stop.borrow_and_update() {
            let deadline = self.deadline;
            let clock = self.clock.clone();
            let timer = async move {
                match deadline {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = stop.changed() => if changed.is_err() { break },
                Ok(()) = progress.changed() => {}
                // Before the bearer: see `Clock::sleep_until`.
                () = timer => {}
                event = self.bearer.next_event(), if !self.bearer_gone => self.bearer_event(event),
                command = self.commands.recv(), if self.state.takes_requests() => match command {
                    Some(command) => self.commands(command),
                    None => break,
                },
            }
            self.turn();
        }
        self.stop()
    }

    /// Says goodbye to the agents, writes what is to be kept.
    fn stop(mut self) -> Result<(), EngineError> {
        self.tick();
        self.state.close_sessions();
        self.state.keep_all();
        self.stage_marks();
        self.state.stage_used(self.node.next_seq());
        self.state.journal.stage(records::put_transfers(self.node.transfers_ahead()));
        // Sessions write their last words and then tell the engine that they are gone.
        let mut commands = self.commands;
        tokio::spawn(async move { while commands.recv().await.is_some() {} });
        self.state.audit.finish();
        Ok(self.state.journal.close()?)
    }

    fn tick(&mut self) {
        self.state.now = self.clock.now().max(self.state.now);
    }

    /// Handles this command and some of those behind it, so that many small ones share one drain and one sync.
    fn commands(&mut self, first: ToEngine) {
        self.tick();
        let mut next = Some(first);
        for left in (0..BATCHES).rev() {
            match next {
                Some(ToEngine::Attach { session, port, agent, passing, hello, holder }) => {
                    self.state.attach(session, port, (agent, passing), &hello, holder);
                }
                Some(ToEngine::Changed { session, holder }) => self.state.changed(session, holder),
                Some(ToEngine::Purge { tokens }) => self.state.purge(&tokens),
                Some(ToEngine::Requests { session, batch }) => {
                    batch.into_iter().for_each(|request| self.request(session, request));
                }
                Some(ToEngine::Room { session }) => self.state.room(session),
                Some(ToEngine::Detach { session }) => self.state.detach(session),
                None => return,
            }
            let more = left > 0 && self.state.takes_requests();
            next = if more { self.commands.try_recv().ok() } else { None };
        }
    }

    fn request(&mut self, session: SessionId, request: Request) {
        let Some(key) = self.state.agent_of(session) else { return };
        let answer = match request {
            Request::Send(send) => return self.state.send(session, key, send),
            Request::Ack(ack) => return self.state.ack(key, ack.cursor),
            Request::Credit(credit) => return self.state.credit(key, credit.n),
            Request::Subscribe(subscribe) => {
                return self.state.subscribe(session, key, subscribe);
            }
            Request::Unsubscribe(unsubscribe) => {
                return self.state.unsubscribe(session, key, unsubscribe);
            }
            // The session answers these two itself.
            Request::Hello(_) | Request::Bye(_) => return,
            Request::Ping(ask) => Event::Pong(Pong { reference: ask.reference }),
            Request::Status(ask) => Event::Status(Box::new(self.status(ask.reference))),
            Request::Peers(ask) => {
                Event::Peers(report::peers(&self.state, &self.node, &self.peering, ask.reference))
            }
            Request::Health(ask) => {
                let airtime =
                    Airtime { frames_sent: self.node.stats().frames_sent, sent_us: self.airtime.as_micros() };
                Event::Health(Box::new(report::deliveries(&self.state, &self.node, airtime, ask.reference)))
            }
            Request::LinkAdd(add) => {
                let (reference, name) = (add.reference, add.name);
                let done = if self.peering.is_possible() {
                    self.state.peers.add(add)
                } else {
                    let why = format!("cannot add the gateway {name}: this one has no sockets");
                    Err(Refusal::new(ErrorCode::NoNetwork, why)
                        .hint("add it on a gateway that runs by itself"))
                };
                return self.links_changed(session, reference, done);
            }
            Request::LinkRemove(remove) => {
                let done = self.state.peers.remove(remove.name);
                return self.links_changed(session, remove.reference, done);
            }
            Request::RouteAdd(add) => {
                let RouteAdd { reference, destination, next_hop, cost } = add;
                let now = self.state.now;
                if destination == next_hop {
                    let why = format!("cannot add the route to {destination}: it begins where it ends");
                    let refusal = Refusal::new(ErrorCode::BadRequest, why).field("next_hop");
                    let hint = "name a neighbour on the way; one that hears us well needs no route";
                    return self.routes_changed(session, reference, Err(refusal.hint(hint)));
                }
                let done = self.node.set_route(now, destination, next_hop, cost).map_err(|error| {
                    let code = match error {
                        RouteError::Full => ErrorCode::TooLarge,
                        _ => ErrorCode::BadRequest,
                    };
                    Refusal::new(code, format!("cannot add the route to {destination}: {error}"))
                        .hint("`mesh-gateway routes` and `mesh-gateway peers` show what there is")
                });
                return self.routes_changed(session, reference, done);
            }
            Request::RouteRemove(RouteRemove { reference, destination }) => {
                let done = self.node.remove_route(destination).then_some(()).ok_or_else(|| {
                    let why =
                        format!("cannot remove the route to {destination}: there is none by an operator");
                    Refusal::new(ErrorCode::BadRequest, why)
                        .hint("`mesh-gateway routes` lists them")
                        .field("destination")
                });
                return self.routes_changed(session, reference, done);
            }
            Request::AgentForget(forget) => return self.state.forget_agent(session, forget),
            Request::Routes(ask) => Event::Routes(report::routes(&self.state, &self.node, ask.reference)),
            Request::Agents(ask) => Event::Agents(report::agents(&self.state, ask.reference)),
        };
        // Behind the answers to what was asked before.
        self.state.promise(self.state.journal.is_busy(), After::Tell { session, event: answer });
    }

    /// The list of gateways to be connected with was changed, or not: it is told once it is kept.
    fn links_changed(&mut self, session: SessionId, reference: Option<u64>, done: Result<(), Refusal>) {
        if let Err(refusal) = done {
            return self.state.refuse(session, reference, refusal);
        }
        self.peering.want(self.state.peers.wanted());
        self.state.journal.stage(Op::PutMeta { key: records::PEERS, value: self.state.peers.record() });
        self.state.promise(true, After::Tell { session, event: Event::Done(Done { reference }) });
    }

    /// The operator's routes were changed, or not: it is told once they are kept.
    fn routes_changed(&mut self, session: SessionId, reference: Option<u64>, done: Result<(), Refusal>) {
        if let Err(refusal) = done {
            return self.state.refuse(session, reference, refusal);
        }
        let value = records::encode_routes(self.node.routes());
        self.state.journal.stage(Op::PutMeta { key: records::ROUTES, value });
        self.state.promise(true, After::Tell { session, event: Event::Done(Done { reference }) });
    }

    /// What the gateway says of itself.
    fn status(&mut self, reference: Option<u64>) -> Status {
        let adapter = self.bearer.health();
        let problems = report::problems(&self.state, &self.node, &self.peering, &self.watch, &adapter);
        report::status(
            &self.state,
            &self.node,
            &self.doors,
            &adapter,
            self.frames_received,
            problems,
            reference,
        )
    }

    fn bearer_event(&mut self, event: Result<BearerEvent, ble_bearer::BearerError>) {
        self.tick();
        let now = self.state.now;
        match event {
            Ok(BearerEvent::LinkUp { link, info }) => {
                if peering::is_connection(link) {
                    if self.state.peers.learn(self.peering.pins()) {
                        let value = self.state.peers.record();
                        self.state.journal.stage(Op::PutMeta { key: records::PEERS, value });
                    }
                } else {
                    // A slow host's gap changes all the time: that is no news.
                    let (bytes, gap_us) = (info.mtu, info.min_gap.as_micros());
                    if std::mem::replace(&mut self.radio_up, true) {
                        tracing::debug!(bytes, gap_us, "the radio's gap between frames has changed");
                    } else {
                        tracing::info!(bytes, gap_us, "the radio is up");
                    }
                    self.state.bearer_problem = None;
                }
                if !self.node.handle_link_up(now, link, info) {
                    tracing::warn!(link = link.0, "too many links: this one is not used");
                }
            }
            Ok(BearerEvent::LinkDown { link, why }) => {
                if !peering::is_connection(link) {
                    self.radio_up = false;
                    tracing::warn!(link = link.0, why, "link down");
                    self.state.bearer_problem = Some(format!("the radio is away: {why}; messages are kept"));
                }
                self.node.handle_link_down(link);
            }
            Ok(BearerEvent::Ready { link }) => self.node.link_ready(now, link),
            Ok(BearerEvent::Frame { link, mut bytes, rssi }) => {
                self.frames_received += 1;
                match self.node.handle_frame(now, link, &mut bytes, rssi) {
                    Ok(()) if !peering::is_connection(link) => self.watch.heard(now),
                    Ok(()) => {}
                    Err(why) => tracing::trace!(why = why.name(), "frame discarded"),
                }
            }
            Err(error) => {
                tracing::error!(%error, "the bearer failed");
                self.bearer_gone = true;
                self.state.bearer_problem = Some(error.to_string());
            }
        }
    }

    /// One full drain: promises that are due, timers, the node, the disk.
    fn turn(&mut self) {
        self.tick();
        let now = self.state.now;
        let failed = self.state.journal.failure().is_some();
        self.state.journal.due(&mut self.due);
        for promise in self.due.drain(..) {
            self.state.keep_promise(promise);
        }
        if failed && self.state.journal.failure().is_none() {
            self.state.keep_held();
            // Of what was shown meanwhile, nothing on the disk says that it was heard.
            self.stage_marks();
        }
        let broken = self.state.journal.broken();
        self.state.break_promises(broken);
        self.watch.look(now, self.node.neighbours(), &mut self.bearer);
        let taken = |src| {
            let near = self.node.neighbours().find(|near| near.address == src).map(|near| near.last_heard);
            let far = self.node.paths().find(|path| path.destination == src).map(|path| path.last_heard);
            near.max(far)
        };
        self.watch.count(now, self.node.refusals().map(|(src, count)| (src, count, taken(src))));
        self.state.timeout();
        self.state.doubt(self.node.unanswered());
        loop {
            self.mesh_commands();
            let (bearer, sent_for) = (&mut self.bearer, &mut self.airtime);
            let send = |link: LinkId, frame: &[u8], copies: u8| {
                if !peering::is_connection(link) {
                    *sent_for = *sent_for + airtime::of_frame(frame.len());
                }
                if bearer.try_send(link, frame, copies).is_err() {
                    tracing::debug!(link = link.0, "the bearer is full: a frame is lost");
                }
            };
            let node_deadline = self.node.drive(now, &mut Shell { state: &mut self.state, send });
            if self.state.mesh.is_empty() {
                self.deadline = [node_deadline, self.state.next_timeout()].into_iter().flatten().min();
                break;
            }
        }
        if now >= self.marks_at && self.state.journal.is_waiting() {
            self.marks_at = now + MARKS_EVERY;
            self.stage_marks();
        }
        self.state.journal.flush();
        if self.state.journal.has_broken() {
            self.deadline = Some(now);
        }
        match (self.state.journal.is_waiting(), self.hold.is_some()) {
            (true, false) => self.hold = Some(self.clock.hold()),
            (false, true) => self.hold = None,
            _ => {}
        }
    }

    fn stage_marks(&mut self) {
        let value = records::encode_marks(self.state.fingerprint, self.node.replay_marks());
        self.state.journal.stage(Op::PutMeta { key: records::REPLAY, value });
    }

    fn mesh_commands(&mut self) {
        for command in std::mem::take(&mut self.state.mesh) {
            match command {
                MeshCommand::Report { to, id, priority, verdict } => {
                    self.reports.push_back((to, id, priority, verdict));
                }
                MeshCommand::Announce { to, name } => self.node.announce(to, name),
                MeshCommand::Find { name, priority } => self.node.find_name(name, priority),
                MeshCommand::Join(group) => {
                    if !self.node.join_group(group) {
                        self.state.count("groups_refused");
                        tracing::warn!(%group, "too many groups: this one is heard from this gateway's own agents only");
                    }
                }
                MeshCommand::Leave(group) => self.node.leave_group(group),
                MeshCommand::SeqReserved(up_to) => self.node.seq_reserved(up_to),
                MeshCommand::Pump => {}
            }
        }
        while let Some(&(to, id, priority, verdict)) = self.reports.front() {
            if !self.node.report(to, id, priority, verdict) {
                break;
            }
            self.reports.pop_front();
        }
        self.pump();
    }

    /// Gives the node what it has room for. What nobody has answered for long makes room for what waits.
    fn pump(&mut self) {
        let now = self.state.now;
        loop {
            let next = if self.node.has_room() { self.state.outgoing.dequeue() } else { None };
            let Some((dequeued, envelope)) = next else {
                let silent = self.node.unanswered().next();
                match silent.filter(|_| self.state.outgoing.is_crowded()) {
                    Some(id) => {
                        self.node.cancel(id);
                        self.state.outgoing.defer(id);
                        self.state.count("messages_set_aside");
                        continue;
                    }
                    None => return,
                }
            };
            let delivery = mesh_protocol::Delivery {
                id: dequeued.id,
                destination: dequeued.destination,
                priority: dequeued.priority,
                deadline: dequeued.deadline,
            };
            let first = self.node.first_part_len(delivery.destination, delivery.priority, envelope.len());
            let first = &envelope[..first.min(envelope.len())];
            match self.node.send(now, delivery, envelope.len(), first) {
                Ok(()) => {}
                Err(SendError::OutboxFull | SendError::IdInUse) => {
                    return self.state.outgoing.requeue(dequeued.id, dequeued.destination);
                }
                Err(error) => self.state.unsendable(dequeued.id, &error.to_string()),
            }
        }
    }
}
