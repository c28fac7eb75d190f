//! The engine: the one task that owns the node and the bearer.
//!
//! Owns the loop: bearer, agents, timer, disk, shutdown, and a full drain of the node behind each. What inputs mean is
//! in the files beside it; agents' sockets are in [`crate::agents`].
//!
//! # The files
//! - Inputs, one arm each: `requests` (of agents), `node_events` (of the node), `air` (of the bearer), `timers` (of the clock).
//! - A message of a local agent: `admission` checks it and `acceptance` takes it; `outgoing` holds it on its way into the mesh, one
//!   message in `outbound`, those that wait for the node in `queues` and `lanes`; `completion` ends it, and `receipt_requests` waits
//!   for *processed*.
//! - A message from the mesh: `incoming` puts it together, `contexts` supplies what it refers to, `reception` checks and takes it.
//! - Both: `deliver` puts it into an inbox (`inbox`, `item`); `recent` knows who may answer it, `keys` whether it was sent before.
//! - Agents: `registry` has them all, `agent` is one; `sessions`, `groups`, `inbox_requests`, `forgetting`. Other nodes' agents:
//!   `directory`, `names`.
//! - What lasts: `journal` is what has to be on disk, `promises` what may be said behind it; `numbers` and `blocks` reserve numbers;
//!   `records`, `accepted` and `encoding` are the bytes; `start` begins from them, in the network of `membership`.
//! - Receivers that are away: `handover` has another gateway keep a message, `keepers` finds out which; `keeping` keeps those of others,
//!   within the bounds of `kept`; `leaving` and `resting` leave both alone meanwhile, `carriage` is what the disk keeps of it.
//! - What is known of ways: `timelines` has the stories of messages, `probes` who waits for nodes; `questions` answers.
//! - What is counted and reported: `counts`, `report`, `problems`, `refusals`, `air_watch`; what is charged to whom: `accounts`,
//!   `outbox_usage`. Gateways over IP: `peers`. What the node is to do: `node_commands`.

mod acceptance;
mod accepted;
mod accounts;
mod admission;
mod agent;
mod air;
mod air_watch;
mod blocks;
mod carriage;
mod completion;
mod contexts;
mod counts;
#[cfg(test)]
mod damage_tests;
mod deliver;
mod directory;
mod encoding;
mod forgetting;
mod groups;
mod handover;
mod inbox;
mod inbox_requests;
mod incoming;
mod item;
mod journal;
mod keepers;
mod keeping;
mod kept;
mod keys;
mod lanes;
mod leaving;
mod membership;
mod names;
mod node_commands;
mod node_events;
mod numbers;
mod outbound;
mod outbox_usage;
mod outgoing;
mod peers;
mod probes;
mod problems;
mod promises;
mod questions;
mod queues;
mod receipt_requests;
mod recent;
mod reception;
mod records;
mod refusals;
mod registry;
mod report;
mod requests;
mod resting;
mod sessions;
mod start;
mod state;
#[cfg(test)]
mod state_tests;
mod timelines;
mod timers;

use std::sync::Arc;

use ble_bearer::{Bearer, Clock};
use mesh_protocol::{Address, Duration, GatewayNode, Instant};
use tokio::sync::{mpsc, watch};

use crate::agents::{Counters, ToEngine};
use crate::peering::Peering;
use crate::store::Op;
use air::Air;
use air_watch::AirWatch;
use journal::After;
use peers::PeerBook;
use state::EngineState;

pub use membership::{Membership, fingerprint};
pub use records::fresh_seq;
pub use start::{EngineError, Parts};
pub use state::EngineConfig;

/// Replay marks of all sources go to disk at most this often, with other writes. That of a source whose message is delivered
/// goes with the message; a restarted gateway takes again at most what was no message.
const MARKS_EVERY: Duration = Duration::from_secs(60);
/// Batches of agents' requests handled before the node gets its turn.
const BATCHES: usize = 32;

/// The engine of one gateway over one bearer.
#[derive(Debug)]
pub struct Engine<B, C: Clock> {
    node: Box<GatewayNode>,
    bearer: B,
    clock: C,
    state: EngineState,
    started: Instant,
    deadline: Option<Instant>,
    air: Air,
    watch: AirWatch,
    /// Of the network's key, which replay marks belong to.
    fingerprint: [u8; 8],
    marks_at: Instant,
    /// Keeps a simulated clock still while the disk is waited for.
    hold: Option<C::Hold>,
    commands: mpsc::Receiver<ToEngine>,
    transport_counters: Arc<Counters>,
    peering: Peering,
    /// Gateways to be connected with.
    peers: PeerBook,
    due: Vec<After>,
}

impl<B: Bearer, C: Clock> Engine<B, C> {
    /// Runs until `stop` says so or nobody can send requests any more; then closes the store.
    ///
    /// # Errors
    /// [`EngineError::Store`] when something promised is not on the disk.
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
                // In this order, so that a run with simulated time is the same every time.
                biased;
                changed = stop.changed() => if changed.is_err() { break },
                Ok(()) = progress.changed() => {}
                // Before the bearer: see `Clock::sleep_until`.
                () = timer => {}
                event = self.bearer.next_event(), if !self.air.is_gone() => self.bearer_event(event),
                // What is not taken waits in the channel, and behind it the sockets: so a slow disk slows the senders.
                command = self.commands.recv(), if self.state.takes_requests() => match command {
                    Some(command) => self.commands(command),
                    None => break,
                },
            }
            self.turn();
        }
        self.stop()
    }

    fn tick(&mut self) {
        // Never backwards: what has been said of a deadline stays so.
        self.state.now = self.clock.now().max(self.state.now);
    }

    /// One full drain: promises that are due, timers, the node, the disk.
    fn turn(&mut self) {
        self.tick();
        let now = self.state.now;
        self.promises();
        self.look_at_the_air(now);
        self.state.timeout();
        self.state.doubt(self.node.unanswered());
        self.mind_the_silent();
        self.drain_node(now);
        // With other writes only: marks are not worth a sync of their own.
        if now >= self.marks_at && self.state.journal.is_waiting() {
            self.marks_at = now + MARKS_EVERY;
            self.stage_marks();
        }
        // Last, so that all this input changed is in one transaction: a power cut leaves all or nothing of it.
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

    /// Keeps those whose sync is done, and breaks those that the store's failure has made void.
    fn promises(&mut self) {
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
    }

    fn look_at_the_air(&mut self, now: Instant) {
        self.watch.look(now, self.node.neighbours(), &mut self.bearer);
        self.watch
            .count(now, self.node.refusals().map(|(src, count)| (src, count, last_heard(&self.node, src))));
    }

    fn stage_marks(&mut self) {
        let value = records::encode_marks(self.fingerprint, self.node.replay_marks());
        self.state.journal.stage(Op::PutMeta { key: records::REPLAY, value });
    }

    /// Says goodbye to the agents, writes what is to be kept.
    fn stop(mut self) -> Result<(), EngineError> {
        self.tick();
        self.state.close_sessions();
        self.state.keep_all();
        self.stage_marks();
        self.state.numbers.stage_used(self.node.next_seq(), &mut self.state.journal);
        self.state.journal.stage(records::put_transfers(self.node.transfers_ahead()));
        // Sessions write their last words and then tell the engine that they are gone.
        let mut commands = self.commands;
        tokio::spawn(async move { while commands.recv().await.is_some() {} });
        self.state.audit.finish();
        Ok(self.state.journal.close()?)
    }
}

/// When `node` last took a frame of `src`, from near or from afar.
fn last_heard(node: &GatewayNode, src: Address) -> Option<Instant> {
    let near = node.neighbours().find(|near| near.address == src).map(|near| near.last_heard);
    let far = node.paths().find(|path| path.destination == src).map(|path| path.last_heard);
    near.max(far)
}
