//! Where agents are: names of other nodes' agents, learned from the mesh.
//!
//! Owns the table, the questions that are out, and how often this gateway says where its own agents are. Those are in `registry`; what
//! waits for an answer is in `outgoing`. Full: the entry learned longest ago gives way; questions are bounded by the messages that wait.

use std::collections::BTreeMap;

use mesh_agent::api::Name;
use mesh_protocol::{Address, Duration, Instant, NameHash, Priority};

use crate::access::{Bucket, Rate};

/// Entries kept. A guess: ten agents on each of a hundred nodes, four times over.
const ENTRIES: usize = 4_096;
/// The first question goes out at once, the next after this long, doubling up to the bound. Guesses: longer than a
/// question and its answer take over fifteen hops.
const ASK_AGAIN: Duration = Duration::from_millis(800);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(8);
/// So often the mesh is asked for each limited token: names that are nowhere are asked for until the messages to them expire, and there may
/// be a thousand of those. A guess: a minute's worth at once, as after a restart, and then one flood a second.
const NAMES: Rate = Rate::per_minute(60);
/// Where an agent is whose node is silent, or for whom mail waits here, is asked after this long again, doubling up to the bound.
/// Guesses: little air.
const DOUBT_AGAIN: Duration = Duration::from_secs(8);
const DOUBT_AGAIN_MAX: Duration = Duration::from_secs(300);
/// A second question within this time is answered for an absent agent too: nobody else had an answer to the first.
const SECOND_QUESTION: Duration = Duration::from_secs(30);
/// First questions remembered.
const FIRST_QUESTIONS: usize = 64;

/// Agents announced at once, and how often one more: names beyond it are found when they are asked for. Guesses.
const ANNOUNCE_BURST: u32 = 8;
const ANNOUNCE_EVERY: Duration = Duration::from_secs(2);
/// So long it is said that an agent is connected twice, after that was heard. A guess: the other does not say when it leaves.
const NAMESAKE_NEWS: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug)]
struct Entry {
    node: Address,
    name: Option<Name>,
    learned: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    next: Instant,
    wait: Duration,
    priority: Priority,
    /// When it was asked last, or first wanted.
    last: Instant,
    /// The limited token that it is asked for; none, if somebody without one wants to know as well.
    asker: Option<Name>,
}

/// Names and the nodes they are on.
#[derive(Debug, Default)]
pub(super) struct Directory {
    entries: BTreeMap<NameHash, Entry>,
    questions: BTreeMap<NameHash, Question>,
    /// What was asked for each limited token.
    asked: BTreeMap<Name, Bucket>,
    /// Names whose nodes are silent.
    doubts: BTreeMap<NameHash, Question>,
    /// When messages for an absent agent made this gateway look for it elsewhere.
    sought: BTreeMap<NameHash, Instant>,
    /// Questions of other nodes for absent agents.
    first: BTreeMap<(Address, NameHash), Instant>,
    /// Agents that are connected here and were heard of from another node, and when. None is absent.
    namesakes: BTreeMap<Name, (Address, Instant)>,
    /// Agents announced unasked a short time ago, and since when that many.
    announced: (u32, Instant),
}

impl Directory {
    /// The node of an agent, if it is known.
    pub(super) fn find(&self, name: NameHash) -> Option<Address> {
        self.entries.get(&name).map(|entry| entry.node)
    }

    /// An agent is on this node. The name itself is known only when a message came from it. Whether it was on another before.
    pub(super) fn learn(&mut self, now: Instant, hash: NameHash, name: Option<Name>, node: Address) -> bool {
        self.questions.remove(&hash);
        if self.entries.len() >= ENTRIES
            && !self.entries.contains_key(&hash)
            && let Some(oldest) =
                self.entries.iter().min_by_key(|(_, entry)| entry.learned).map(|(hash, _)| *hash)
        {
            self.entries.remove(&oldest);
        }
        // An answer to a question has the hash alone: the name of before stays.
        let name = name.or_else(|| self.entries.get(&hash).and_then(|known| known.name));
        let before = self.entries.insert(hash, Entry { node, name, learned: now });
        before.is_some_and(|before| before.node != node)
    }

    /// The node says it has no such agent (any more).
    pub(super) fn forget(&mut self, name: NameHash) {
        self.entries.remove(&name);
    }

    /// Asks the mesh for a name, unless it is being asked already: on account of this limited token, if it is one.
    pub(super) fn ask(&mut self, now: Instant, name: NameHash, priority: Priority, asker: Option<Name>) {
        let fresh = Question { next: now, wait: ASK_AGAIN, priority, last: now, asker };
        let question = self.questions.entry(name).or_insert(fresh);
        // The most urgent of the messages that wait for it decides.
        question.priority = question.priority.min(priority);
        if asker.is_none() && question.asker.take().is_some() {
            // Nor does who is not limited wait for those who are.
            question.next = question.next.min(now);
        }
    }

    /// These are the names whose nodes are silent now: those that are to be asked for again.
    pub(super) fn doubt(
        &mut self,
        now: Instant,
        silent: &BTreeMap<NameHash, Priority>,
    ) -> Vec<(NameHash, Priority)> {
        self.doubts.retain(|name, _| silent.contains_key(name));
        for (name, priority) in silent {
            let fresh =
                Question { next: now, wait: DOUBT_AGAIN, priority: *priority, last: now, asker: None };
            self.doubts.entry(*name).or_insert(fresh);
        }
        due(&mut self.doubts, now, DOUBT_AGAIN_MAX)
    }

    /// Messages wait here for an agent that may be elsewhere: whether to ask the mesh for it now, or that was done a short time ago.
    pub(super) fn seek(&mut self, now: Instant, name: NameHash) -> bool {
        self.sought.retain(|_, at| now.since(*at) < DOUBT_AGAIN_MAX);
        if self.sought.len() >= ENTRIES || self.sought.contains_key(&name) {
            return false;
        }
        self.sought.insert(name, now);
        true
    }

    /// A node asks for an agent that is absent here: whether this is its second question. A gateway where the agent is connected
    /// would have answered the first one.
    pub(super) fn asks_again(&mut self, now: Instant, source: Address, name: NameHash) -> bool {
        self.first.retain(|_, at| now.since(*at) < SECOND_QUESTION);
        let full = self.first.len() >= FIRST_QUESTIONS;
        self.first.contains_key(&(source, name)) || full || {
            self.first.insert((source, name), now);
            false
        }
    }

    /// Stops asking for a name that nothing waits for.
    pub(super) fn drop_question(&mut self, name: NameHash) {
        self.questions.remove(&name);
    }

    /// Questions that are due now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(NameHash, Priority)> {
        self.hold_back(now);
        due(&mut self.questions, now, ASK_AGAIN_MAX)
    }

    /// Questions that are due and more than their token may ask now wait for their turn. Those that wait for longest go first.
    fn hold_back(&mut self, now: Instant) {
        let due = self.questions.iter().filter(|(_, question)| question.next <= now);
        let mut limited: Vec<_> =
            due.filter_map(|(name, question)| Some((question.asker?, question.last, *name))).collect();
        if limited.is_empty() {
            return;
        }
        limited.sort_unstable();
        for (asker, _, name) in limited {
            let bucket = self.asked.entry(asker).or_insert_with(|| Bucket::new(NAMES));
            if let (Err(wait), Some(question)) = (bucket.take(now), self.questions.get_mut(&name)) {
                question.next = now + wait;
            }
        }
        // Tokens come and go, and one whose allowance is full again needs no memory.
        self.asked.retain(|_, bucket| !bucket.is_full(now));
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.questions.values().chain(self.doubts.values()).map(|question| question.next).min()
    }

    /// An agent that is connected here is at that node too; whether that is news.
    pub(super) fn note_namesake(&mut self, now: Instant, name: Name, node: Address) -> bool {
        let before = self.namesakes.insert(name, (node, now));
        before.is_none_or(|(before, at)| before != node || now.since(at) >= NAMESAKE_NEWS)
    }

    /// An agent is connected here no more.
    pub(super) fn drop_namesake(&mut self, name: Name) {
        self.namesakes.remove(&name);
    }

    /// Agents that are connected here, and at that node.
    pub(super) fn namesakes(&self, now: Instant) -> impl Iterator<Item = (Name, Address)> + '_ {
        let news = self.namesakes.iter().filter(move |(_, (_, at))| now.since(*at) < NAMESAKE_NEWS);
        news.map(|(name, (node, _))| (*name, *node))
    }

    /// Whether one more agent may be announced now: not when that was said of many others just now.
    pub(super) fn may_announce(&mut self, now: Instant) -> bool {
        let (count, since) = &mut self.announced;
        while *count > 0 && *since + ANNOUNCE_EVERY <= now {
            *count -= 1;
            *since += ANNOUNCE_EVERY;
        }
        if *count == 0 {
            *since = now;
        }
        let may = *count < ANNOUNCE_BURST;
        *count += u32::from(may);
        may
    }

    /// Agents elsewhere whose names are known, and when each was heard of last.
    pub(super) fn named(&self) -> impl Iterator<Item = (Name, Address, Instant)> + '_ {
        self.entries.values().filter_map(|entry| entry.name.map(|name| (name, entry.node, entry.learned)))
    }
}

fn due(
    questions: &mut BTreeMap<NameHash, Question>,
    now: Instant,
    longest: Duration,
) -> Vec<(NameHash, Priority)> {
    let due = questions.iter_mut().filter(|(_, question)| question.next <= now);
    due.map(|(name, question)| {
        (question.next, question.last) = (now + question.wait, now);
        question.wait = question.wait.times(2).min(longest);
        (*name, question.priority)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_again_ever_more_slowly_until_it_is_learned() {
        let mut directory = Directory::default();
        let bob = NameHash::of("bob");
        let mut now = Instant::ZERO;
        directory.ask(now, bob, Priority::Low, None);
        directory.ask(now, bob, Priority::High, None);
        let mut waits = Vec::new();
        for _ in 0..5 {
            assert_eq!(directory.due(now), [(bob, Priority::High)]);
            let next = directory.next_timeout().unwrap();
            waits.push(next.since(now).as_millis());
            assert_eq!(directory.due(now), []);
            now = next;
        }
        assert_eq!(waits, [800, 1_600, 3_200, 6_400, 8_000]);
        directory.learn(now, bob, None, Address::new(7));
        assert_eq!((directory.find(bob), directory.next_timeout()), (Some(Address::new(7)), None));
    }

    #[test]
    fn a_limited_token_asks_for_its_names_in_turn_and_nobody_waits_for_it() {
        let mut directory = Directory::default();
        let token = Name::new("sensor").ok();
        let start = Instant::from_micros(1_000_000_000);
        let names: Vec<_> = (0..100).map(|n| NameHash::of(&format!("nobody-{n}"))).collect();
        for name in &names {
            directory.ask(start, *name, Priority::Low, token);
        }
        let mut asked: BTreeMap<NameHash, u32> = BTreeMap::new();
        // Two minutes, in steps of a tenth of a second.
        for tenth in 0..1_200 {
            for (name, _) in directory.due(start + Duration::from_millis(tenth * 100)) {
                *asked.entry(name).or_default() += 1;
            }
        }
        // A minute's worth at once, and then one in a second.
        let all: u32 = asked.values().sum();
        assert!((60 + 118..=60 + 120).contains(&all), "{all}");
        assert!(names.iter().all(|name| (1..=3).contains(&asked[name])), "each has its turn: {asked:?}");
        // One that others want too is asked for at once, and all of somebody else's.
        let now = start + Duration::from_secs(120);
        let others = [names[0], NameHash::of("bob")];
        for name in others {
            directory.ask(now, name, Priority::High, None);
        }
        let due: Vec<_> = directory.due(now).into_iter().map(|(name, _)| name).collect();
        assert!(others.iter().all(|name| due.contains(name)) && due.len() <= 3, "{due:?}");
        // What nobody waits for any more is forgotten, and in the end the token as well.
        names.iter().for_each(|name| directory.drop_question(*name));
        let later = now + Duration::from_secs(60);
        directory.ask(later, names[1], Priority::Low, Name::new("other").ok());
        directory.due(later);
        assert_eq!(directory.asked.keys().map(Name::as_str).collect::<Vec<_>>(), ["other"]);
    }

    #[test]
    fn a_name_whose_node_is_silent_is_asked_for_until_it_answers() {
        let mut directory = Directory::default();
        let (bob, mut now) = (NameHash::of("bob"), Instant::ZERO);
        let silent = [(bob, Priority::Low)].into();
        for wait in [8, 16, 32] {
            assert_eq!(directory.doubt(now, &silent), [(bob, Priority::Low)]);
            assert_eq!(directory.doubt(now, &silent), []);
            assert_eq!(directory.next_timeout(), Some(now + Duration::from_secs(wait)));
            now += Duration::from_secs(wait);
        }
        assert!(!directory.learn(now, bob, None, Address::new(7)), "it was nowhere before");
        assert!(
            !directory.learn(now, bob, None, Address::new(7))
                && directory.learn(now, bob, None, Address::new(8))
        );
        assert_eq!((directory.doubt(now, &BTreeMap::new()), directory.next_timeout()), (vec![], None));
    }

    #[test]
    fn for_an_absent_agent_the_second_question_is_answered() {
        let mut directory = Directory::default();
        let (bob, now) = (NameHash::of("bob"), Instant::ZERO);
        let mut asks = |at, node| directory.asks_again(at, Address::new(node), bob);
        assert!(!asks(now, 1) && !asks(now, 2) && asks(now, 1));
        assert!(!asks(now + SECOND_QUESTION, 1));
        for node in 100..200 {
            asks(now + SECOND_QUESTION, node);
        }
        assert!(asks(now + SECOND_QUESTION, 200), "with too many to remember, all are answered");
        assert_eq!(directory.first.len(), FIRST_QUESTIONS);
        assert!(directory.seek(now, bob) && !directory.seek(now, bob));
        assert!(directory.seek(now + DOUBT_AGAIN_MAX, bob));
    }

    #[test]
    fn a_full_table_lets_the_oldest_go() {
        let mut directory = Directory::default();
        for n in 0..=ENTRIES {
            let at = Instant::from_micros(n as u64);
            directory.learn(at, NameHash::of(&n.to_string()), None, Address::new(1));
        }
        assert_eq!(directory.entries.len(), ENTRIES);
        assert_eq!(directory.find(NameHash::of("0")), None);
        assert_eq!(directory.find(NameHash::of("1")), Some(Address::new(1)));
    }
}
