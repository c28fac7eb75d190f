//! What the node is to do, and the verdicts on messages that it brought.
//!
//! Owns the order: it is left here while an input is handled, and carried out when the loop drives the node next. So nothing but the
//! loop needs the node.

use std::collections::VecDeque;

use mesh_protocol::{Address, GatewayNode, Instant, MessageId, NameHash, Priority, Verdict};

use super::counts::Counts;

#[derive(Debug)]
enum Command {
    Announce { to: Address, name: NameHash },
    Find { name: NameHash, priority: Priority },
    Join(Address),
    Leave(Address),
    SeqReserved(u32),
    Ping { to: Address, number: u16 },
    Trace { to: Address, number: u8 },
    Cancel(MessageId),
}

/// A verdict for the node that a message came from.
#[derive(Clone, Copy, Debug)]
struct VerdictFor {
    to: Address,
    id: MessageId,
    priority: Priority,
    verdict: Verdict,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct NodeCommands {
    commands: Vec<Command>,
    /// New verdicts, behind those that found no room in the node so far.
    verdicts: VecDeque<VerdictFor>,
    /// Whether there is something new for the node: verdicts that found no room before are not.
    news: bool,
}

impl NodeCommands {
    /// Tells a node what became of its message.
    pub(super) fn report(&mut self, to: Address, id: MessageId, priority: Priority, verdict: Verdict) {
        self.verdicts.push_back(VerdictFor { to, id, priority, verdict });
        self.news = true;
    }

    /// Says to a node, or to everyone, that an agent is here.
    pub(super) fn announce(&mut self, to: Address, name: NameHash) {
        self.push(Command::Announce { to, name });
    }

    /// Asks the mesh where an agent is.
    pub(super) fn find(&mut self, name: NameHash, priority: Priority) {
        self.push(Command::Find { name, priority });
    }

    /// Hears a group from now on.
    pub(super) fn join(&mut self, group: Address) {
        self.push(Command::Join(group));
    }

    /// Hears a group no more.
    pub(super) fn leave(&mut self, group: Address) {
        self.push(Command::Leave(group));
    }

    /// Asks a node whether it is there.
    pub(super) fn ping(&mut self, to: Address, number: u16) {
        self.push(Command::Ping { to, number });
    }

    /// Asks those on the way to a node who they are.
    pub(super) fn trace(&mut self, to: Address, number: u8) {
        self.push(Command::Trace { to, number });
    }

    /// Sends a message no more.
    pub(super) fn cancel(&mut self, id: MessageId) {
        self.push(Command::Cancel(id));
    }

    /// SEQs below this one may be used.
    pub(super) fn seq_reserved(&mut self, up_to: u32) {
        self.push(Command::SeqReserved(up_to));
    }

    /// A place in the node has become free, or the destination of what waits is known now: the node is filled again, in this turn and not with the
    /// next input.
    pub(super) fn refill(&mut self) {
        self.news = true;
    }

    pub(super) const fn is_empty(&self) -> bool {
        !self.news
    }

    pub(super) fn carry_out(&mut self, now: Instant, node: &mut GatewayNode, counts: &mut Counts) {
        self.news = false;
        for command in self.commands.drain(..) {
            match command {
                Command::Announce { to, name } => node.announce(to, name),
                Command::Find { name, priority } => node.find_name(name, priority),
                Command::Join(group) => {
                    if !node.join_group(group) {
                        counts.count("groups_refused");
                        tracing::warn!(%group, "too many groups: this one is heard from this gateway's own agents only");
                    }
                }
                Command::Leave(group) => node.leave_group(group),
                Command::SeqReserved(up_to) => node.seq_reserved(up_to),
                Command::Cancel(id) => node.cancel(id),
                // Without room it is as if the air had lost it.
                Command::Ping { to, number } => drop(node.ping(to, number)),
                Command::Trace { to, number } => drop(node.trace(now, to, number)),
            }
        }
        // In their order: the first that finds no room holds up the others until the node has sent some.
        while let Some(&VerdictFor { to, id, priority, verdict }) = self.verdicts.front() {
            if !node.report(to, id, priority, verdict) {
                break;
            }
            self.verdicts.pop_front();
        }
    }

    /// Whether the node is to send this one no more.
    #[cfg(test)]
    pub(super) fn cancels(&self, id: MessageId) -> bool {
        self.commands.iter().any(|command| matches!(command, Command::Cancel(cancelled) if *cancelled == id))
    }

    /// As if all had been carried out.
    #[cfg(test)]
    pub(super) fn carry_out_nothing(&mut self) {
        self.commands.clear();
        self.news = false;
    }

    fn push(&mut self, command: Command) {
        self.commands.push(command);
        self.news = true;
    }
}
