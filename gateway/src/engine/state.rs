//! Everything behind the engine's loop: agents, messages under way, names, and the journal that makes them last.
//!
//! Owns the meaning of requests and the node's events, as plain functions of (input, time). Knows no sockets and no bearer;
//! what the node is to do is left in `commands`, for the loop to carry out.

use std::collections::BTreeMap;

use mesh_agent::api::Name;
use mesh_protocol::{Address, Duration, Instant, NameHash, SEQ_FIRST_BLOCK};

use super::accounts::Accounts;
use super::contexts::ReceiverContexts;
use super::counts::Counts;
use super::directory::Directory;
use super::inbox::{Agent, Held};
use super::incoming::Incoming;
use super::journal::Journal;
use super::node_commands::NodeCommands;
use super::numbers::{FIRST_ID_BLOCK, ID_BLOCK, Numbers, Reservations, SEQ_BLOCK};
use super::outgoing::Outgoing;
use super::receipt_requests::ReceiptRequests;
use super::recent::Recent;
use super::records::{self, Seqs};
use crate::access::Audit;
use crate::agents::SessionId;
use crate::store::{AgentKey, Op};

/// Agents announced at once, and how often one more: names beyond it are found when they are asked for. Guesses.
pub(super) const ANNOUNCE_BURST: u32 = 8;
pub(super) const ANNOUNCE_EVERY: Duration = Duration::from_secs(2);
/// So long it is said that an agent is connected twice, after that was heard. A guess: the other does not say when it leaves.
pub(super) const NAMESAKE_NEWS: Duration = Duration::from_secs(600);
/// Bytes that may wait for the disk before durable messages are refused. A guess: a second of a slow SD card.
pub(super) const UNWRITTEN_BYTES: u64 = 16 * 1024 * 1024;
/// What a gateway is told of itself and its bounds.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The gateway's name.
    pub name: String,
    /// Its address in the mesh.
    pub address: Address,
    /// What it sends and receives with, as the user named it.
    pub adapter: String,
    /// When a message expires whose sender names no deadline.
    pub default_deadline: Duration,
    /// The most agents known.
    pub max_agents: usize,
    /// The most messages sent to one session ahead of its answers.
    pub max_credits: u32,
    /// The most events that wait for one agent.
    pub inbox_messages: usize,
    /// The most bytes that wait for one agent.
    pub inbox_bytes: usize,
    /// The most bytes that wait for all agents together.
    pub inbox_total_bytes: usize,
}

impl EngineConfig {
    /// The name under which the gateway itself is an agent.
    #[must_use]
    pub fn agent_name(&self) -> Name {
        Name::new(&self.name).unwrap_or_else(|_| Name::new("gateway").expect("seven letters are a name"))
    }
}

/// The first numbers of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) id: u32,
    pub(super) seq: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct EngineState {
    pub(super) config: EngineConfig,
    pub(super) now: Instant,
    pub(super) journal: Journal,
    pub(super) commands: NodeCommands,
    pub(super) agents: BTreeMap<AgentKey, Agent>,
    /// Bytes in all inboxes together.
    pub(super) held: Held,
    pub(super) by_name: BTreeMap<Name, AgentKey>,
    pub(super) by_hash: BTreeMap<NameHash, AgentKey>,
    /// Ordered: they are told of the gateway's end one after the other.
    pub(super) sessions: BTreeMap<SessionId, AgentKey>,
    /// How many agents are in each group, by the group's address.
    pub(super) members: BTreeMap<Address, usize>,
    pub(super) next_agent: u32,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    /// What sources said once, to refer to it.
    pub(super) contexts: ReceiverContexts,
    pub(super) directory: Directory,
    /// Agents that are connected here and were heard of from another node, and when. None is absent.
    pub(super) namesakes: BTreeMap<Name, (Address, Instant)>,
    pub(super) receipt_requests: ReceiptRequests,
    pub(super) recent: Recent,
    pub(super) next_id: u32,
    pub(super) ids_reserved: u32,
    /// Below this they are reserved or asked for.
    pub(super) ids_asked: u32,
    pub(super) ids: Reservations,
    pub(super) seqs: Reservations,
    pub(super) announced: u32,
    pub(super) announce_at: Instant,
    pub(super) fingerprint: [u8; 8],
    pub(super) counts: Counts,
    pub(super) audit: Audit,
    /// What waits of the messages that came with each token.
    pub(super) accounts: Accounts,
}

impl EngineState {
    pub(super) fn new(
        now: Instant,
        config: EngineConfig,
        journal: Journal,
        recovered: records::Recovered,
        start: Start,
    ) -> Self {
        let ids = recovered.ids.unwrap_or(Numbers { unused_from: start.id, next_block: FIRST_ID_BLOCK });
        let seqs = match recovered.seqs {
            Seqs::Known(seqs) => seqs,
            _ => Numbers { unused_from: start.seq, next_block: SEQ_FIRST_BLOCK },
        };
        let mut state = Self {
            config,
            now,
            journal,
            commands: NodeCommands::default(),
            agents: BTreeMap::new(),
            held: Held::default(),
            by_name: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            sessions: BTreeMap::new(),
            members: BTreeMap::new(),
            next_agent: 0,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            contexts: ReceiverContexts::recovered(recovered.contexts),
            directory: Directory::default(),
            namesakes: BTreeMap::new(),
            receipt_requests: ReceiptRequests::default(),
            recent: Recent::default(),
            next_id: start.id,
            ids_reserved: start.id,
            ids_asked: start.id,
            ids: Reservations::new(ids, FIRST_ID_BLOCK, ID_BLOCK),
            seqs: Reservations::new(seqs, SEQ_FIRST_BLOCK, SEQ_BLOCK),
            announced: 0,
            announce_at: now,
            fingerprint: recovered.fingerprint,
            counts: Counts::default(),
            audit: Audit::off(),
            accounts: recovered.accounts,
        };
        for agent in recovered.agents {
            state.next_agent = state.next_agent.max(agent.key.0.wrapping_add(1));
            for group in agent.groups.keys() {
                state.join(group);
            }
            state.index(agent);
        }
        for (source, id) in recovered.floors {
            state.incoming.restore_floor(source, id);
        }
        for (source, id) in recovered.delivered {
            for id in state.incoming.remember(source, id, true) {
                state.journal.stage(Op::DeleteDelivered { source, id });
            }
        }
        for (source, id) in recovered.stale {
            state.journal.stage(Op::DeleteDelivered { source, id });
        }
        for (source, context) in recovered.stale_contexts {
            state.journal.stage(Op::DeleteContext { source, context });
        }
        for (id, delivered) in recovered.waiting {
            if state.by_name.contains_key(&delivered.from) {
                state.receipt_requests.insert(now, id, delivered, true);
            } else {
                // It was a session's own, which the power ended.
                state.journal.stage(Op::DeleteOutbox { id });
            }
        }
        for (id, accepted) in recovered.outbox {
            let deadline = now + Duration::from_millis(accepted.deadline_ms.into());
            let charge = state.accounts.charge(accepted.token, accepted.body.len());
            state.outgoing.insert(id, accepted, charge, deadline, true);
            state.launch(id);
        }
        state.reserve_ids();
        state
    }

    pub(super) fn index(&mut self, mut agent: Agent) {
        agent.count_into(&self.held);
        self.by_name.insert(agent.name, agent.key);
        // Who asks the mesh for a name cannot mean one that nobody chose.
        if !agent.is_passing() {
            self.by_hash.insert(NameHash::of(agent.name.as_str()), agent.key);
        }
        self.agents.insert(agent.key, agent);
    }

    pub(super) fn is_connected(&self, key: AgentKey) -> bool {
        self.agents.get(&key).is_some_and(Agent::is_connected)
    }

    /// Where an agent of this name is: here, unless it is away from here and was last heard of elsewhere.
    pub(super) fn is_here(&self, name: Name) -> Option<AgentKey> {
        let key = *self.by_name.get(&name)?;
        // Most are connected, and need no hash of their name for each message.
        let elsewhere = || self.directory.find(NameHash::of(name.as_str())).is_some();
        (self.is_connected(key) || !elsewhere()).then_some(key)
    }
}

/// Whether an agent wants messages of this type from a group.
pub(super) fn wants(agent: &Agent, group: &Name, kind: mesh_protocol::MessageType) -> bool {
    match agent.groups.get(group) {
        None => false,
        Some(None) => true,
        Some(Some(types)) => types.contains(&kind),
    }
}
