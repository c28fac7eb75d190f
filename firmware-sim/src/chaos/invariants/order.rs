//! The order in which a node sends: the urgent first, and a share for the others.
//!
//! Owns what can be seen of it from outside: while a node holds a message of one frame that has never been sent, that class
//! has something to send, and the frames it hands out meanwhile show which class it chose instead.

use std::collections::BTreeSet;

use mesh_protocol::{MessageId, PerClass, Priority};

use super::findings::Fault;

/// `PATIENCE` in `docs/protocol.md`.
const PATIENCE: PerClass<u32> = PerClass::new([0, 4, 9, 19]);

/// One node's classes.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// Messages of one frame that were never sent, by class.
    waiting: PerClass<BTreeSet<MessageId>>,
    /// More urgent frames that went before each class, in a row.
    passed: PerClass<u32>,
    /// While each class waited: frames of each class that were sent.
    sent: PerClass<PerClass<u32>>,
}

impl Order {
    pub(super) fn accepted(&mut self, priority: Priority, id: MessageId) {
        self.waiting[priority].insert(id);
    }

    /// It has been sent, or will not be any more.
    pub(super) fn done(&mut self, id: MessageId) {
        for class in Priority::ALL {
            self.waiting[class].remove(&id);
            self.rest(class);
        }
    }

    /// A power cut, or a time in which the node could not send anything of its own.
    pub(super) fn reset(&mut self, forget: bool) {
        if forget {
            self.waiting = Default::default();
        }
        (self.passed, self.sent) = Default::default();
    }

    /// A frame of this class was handed to the radio, at a time when the node could have sent any of its own.
    pub(super) fn handed(&mut self, served: Priority) -> Result<(), Fault> {
        for (class, patience) in PATIENCE.iter() {
            if self.waiting[class].is_empty() {
                continue;
            }
            if class == served {
                self.passed[class] = 0;
            } else if class > served {
                self.passed[class] += 1;
                if self.passed[class] > *patience {
                    let passed = self.passed[class];
                    return Err((
                        "share",
                        format!("{class} waits, and {passed} more urgent frames went before in a row"),
                    ));
                }
            }
            self.sent[class][served] += 1;
            let all: u32 = self.sent[class].iter().map(|(_, sent)| sent).sum();
            // One more than its share: the first frame of a count has no share yet.
            let most = 1 + all / (PATIENCE[served] + 1);
            if served > class && self.sent[class][served] > most {
                let sent = self.sent[class][served];
                let text = format!("{class} waits, and of {all} frames {sent} were {served}");
                return Err(("priority", text));
            }
        }
        Ok(())
    }

    fn rest(&mut self, class: Priority) {
        if self.waiting[class].is_empty() {
            self.passed[class] = 0;
            self.sent[class] = PerClass::all(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MessageId = MessageId(1);

    #[test]
    fn a_class_that_waits_is_passed_over_as_often_as_it_may_and_no_more() {
        let mut order = Order::default();
        order.accepted(Priority::Low, ID);
        for _ in 0..19 {
            order.handed(Priority::High).unwrap();
        }
        let mut served = order.clone();
        assert_eq!(order.handed(Priority::High).unwrap_err().0, "share");
        served.handed(Priority::Low).unwrap();
        served.handed(Priority::High).unwrap();
    }

    #[test]
    fn what_is_less_urgent_gets_its_share_and_no_more() {
        let mut order = Order::default();
        order.accepted(Priority::Critical, ID);
        order.handed(Priority::Low).unwrap();
        order.handed(Priority::Medium).unwrap();
        assert_eq!(order.clone().handed(Priority::Low).unwrap_err().0, "priority");
        let mut sent = order;
        sent.handed(Priority::Critical).unwrap();
        sent.done(ID);
        for _ in 0..50 {
            sent.handed(Priority::Low).unwrap();
        }
    }
}
