//! The stories of the last messages: what happened to each, step by step, for whoever asks why, and for what a receipt can say of the place
//! where a message stood. In memory alone.
//!
//! Owns what a step is worth keeping for. Repeated steps are counted in one row. It decides nothing.
//!
//! Full: of the messages, the oldest that has ended is forgotten, or else the oldest; of the steps of one, those behind the first
//! [`FIRST`] give way, as the beginning and the end of a story say most.

use std::collections::{BTreeMap, VecDeque};

use mesh_agent::api::{Detail, Outcome, Step, StepKind, WaitedFor};
use mesh_protocol::{Address, Instant, MessageId, Step as Progress, Why};

/// Messages remembered. A guess: as many as [`super::recent`] knows the senders of, and half a MiB at the most.
pub(super) const MESSAGES: usize = 1_024;
/// Rows kept of one message.
const ROWS: usize = 48;
/// Rows at its beginning that stay.
const FIRST: usize = 12;
/// A step that is one of the last rows again is counted there: segments and their custody come by turns.
const COUNTED_BACK: usize = 4;

/// What a step says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct What {
    kind: StepKind,
    node: Option<Address>,
    given_up: Option<Why>,
}

#[derive(Clone, Debug)]
struct Row {
    what: What,
    first: Instant,
    last: Instant,
    count: u32,
}

/// Where custody of a message was last known to be.
#[derive(Clone, Copy, Debug)]
struct Custodian {
    node: Address,
    hops: u8,
    /// Why it gave a frame up, and when it first did, if that is the last that is known of it.
    gave_up: Option<(Why, Instant)>,
}

#[derive(Clone, Debug, Default)]
struct Timeline {
    rows: Vec<Row>,
    left_out: u32,
    custodian: Option<Custodian>,
    /// The node furthest from here that has had custody of it, and how many hops that is.
    furthest: Option<(u8, Address)>,
    /// Of a message to many: so many other nodes at least have it.
    reached: Option<u16>,
    end: Option<(Instant, Outcome, Option<String>)>,
}

impl Timeline {
    fn add(&mut self, now: Instant, what: What) {
        let back = self.rows.iter_mut().rev().take(COUNTED_BACK).find(|row| row.what == what);
        if let Some(row) = back {
            row.count = row.count.saturating_add(1);
            row.last = now;
            return;
        }
        if self.rows.len() == ROWS {
            self.left_out = self.left_out.saturating_add(self.rows.remove(FIRST).count);
        }
        self.rows.push(Row { what, first: now, last: now, count: 1 });
    }

    /// When the last step of that kind began.
    fn since(&self, kind: StepKind) -> Option<Instant> {
        self.rows.iter().rev().find(|row| row.what.kind == kind).map(|row| row.first)
    }

    /// What the receipt of a message says that was not delivered, or that was for many.
    fn detail(&self, now: Instant, outcome: Outcome, waited_for: Option<WaitedFor>) -> Option<Detail> {
        let waited_for = match (outcome, self.custodian.and_then(|last| last.gave_up)) {
            (Outcome::Expired | Outcome::Unknown, Some((why, _))) => match why {
                Why::NoNextHop => WaitedFor::Route,
                Why::QueueFull => WaitedFor::Room,
                Why::Stale => WaitedFor::Air,
            },
            (Outcome::Expired | Outcome::Unknown, None) => waited_for?,
            (Outcome::Sent, _) => {
                let reached = Some(self.reached?);
                return Some(Detail { reached, ..Detail::default() });
            }
            _ => return None,
        };
        let began = match waited_for {
            WaitedFor::Route | WaitedFor::Room => {
                self.custodian.and_then(|last| last.gave_up).map(|(_, when)| when)
            }
            WaitedFor::Name => self.since(StepKind::Naming),
            WaitedFor::Turn => self.since(StepKind::Queued),
            WaitedFor::Disk => self.since(StepKind::Accepted),
            WaitedFor::Air | WaitedFor::Answer => self.since(StepKind::Started),
            WaitedFor::Nothing => None,
        };
        Some(Detail {
            waited_for,
            since_ms: began.map(|began| now.since(began).as_millis()),
            last_hop: self.custodian.map(|last| last.node),
            hops_on: self.custodian.map(|last| last.hops),
            ..Detail::default()
        })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timelines {
    messages: BTreeMap<MessageId, Timeline>,
    /// Those that have ended, in that order.
    ended: VecDeque<MessageId>,
}

impl Timelines {
    /// A story begins.
    pub(super) fn begin(&mut self, now: Instant, id: MessageId, kind: StepKind) {
        if self.messages.len() >= MESSAGES {
            let gone = self.ended.pop_front().or_else(|| self.messages.keys().next().copied());
            gone.and_then(|gone| self.messages.remove(&gone));
        }
        self.messages.insert(id, Timeline::default());
        self.add(now, id, kind, None);
    }

    /// A message was taken back: nobody may know of it.
    pub(super) fn forget(&mut self, id: MessageId) {
        self.messages.remove(&id);
        self.ended.retain(|ended| *ended != id);
    }

    /// Something happened at this gateway.
    pub(super) fn add(&mut self, now: Instant, id: MessageId, kind: StepKind, node: Option<Address>) {
        if let Some(timeline) = self.messages.get_mut(&id) {
            timeline.add(now, What { kind, node, given_up: None });
        }
    }

    /// Another gateway keeps it, so many hops from here.
    pub(super) fn kept(&mut self, now: Instant, id: MessageId, keeper: Address, hops: Option<u8>) {
        if let Some(timeline) = self.messages.get_mut(&id) {
            timeline.custodian = hops.map(|hops| Custodian { node: keeper, hops, gave_up: None });
            timeline.add(now, What { kind: StepKind::Kept, node: Some(keeper), given_up: None });
        }
    }

    /// The node furthest from here that is known to have had custody of a message.
    pub(super) fn furthest(&self, id: MessageId) -> Option<Address> {
        self.messages.get(&id)?.furthest.map(|(_, node)| node)
    }

    /// The node tells how it goes on.
    pub(super) fn progress(&mut self, now: Instant, id: MessageId, step: Progress) {
        let Some(timeline) = self.messages.get_mut(&id) else { return };
        let (kind, node) = match step {
            Progress::Flooded => (StepKind::Flooded, None),
            Progress::SentTo(node) => (StepKind::Sent, Some(node)),
            Progress::FloodedAgain => (StepKind::FloodedAgain, None),
            Progress::SentAgain(node) => (StepKind::SentAgain, Some(node)),
            Progress::Repeated(node) => (StepKind::Repeated, Some(node)),
            Progress::Custody(node) => {
                timeline.custodian = Some(Custodian { node, hops: 1, gave_up: None });
                timeline.furthest = timeline.furthest.max(Some((1, node)));
                (StepKind::Custody, Some(node))
            }
            Progress::SecondHop(node) => (StepKind::SecondHop, Some(node)),
            Progress::Repair => (StepKind::Repair, None),
            Progress::Undelivered { at, hops, why } => {
                let what = What { kind: StepKind::Undelivered, node: Some(at), given_up: Some(why) };
                // Given up here, it goes another way from here.
                if hops == 0 {
                    return timeline.add(now, what);
                }
                let before = timeline.custodian.filter(|last| last.node == at).and_then(|last| last.gave_up);
                let since = before.filter(|(known, _)| *known == why).map_or(now, |(_, since)| since);
                timeline.custodian = Some(Custodian { node: at, hops, gave_up: Some((why, since)) });
                timeline.furthest = timeline.furthest.max(Some((hops, at)));
                return timeline.add(now, what);
            }
            Progress::Reached { at_least, .. } => {
                // The node counts anew if it has to begin again.
                timeline.reached = timeline.reached.max(Some(at_least));
                return;
            }
            _ => return,
        };
        timeline.add(now, What { kind, node, given_up: None });
    }

    /// A story ends; what is known of where the message stood, if it was not delivered, and of how many have it, if it was for many.
    pub(super) fn end(
        &mut self,
        now: Instant,
        id: MessageId,
        outcome: Outcome,
        why: Option<&str>,
        waited_for: Option<WaitedFor>,
    ) -> Option<Detail> {
        let Some(timeline) = self.messages.get_mut(&id) else {
            // Its story gave way to others: what it waited for is known all the same.
            return Timeline::default().detail(now, outcome, waited_for);
        };
        if timeline.end.replace((now, outcome, why.map(str::to_owned))).is_none() {
            self.ended.push_back(id);
        }
        timeline.detail(now, outcome, waited_for)
    }

    /// The rows of one message, and how many steps are left out; `None` if nothing is known of it.
    pub(super) fn steps(&self, id: MessageId) -> Option<(Vec<Step>, u32)> {
        let timeline = self.messages.get(&id)?;
        let rows = timeline.rows.iter().map(|row| Step {
            at_us: row.first.as_micros(),
            what: row.what.kind,
            node: row.what.node,
            count: row.count,
            until_us: (row.count > 1).then(|| row.last.as_micros()),
            outcome: None,
            why: row.what.given_up.map(|why| why.text().to_owned()),
        });
        let end = timeline.end.iter().map(|(at, outcome, why)| Step {
            at_us: at.as_micros(),
            what: StepKind::Ended,
            node: None,
            count: 1,
            until_us: None,
            outcome: Some(*outcome),
            why: why.clone(),
        });
        Some((rows.chain(end).collect(), timeline.left_out))
    }
}

#[cfg(test)]
mod tests {
    use mesh_protocol::Duration;

    use super::*;

    const ID: MessageId = MessageId(7);
    const A: Address = Address::new(2);
    const B: Address = Address::new(3);

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn begun() -> Timelines {
        let mut timelines = Timelines::default();
        timelines.begin(at(0), ID, StepKind::Accepted);
        timelines
    }

    fn rows(timelines: &Timelines) -> Vec<(StepKind, Option<Address>, u32)> {
        timelines.steps(ID).unwrap().0.iter().map(|step| (step.what, step.node, step.count)).collect()
    }

    #[test]
    fn segments_and_their_custody_are_two_rows_until_something_else_happens() {
        let mut timelines = begun();
        for n in 0..10 {
            timelines.progress(at(n), ID, Progress::SentTo(A));
            timelines.progress(at(n), ID, Progress::Custody(A));
        }
        timelines.progress(at(20), ID, Progress::Repeated(A));
        timelines.progress(at(21), ID, Progress::SecondHop(B));
        timelines.progress(at(22), ID, Progress::Custody(B));
        let (sent, custody) = ((StepKind::Sent, Some(A), 10), (StepKind::Custody, Some(A), 10));
        let repaired = [(StepKind::Repeated, Some(A), 1), (StepKind::SecondHop, Some(B), 1)];
        assert_eq!(rows(&timelines)[..3], [(StepKind::Accepted, None, 1), sent, custody]);
        assert_eq!(rows(&timelines)[3..5], repaired);
        assert_eq!(rows(&timelines)[5..], [(StepKind::Custody, Some(B), 1)]);
        assert_eq!(timelines.steps(ID).unwrap().0[1].until_us, Some(9_000));
    }

    #[test]
    fn a_long_story_keeps_its_beginning_and_its_end() {
        let mut timelines = begun();
        for n in 1..=100u16 {
            timelines.progress(at(n.into()), ID, Progress::SentTo(Address::new(n)));
        }
        let (steps, left_out) = timelines.steps(ID).unwrap();
        assert_eq!((steps.len(), left_out), (ROWS, 101 - ROWS as u32));
        assert_eq!(steps[0].what, StepKind::Accepted);
        assert_eq!(steps[FIRST - 1].node, Some(Address::new(FIRST as u16 - 1)));
        assert_eq!(steps.last().unwrap().node, Some(Address::new(100)));
    }

    #[test]
    fn the_oldest_that_has_ended_gives_way_first() {
        let mut timelines = begun();
        for id in 100..100 + MESSAGES as u32 - 1 {
            timelines.begin(at(1), MessageId(id), StepKind::Accepted);
        }
        timelines.end(at(2), MessageId(500), Outcome::Delivered, None, None);
        timelines.begin(at(3), MessageId(90_000), StepKind::Accepted);
        assert!(timelines.steps(MessageId(500)).is_none() && timelines.steps(ID).is_some());
        timelines.begin(at(3), MessageId(90_001), StepKind::Accepted);
        assert!(timelines.steps(ID).is_none(), "none has ended: the oldest");
    }

    #[test]
    fn a_receipt_says_what_was_waited_for_where_and_since_when() {
        let mut timelines = begun();
        timelines.add(at(10), ID, StepKind::Started, Some(B));
        let detail = timelines.clone_end(at(110), Outcome::Unknown, Some(WaitedFor::Answer));
        let nothing = Detail { waited_for: WaitedFor::Answer, since_ms: Some(100), ..Detail::default() };
        assert_eq!(detail, Some(nothing));
        timelines.progress(at(20), ID, Progress::Custody(A));
        let detail = timelines.clone_end(at(110), Outcome::Unknown, Some(WaitedFor::Answer));
        assert_eq!(detail, Some(Detail { last_hop: Some(A), hops_on: Some(1), ..nothing }));
        for ms in [30, 60] {
            let why = Why::NoNextHop;
            timelines.progress(at(ms), ID, Progress::Undelivered { at: B, hops: 2, why });
        }
        let detail = timelines.clone_end(at(110), Outcome::Unknown, Some(WaitedFor::Answer));
        let no_route = Detail {
            waited_for: WaitedFor::Route,
            since_ms: Some(80),
            last_hop: Some(B),
            hops_on: Some(2),
            ..Detail::default()
        };
        assert_eq!(detail, Some(no_route));
        let full = Progress::Undelivered { at: A, hops: 1, why: Why::QueueFull };
        timelines.progress(at(90), ID, full);
        let detail = timelines.clone_end(at(110), Outcome::Expired, None).unwrap();
        assert_eq!(
            (detail.waited_for, detail.last_hop, detail.since_ms),
            (WaitedFor::Room, Some(A), Some(20))
        );
        for outcome in [Outcome::Delivered, Outcome::Sent, Outcome::Rejected, Outcome::Processed] {
            assert_eq!(timelines.clone_end(at(110), outcome, None), None, "{outcome:?}");
        }
    }

    #[test]
    fn of_a_message_to_many_a_receipt_says_the_highest_count_and_nothing_without_one() {
        let mut timelines = begun();
        assert_eq!(timelines.clone_end(at(9), Outcome::Sent, None), None);
        for at_least in [2, 5, 3] {
            timelines.progress(at(5), ID, Progress::Reached { at_least, known: 9 });
        }
        let counted = Detail { reached: Some(5), ..Detail::default() };
        assert_eq!(timelines.clone_end(at(9), Outcome::Sent, None), Some(counted));
        assert_eq!(timelines.clone_end(at(9), Outcome::Rejected, None), None);
        let waited = timelines.clone_end(at(9), Outcome::Expired, Some(WaitedFor::Air)).unwrap();
        assert_eq!((waited.waited_for, waited.reached), (WaitedFor::Air, None));
    }

    impl Timelines {
        /// How it would end.
        fn clone_end(&self, now: Instant, outcome: Outcome, waited: Option<WaitedFor>) -> Option<Detail> {
            let messages = self.messages.clone();
            Self { messages, ended: VecDeque::new() }.end(now, ID, outcome, None, waited)
        }
    }
}
