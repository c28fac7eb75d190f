//! The changes of the durable record.

use mesh_protocol::{Address, ContextId, MessageId};

/// The number by which the store knows an agent; the engine gives it, once for each name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentKey(pub u32);

/// One change of the durable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Keeps or replaces a message that this gateway has accepted for the mesh.
    PutOutbox {
        /// The message.
        id: MessageId,
        /// The engine's encoding.
        record: Vec<u8>,
    },
    /// Forgets a message of the outbox.
    DeleteOutbox {
        /// The message.
        id: MessageId,
    },
    /// Keeps or replaces a message that waits for a local agent.
    PutInbox {
        /// Whose inbox.
        agent: AgentKey,
        /// The message's place in it.
        cursor: u64,
        /// The engine's encoding.
        record: Vec<u8>,
    },
    /// Forgets one message of an inbox.
    DeleteInbox {
        /// Whose inbox.
        agent: AgentKey,
        /// Its place in it.
        cursor: u64,
    },
    /// Forgets all of an inbox up to this place and including it.
    DeleteInboxThrough {
        /// Whose inbox.
        agent: AgentKey,
        /// The last place to forget.
        cursor: u64,
    },
    /// Keeps or replaces what is known of an agent.
    PutAgent {
        /// Which agent.
        agent: AgentKey,
        /// The engine's encoding.
        record: Vec<u8>,
    },
    /// Keeps or replaces one of the keys of an agent's messages.
    PutKey {
        /// Which agent.
        agent: AgentKey,
        /// The key's place among the agent's.
        row: u16,
        /// The engine's encoding.
        record: Vec<u8>,
    },
    /// Forgets one of the keys of an agent's messages.
    DeleteKey {
        /// Which agent.
        agent: AgentKey,
        /// The key's place among the agent's.
        row: u16,
    },
    /// Forgets an agent, its whole inbox and its keys.
    DeleteAgent {
        /// Which agent.
        agent: AgentKey,
    },
    /// Remembers that a message was delivered, so that a repeat is known as one.
    PutDelivered {
        /// The node that sent it.
        source: Address,
        /// The number it gave to it.
        id: MessageId,
        /// The engine's encoding.
        record: Vec<u8>,
    },
    /// Forgets a delivered message.
    DeleteDelivered {
        /// The node that sent it.
        source: Address,
        /// The number it gave to it.
        id: MessageId,
    },
    /// Keeps or replaces what a source said once, to refer to it.
    PutContext {
        /// The node that said it.
        source: Address,
        /// The number it gave to it.
        context: ContextId,
        /// The engine's encoding.
        record: Vec<u8>,
    },
    /// Forgets what a source said once.
    DeleteContext {
        /// The node that said it.
        source: Address,
        /// The number it gave to it.
        context: ContextId,
    },
    /// Keeps or replaces one of the engine's own values.
    PutMeta {
        /// The value's name.
        key: &'static str,
        /// The engine's encoding.
        value: Vec<u8>,
    },
}

impl Op {
    /// About how many bytes of memory it holds while it waits.
    pub(crate) fn size(&self) -> usize {
        let record = match self {
            Self::PutOutbox { record, .. }
            | Self::PutInbox { record, .. }
            | Self::PutAgent { record, .. }
            | Self::PutKey { record, .. }
            | Self::PutDelivered { record, .. }
            | Self::PutContext { record, .. }
            | Self::PutMeta { value: record, .. } => record.len(),
            Self::DeleteOutbox { .. }
            | Self::DeleteInbox { .. }
            | Self::DeleteInboxThrough { .. }
            | Self::DeleteKey { .. }
            | Self::DeleteAgent { .. }
            | Self::DeleteDelivered { .. }
            | Self::DeleteContext { .. } => 0,
        };
        size_of::<Self>() + record
    }
}
