//! Everything behind the engine's loop: agents, messages under way, names, and the journal that makes them last.
//!
//! Owns the meaning of requests and the node's events, as plain functions of (input, time). Knows no sockets and no bearer;
//! what the node is to do is left in `commands`, for the loop to carry out.

use mesh_agent::api::{Name, StepKind};
use mesh_protocol::{Address, Duration, Instant, MessageId};

use super::accepted::Accepted;
use super::accounts::Accounts;
use super::contexts::ReceiverContexts;
use super::counts::Counts;
use super::directory::Directory;
use super::inbox::InboxBound;
use super::incoming::Incoming;
use super::journal::Journal;
use super::keepers::Keepers;
use super::kept::Kept;
use super::node_commands::NodeCommands;
use super::numbers::{NumberSource, Start};
use super::outgoing::Outgoing;
use super::probes::Probes;
use super::receipt_requests::{Delivered, ReceiptRequests};
use super::records;
use super::registry::Registry;
use super::timelines::Timelines;
use crate::access::Audit;
use crate::store::Op;

/// What a gateway is to know of itself, and its bounds.
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

/// See the module.
#[derive(Debug)]
pub(super) struct EngineState {
    pub(super) config: EngineConfig,
    pub(super) now: Instant,
    pub(super) journal: Journal,
    /// What the node is to do.
    pub(super) commands: NodeCommands,
    /// Agents of this gateway.
    pub(super) registry: Registry,
    /// Agents of other nodes.
    pub(super) directory: Directory,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    /// Contexts that other nodes have defined here: their later messages refer to them.
    pub(super) contexts: ReceiverContexts,
    pub(super) receipt_requests: ReceiptRequests,
    pub(super) numbers: NumberSource,
    pub(super) counts: Counts,
    /// What happened to the last messages.
    pub(super) timelines: Timelines,
    /// How many other nodes were known when it was last counted who has a message to many; `None` until the node is asked.
    pub(super) known_nodes: Option<u16>,
    /// Questions to nodes.
    pub(super) probes: Probes,
    /// Who keeps messages for nodes that are away.
    pub(super) keepers: Keepers,
    /// Messages of other gateways that are kept here.
    pub(super) kept: Kept,
    /// What waits of the messages that came with each token.
    pub(super) accounts: Accounts,
    pub(super) audit: Audit,
}

impl EngineState {
    pub(super) fn new(
        now: Instant,
        config: EngineConfig,
        journal: Journal,
        recovered: records::Recovered,
        start: Start,
    ) -> Self {
        let bound = InboxBound {
            messages: config.inbox_messages,
            bytes: config.inbox_bytes,
            total_bytes: config.inbox_total_bytes,
        };
        let mut state = Self {
            numbers: NumberSource::new(recovered.fingerprint, config.address, start),
            config,
            now,
            journal,
            commands: NodeCommands::default(),
            registry: Registry::new(bound),
            directory: Directory::default(),
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            contexts: ReceiverContexts::recovered(recovered.contexts),
            receipt_requests: ReceiptRequests::default(),
            counts: Counts::default(),
            timelines: Timelines::default(),
            known_nodes: None,
            probes: Probes::default(),
            keepers: Keepers::default(),
            kept: Kept::default(),
            accounts: recovered.accounts,
            audit: Audit::off(),
        };
        for agent in recovered.agents {
            for group in state.registry.insert(agent) {
                state.commands.join(group);
            }
        }
        state.recover_deliveries(recovered.floors, recovered.delivered, recovered.stale);
        for (source, context) in recovered.stale_contexts {
            state.journal.stage(Op::DeleteContext { source, context });
        }
        state.recover_outbox(recovered.waiting, recovered.outbox);
        state.numbers.reserve_ids(&mut state.journal);
        state
    }

    /// Goes on with the windows of delivered messages.
    fn recover_deliveries(
        &mut self,
        floors: Vec<(Address, MessageId)>,
        delivered: Vec<(Address, MessageId)>,
        stale: Vec<(Address, MessageId)>,
    ) {
        // First: a number below the floor is old, and without one it might be of another life of its source.
        for (source, id) in floors {
            self.incoming.restore_floor(source, id);
        }
        for (source, id) in delivered {
            for id in self.incoming.remember(source, id, true) {
                self.journal.stage(Op::DeleteDelivered { source, id });
            }
        }
        for (source, id) in stale {
            self.journal.stage(Op::DeleteDelivered { source, id });
        }
    }

    /// Goes on with messages that were under way, and with those whose senders wait for an ack.
    fn recover_outbox(&mut self, waiting: Vec<(MessageId, Delivered)>, outbox: Vec<(MessageId, Accepted)>) {
        for (id, delivered) in waiting {
            if self.registry.key_of(delivered.from).is_some() {
                self.receipt_requests.insert(self.now, id, delivered, true);
            } else {
                // It was a session's own, which the power ended.
                self.journal.stage(Op::DeleteOutbox { id });
            }
        }
        for (id, accepted) in outbox {
            // Nobody knows how long the gateway was off: it has its whole deadline again.
            let deadline = self.now + Duration::from_millis(accepted.deadline_ms.into());
            let charge = self.accounts.charge(accepted.token, accepted.body.len());
            self.outgoing.insert(id, accepted, charge, deadline, true);
            self.timelines.begin(self.now, id, StepKind::Recovered);
            self.go_on(id);
        }
    }
}
