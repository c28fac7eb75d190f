//! What has to be on disk, and what may happen only once it is.
//!
//! Owns the order: ops are staged while one input is handled, submitted together, and whatever was promised behind
//! them ([`After`]) is released when the store has synced them. Knows nothing of what the ops mean.

use std::collections::VecDeque;

use mesh_agent::api::Event;
use mesh_protocol::{Address, MessageId, MessageRef, Priority, Verdict};
use tokio::sync::watch;

use super::keys::First;
use crate::agents::SessionId;
use crate::store::{AgentKey, Op, Progress, Stats, Store, StoreError, Ticket};

/// Something that may happen only when everything staged before it is synced.
#[derive(Debug)]
pub(super) enum After {
    /// Tell a session that its message is accepted; `at_us` is filled in then.
    Accepted { session: SessionId, agent: AgentKey, reference: Option<u64>, id: MessageId },
    /// Tell a session that a message it has sent again is accepted, and was.
    Again { session: SessionId, agent: AgentKey, reference: Option<u64>, key: u64, first: First },
    /// Tell a session something.
    Tell { session: SessionId, event: Event },
    /// Show an agent what its inbox holds up to this cursor.
    Show(AgentKey, u64),
    /// Show an agent items in memory under cursors below this one.
    CursorsReserved(AgentKey, u64),
    /// Start a message on its way through the mesh.
    Launch(MessageId),
    /// Tell a node what became of what it sent, and know from now on that this message came.
    Report { to: Address, id: MessageId, priority: Priority, verdict: Verdict, message: MessageRef },
    /// Tell a node that this message of its is kept here, and start it on its way under this number.
    Kept { of: MessageRef, id: MessageId, priority: Priority },
    /// Use SEQs below this one.
    SeqReserved(u32),
    /// Use message numbers below this one.
    IdsReserved(u32),
    /// Let go of a session that has ended: what was promised to it has been said.
    Detach(SessionId),
}

impl After {
    /// Whether nobody waits for it: as long as the store fails it is kept, and it holds once the store writes again.
    const fn can_wait(&self) -> bool {
        matches!(
            self,
            Self::SeqReserved(_) | Self::IdsReserved(_) | Self::CursorsReserved(..) | Self::Show(..)
        )
    }
}

/// Staged changes, and promises behind submitted ones.
#[derive(Debug)]
pub(super) struct Journal {
    store: Store,
    /// How many writes of earlier runs it has lost.
    lost: u64,
    progress: watch::Receiver<Progress>,
    ops: Vec<Op>,
    /// About how many bytes the staged ones hold.
    staged: u64,
    promises: Vec<After>,
    waiting: VecDeque<(Ticket, Vec<After>)>,
    failed: Option<StoreError>,
    /// Promises that cannot be kept any more.
    broken: Vec<After>,
}

impl Journal {
    pub(super) fn new(store: Store, lost: u64) -> Self {
        let progress = store.progress();
        Self {
            store,
            lost,
            progress,
            ops: Vec::new(),
            staged: 0,
            promises: Vec::new(),
            waiting: VecDeque::new(),
            failed: None,
            broken: Vec::new(),
        }
    }

    /// Adds a change to what is submitted next.
    pub(super) fn stage(&mut self, op: Op) {
        self.staged += op.size() as u64;
        self.ops.push(op);
    }

    /// Promises something behind everything staged so far.
    pub(super) fn after(&mut self, after: After) {
        self.promises.push(after);
    }

    /// Submits what is staged. While the store does not write, it waits there, and with it what takes back what was promised
    /// needlessly: once that is complete, the store may try again.
    pub(super) fn flush(&mut self) {
        // Promises without changes get a ticket too: they are behind all that was submitted before them.
        if !self.ops.is_empty() || !self.promises.is_empty() {
            self.staged = 0;
            let ticket = self.store.submit(std::mem::take(&mut self.ops));
            let promises = std::mem::take(&mut self.promises);
            if self.failed.is_some() {
                self.give_up(ticket, promises);
            } else if !promises.is_empty() {
                self.waiting.push_back((ticket, promises));
            }
        }
        // With promises still to be broken, the store would write what their breaking is about to take back.
        if self.failed.is_some() && self.broken.is_empty() {
            self.store.resume();
        }
    }

    /// Whether anything is staged or waits for the disk.
    pub(super) fn is_busy(&self) -> bool {
        !self.promises.is_empty() || self.is_waiting()
    }

    /// Whether promises wait for the disk.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() && self.failed.is_none()
    }

    /// Waits for the store to get on. Cancel safe.
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// The promises that are due now, in order.
    pub(super) fn due(&mut self, due: &mut Vec<After>) {
        let Progress { through, failed } = self.progress.borrow_and_update().clone();
        // Before the failure is looked at: what was synced before it is kept.
        while self.waiting.front().is_some_and(|(ticket, _)| *ticket <= through) {
            if let Some((_, promises)) = self.waiting.pop_front() {
                due.extend(promises);
            }
        }
        match (&self.failed, failed) {
            (None, Some(error)) => self.fail(error),
            (Some(_), None) => {
                tracing::info!("the message store is written again; durable messages are accepted");
                self.failed = None;
            }
            // It fails again, perhaps for another reason: the latest is the one to show.
            (_, failed) => self.failed = failed,
        }
    }

    /// Promises that the store's failure has broken, and that nobody has been told of yet.
    pub(super) fn broken(&mut self) -> Vec<After> {
        std::mem::take(&mut self.broken)
    }

    /// Whether there are such.
    pub(super) fn has_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Why nothing can be made durable at present, if that is so.
    pub(super) const fn failure(&self) -> Option<&StoreError> {
        self.failed.as_ref()
    }

    /// About how many bytes are staged or wait for the disk.
    pub(super) fn unwritten_bytes(&self) -> u64 {
        self.staged + self.store.stats().waiting_bytes
    }

    /// How many writes of earlier runs the store has lost.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn stats(&self) -> Stats {
        self.store.stats()
    }

    /// Writes what is staged and closes the store.
    pub(super) fn close(mut self) -> Result<(), StoreError> {
        self.flush();
        self.store.close()
    }

    fn fail(&mut self, error: StoreError) {
        tracing::error!(%error, "durable messages are refused until the message store can be written");
        self.failed = Some(error);
        // All of them, also behind writes that were not tried: the store writes in order, and these cannot come before those.
        for (ticket, promises) in std::mem::take(&mut self.waiting) {
            self.give_up(ticket, promises);
        }
    }

    /// Breaks promises that somebody waits for. The others are kept for when the store writes again.
    fn give_up(&mut self, ticket: Ticket, promises: Vec<After>) {
        let (later, broken): (Vec<_>, Vec<_>) = promises.into_iter().partition(After::can_wait);
        for promise in &later {
            // Of what was to be shown, some is refused now, and some needs no disk.
            if let After::Show(agent, up_to) | After::CursorsReserved(agent, up_to) = *promise {
                self.broken.push(After::Show(agent, up_to));
            }
        }
        if !later.is_empty() {
            self.waiting.push_back((ticket, later));
        }
        self.broken.extend(broken);
    }
}
