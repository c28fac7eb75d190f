//! What has come for the application: what it has not read, what it has not handled, and the credits that cost.
//!
//! Owns cursors across sessions: what the gateway shows again after a reconnect is not given out twice.

use std::collections::{BTreeSet, VecDeque};

use crate::Incoming;
use crate::api::{Ack, Credit, Welcome};

/// How many handled events are acknowledged together while more are waiting. A guess.
const ACK_EVERY: u32 = 32;

/// See the module. It holds as many messages as the gateway has credits for.
#[derive(Debug)]
pub(crate) struct Mail {
    /// What the application has not yet taken.
    unread: VecDeque<Incoming>,
    /// Cursors that the application has yet to handle.
    open: BTreeSet<u64>,
    /// The highest cursor seen.
    highest: u64,
    acknowledged: u64,
    handled_since_ack: u32,
    /// The credits of the session, and how many of them can be given back.
    credits: u32,
    spent: u32,
    /// No credits are given back while it is not known what became of messages that were sent again: an answer to one
    /// would come before its number is known.
    held: bool,
    /// Raised when the gateway has forgotten the inbox, and its cursors begin at 1 again.
    generation: u32,
}

impl Mail {
    pub(crate) fn new(welcome: &Welcome) -> Self {
        Self {
            unread: VecDeque::new(),
            open: BTreeSet::new(),
            highest: welcome.resumed_from,
            acknowledged: welcome.resumed_from,
            handled_since_ack: 0,
            credits: welcome.credits,
            spent: 0,
            held: false,
            generation: 0,
        }
    }

    /// Whether this has not come before.
    pub(crate) fn is_new(&self, cursor: Option<u64>) -> bool {
        cursor.is_none_or(|cursor| cursor > self.highest)
    }

    /// Keeps something for the application.
    pub(crate) fn put(&mut self, incoming: Incoming) {
        if let Some(cursor) = incoming.cursor() {
            self.highest = self.highest.max(cursor);
            self.open.insert(cursor);
        }
        self.unread.push_back(incoming);
    }

    /// Something came and went to whoever waits for it: it counts as handled, and the inbox never shows it.
    pub(crate) fn passed(&mut self, cursor: Option<u64>) {
        if let Some(cursor) = cursor {
            self.highest = self.highest.max(cursor);
            self.handled_since_ack += 1;
        }
    }

    /// A message has left the place that its credit stands for.
    pub(crate) fn spend(&mut self) {
        self.spent = self.spent.saturating_add(1);
    }

    /// The next thing to read.
    pub(crate) fn take(&mut self) -> Option<Incoming> {
        let incoming = self.unread.pop_front();
        if matches!(incoming, Some(Incoming::Message(_))) {
            self.spend();
        }
        incoming
    }

    /// Which generation of cursors is given out now.
    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    /// The application has handled this cursor. The acknowledgement to send, if it is time for one.
    pub(crate) fn handled(&mut self, cursor: u64) -> Option<Ack> {
        // Handled before, or of a session whose cursors the gateway has forgotten.
        if !self.open.remove(&cursor) {
            return None;
        }
        self.handled_since_ack += 1;
        // With nothing left to read, the application may wait for long: it is acknowledged at once.
        if self.unread.is_empty() || self.handled_since_ack >= ACK_EVERY { self.ack() } else { None }
    }

    /// Everything before the first cursor that is still open.
    pub(crate) fn handled_through(&self) -> u64 {
        self.open.first().map_or(self.highest, |first| first.saturating_sub(1))
    }

    /// The acknowledgement of what is handled, if that is news.
    pub(crate) fn ack(&mut self) -> Option<Ack> {
        let cursor = self.handled_through();
        if cursor <= self.acknowledged || self.handled_since_ack == 0 {
            return None;
        }
        self.acknowledged = cursor;
        self.handled_since_ack = 0;
        Some(Ack { cursor })
    }

    /// The credits to give back, if there are enough of them to be worth a request.
    pub(crate) fn credit(&mut self) -> Option<Credit> {
        // Half at a time: one request for many messages, and the gateway never runs dry.
        if self.held || self.spent == 0 || self.spent < self.credits / 2 {
            return None;
        }
        Some(Credit { n: std::mem::take(&mut self.spent) })
    }

    /// A new session has begun, without credits, behind the cursor that was `asked` for. False if the gateway has
    /// forgotten all it knew of this agent.
    pub(crate) fn resume(&mut self, welcome: &Welcome, asked: u64) -> bool {
        let unread = self.unread.iter().filter(|incoming| matches!(incoming, Incoming::Message(_))).count();
        self.spent = self.credits.saturating_sub(u32::try_from(unread).unwrap_or(u32::MAX));
        self.held = true;
        if welcome.resumed_from >= asked {
            self.acknowledged = self.acknowledged.max(asked);
            self.highest = self.highest.max(welcome.resumed_from);
            return true;
        }
        // Its cursors begin at 1 again; those in hand mean nothing to it.
        self.generation += 1;
        self.open.clear();
        self.unread.iter_mut().for_each(Incoming::forget_cursor);
        self.highest = welcome.resumed_from;
        self.acknowledged = welcome.resumed_from;
        self.handled_since_ack = 0;
        false
    }

    /// All that was sent again has been answered.
    pub(crate) const fn release(&mut self) {
        self.held = false;
    }
}
