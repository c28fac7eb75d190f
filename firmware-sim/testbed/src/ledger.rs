//! What is taken down while a scenario is played with real gateways.
//!
//! Owns who takes down what: the course of the scenario, which counts its messages, and the record, which judges. To both a device
//! is an agent that says little.

use firmware_sim::play::At;
use firmware_sim::play::course::Course;
use firmware_sim::stack::mesh::{address, number};
use firmware_sim::stack::{Arrival, Completion, ReportedOutcome};
use mesh_agent::api::{
    Accepted, Body, Destination, ErrorCode, ErrorEvent, Message, MessageRef, Outcome, Receipt,
};
use mesh_protocol::{Address, Instant, MessageId, MessageType, Priority};

use super::record::Record;
use super::testbed::Testbed;
use super::witness::{Said, Witness};

/// What is taken down: the messages of the scenario, and everything that was seen.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) testbed: Testbed,
    pub(super) course: Course,
    pub(super) record: Record,
    /// Messages that agents were given to say and of which no gateway has said whether it takes them.
    pub(super) asked: usize,
}

impl Ledger {
    /// No gateway will take a message.
    fn not_taken(&mut self, now: Instant, said: &Said, why: &str) {
        if let Some(number) = said.number {
            self.asked -= 1;
            self.course.refused(now, number, why);
        }
        self.testbed.shared.news.notify_one();
    }

    /// Something has happened at a device.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        (arrivals, completions): (Vec<At<Arrival>>, Vec<At<Completion>>),
    ) {
        for (at, arrival) in arrivals {
            self.course.arrived(now, at, &arrival);
            self.record.arrived(arrival.at, at as usize, as_message(at, arrival));
        }
        for (at, Completion { at: when, id, outcome }) in completions {
            self.course.reported(now, at, id, outcome);
            let id = message(address(at), id);
            // Answers are a device's own, and nobody waits for what became of them.
            if self.record.knows(id) {
                self.record.receipt(when, at as usize, as_receipt(when, id, outcome));
            }
        }
        self.course.check(now);
    }
}

impl Witness for Ledger {
    fn accepted(&mut self, now: Instant, agent: usize, said: Said, accepted: &Accepted) {
        if let Some(number) = said.number {
            self.asked -= 1;
            self.course.accepted(now, number, accepted.id.id.0);
        }
        self.record.accepted(now, agent, said, accepted);
        self.testbed.shared.news.notify_one();
    }

    fn doubt(&mut self, now: Instant, said: Said) {
        self.not_taken(now, &said, "power went before it was accepted");
        self.record.doubt(now, said);
    }

    fn refused(&mut self, now: Instant, said: Said, error: ErrorEvent) {
        self.not_taken(now, &said, &error.code.to_string());
        match error.code {
            ErrorCode::Busy => self.record.turned_away(),
            _ => self.record.refused(now, said, error),
        }
    }

    fn unsaid(&mut self, now: Instant, said: Said) {
        self.not_taken(now, &said, "down");
        self.record.unsaid(now, said);
    }

    fn error(&mut self, agent: usize, error: ErrorEvent) {
        self.record.error(agent, error);
    }

    fn receipt(&mut self, now: Instant, agent: usize, receipt: Receipt) {
        let outcome = match receipt.outcome {
            Outcome::Delivered | Outcome::Processed => ReportedOutcome::Delivered,
            Outcome::Sent => ReportedOutcome::Sent,
            Outcome::Expired => ReportedOutcome::Expired,
            Outcome::Rejected => ReportedOutcome::Rejected,
            Outcome::Unknown => ReportedOutcome::Unknown,
        };
        self.course.reported(now, agent as u32, receipt.id.id.0, outcome);
        self.record.receipt(now, agent, receipt);
        self.testbed.shared.news.notify_one();
    }

    fn arrived(&mut self, now: Instant, agent: usize, message: Message) {
        let arrival = Arrival {
            at: now,
            from: number(message.id.node),
            id: message.id.id.0,
            hops: message.hops,
            answers: message.reply_to.map(|asked| asked.id.0),
            body: Vec::new(),
        };
        self.course.arrived(now, agent as u32, &arrival);
        self.record.arrived(now, agent, message);
        self.testbed.shared.news.notify_one();
    }
}

/// What a message of a node is called in the whole network.
pub(super) const fn message(node: Address, id: u32) -> MessageRef {
    MessageRef { node, id: MessageId(id) }
}

/// What a device's application was given, as an agent would have been.
fn as_message(at: u32, arrival: Arrival) -> Message {
    let kind = if arrival.answers.is_some() { MessageType::Response } else { MessageType::Notification };
    Message {
        cursor: None,
        id: message(address(arrival.from), arrival.id),
        from: Destination::Node(address(arrival.from)),
        to: Destination::Node(address(at)),
        kind,
        // Devices do not tell applications.
        priority: Priority::Medium,
        reply_to: arrival.answers.map(|id| message(address(at), id)),
        hops: arrival.hops,
        at_us: arrival.at.as_micros(),
        body: Body::data(arrival.body),
    }
}

/// What a device had reported to it, as an agent would have been.
const fn as_receipt(at: Instant, id: MessageRef, outcome: ReportedOutcome) -> Receipt {
    let outcome = match outcome {
        ReportedOutcome::Delivered => Outcome::Delivered,
        ReportedOutcome::Sent => Outcome::Sent,
        ReportedOutcome::Unknown => Outcome::Unknown,
        ReportedOutcome::Expired => Outcome::Expired,
        ReportedOutcome::Rejected => Outcome::Rejected,
    };
    Receipt {
        cursor: None,
        reference: None,
        id,
        outcome,
        at_node: None,
        why: None,
        hops: None,
        at_us: at.as_micros(),
        detail: None,
    }
}
