//! Sealed frames waiting for the radio: relays, and repeats of this node's own.
//!
//! Owns waiting, repeating, suppression and the bound. Knows neither keys nor what a frame means; SEQ is taken
//! before a frame gets here.
//!
//! A frame that one neighbour was asked to take stays until that one is heard to have it (`custody`): it is no repeat, and
//! when it has to give way its owner is told. Who gives way is for `eviction`.

mod custody;
mod entry;
mod eviction;

pub(crate) use entry::{Custody, Gone, LinkSet, Piece, Waiting, Whose, link_bit};

use heapless::Vec;

use entry::Entry;

use crate::per_class::sooner;
use crate::seen::FrameKey;
use crate::{Address, Duration, Instant, LinkId, MessageId, PerClass, Priority};

/// A frame waits at most this long, then it is dropped: by then the origin has sent it again. A guess.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Between the copies of a frame: long enough that a listener which was sending itself has finished. The
/// interval of the reference stacks, 20 ms.
const REPEAT_AFTER: Duration = Duration::from_millis(20);

/// Frames that a next hop may have been asked to pass on without having been heard of: more would only wait there.
const HOP_WINDOW: usize = 6;
/// The same where it is the destination, which says what it has of several at a time.
pub(crate) const LAST_WINDOW: usize = 8;

/// What became of a copy heard while the frame waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The frame is not waiting for its first transmission.
    NotWaiting,
    /// It goes on waiting.
    Waits,
    /// Enough others have relayed it: it was taken out.
    Suppressed,
}

/// A neighbour has taken a frame that it was asked to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) next: Address,
    pub(crate) to: Address,
    pub(crate) piece: Option<Piece>,
    /// Whether it was asked more than once.
    pub(crate) again: bool,
    /// How long after it was asked, if that was once and it did not wait for more to answer.
    pub(crate) after: Option<Duration>,
}

/// A frame whose next hop was not heard in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overdue {
    pub(crate) at: usize,
    pub(crate) custody: Custody,
    pub(crate) src: Address,
    pub(crate) piece: Option<Piece>,
    pub(crate) priority: Priority,
    /// How often that one was asked.
    pub(crate) tries: u8,
}

/// The queue is full of frames at least as urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// A frame to hand to a link.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) relayed: bool,
    pub(crate) repeat: bool,
}

/// At most `N` frames of at most `FRAME` bytes.
#[derive(Clone, Debug)]
pub(crate) struct AirQueue<const N: usize, const FRAME: usize> {
    entries: Vec<Entry<FRAME>, N>,
    orders: u32,
}

impl<const N: usize, const FRAME: usize> AirQueue<N, FRAME> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), orders: 0 }
    }

    /// Takes a frame in; gives the one that had to give way, `Err` if the queue is full of its betters.
    pub(crate) fn push(&mut self, now: Instant, frame: Waiting<FRAME>) -> Result<Option<Gone>, Full> {
        let evicted = self.make_room(frame.priority, false)?;
        self.put(now, frame);
        Ok(evicted)
    }

    fn put(&mut self, now: Instant, frame: Waiting<FRAME>) {
        self.orders = self.orders.wrapping_add(1);
        let entry = Entry {
            expires: now + WAIT_MAX,
            pending: frame.links,
            sent: 0,
            heard: 0,
            tries: 0,
            asked_at: 0,
            order: self.orders,
            frame,
        };
        // There is room: it was made.
        let _ = self.entries.push(entry);
    }

    /// Takes in what is left of a frame that `link` has just had: other links, further copies, or to hear who has taken it.
    /// `pause` is added between copies, or is how long to wait for that one. Gives another one that had to give way; `Err`
    /// if this rest found no room.
    pub(crate) fn push_rest(
        &mut self,
        now: Instant,
        link: LinkId,
        pause: Duration,
        mut frame: Waiting<FRAME>,
    ) -> Result<Option<Gone>, Full> {
        let others = frame.links & !link_bit(link);
        let repeat = others == 0;
        let again = frame.again();
        let custody = frame.custody.next != Address::NONE;
        if repeat && (again == 0 || frame.copies <= 1 && !custody) {
            return Ok(None);
        }
        // Other links get their first copy at once. A repeat waits until a listener that was sending itself has finished.
        if repeat {
            frame.due = now + REPEAT_AFTER + pause;
        }
        let evicted = self.make_room(frame.priority, repeat && !custody)?;
        self.put(now, frame);
        if let Some(entry) = self.entries.last_mut() {
            if !repeat {
                entry.pending = others;
            } else if custody {
                entry.asked(now, pause);
            } else {
                (entry.sent, entry.pending) = (1, again);
            }
        }
        Ok(evicted)
    }

    /// Records a copy of a waiting frame that came with `ttl`.
    ///
    /// `enough`: how many relays by others make this node's own needless, if any number does. A copy with a higher TTL
    /// than the waiting one is no relay but its sender saying it again: that one may have nobody else. What came over
    /// `from`, a link that loses nothing, need not go back there, and says nothing of those on the air.
    pub(crate) fn heard(
        &mut self,
        key: FrameKey,
        ttl: u8,
        enough: Option<u8>,
        from: Option<LinkId>,
    ) -> Heard {
        // What is heard after this node's first copy may be relays of that one: it says nothing of who still lacks the frame.
        let Some(at) = self
            .entries
            .iter()
            .position(|e| e.frame.key == key && e.sent == 0 && e.frame.whose != Whose::Own)
        else {
            return Heard::NotWaiting;
        };
        let entry = &mut self.entries[at];
        if let Some(from) = from {
            entry.frame.links &= !link_bit(from);
            entry.pending &= entry.frame.links;
            if entry.pending == 0 {
                self.entries.swap_remove(at);
            }
            return Heard::Waits;
        }
        let counts = ttl <= entry.frame.ttl || entry.frame.whose == Whose::Spare;
        entry.heard = entry.heard.saturating_add(u8::from(counts));
        // What this node alone was asked to pass on is passed on by nobody else, whatever is heard.
        let spare = entry.frame.whose == Whose::Spare;
        let can_go = spare || entry.frame.priority.suppressible() && entry.frame.whose == Whose::Relayed;
        if can_go
            && entry.pending & entry.frame.again() != 0
            && enough.is_some_and(|enough| entry.heard >= enough)
        {
            // Only the air is spared. On a connection nobody else relays, so what it has not had yet stays.
            entry.frame.links &= entry.frame.once;
            entry.pending &= entry.frame.links;
            if entry.pending == 0 {
                self.entries.swap_remove(at);
            }
            return Heard::Suppressed;
        }
        Heard::Waits
    }

    /// What of a message its receiver holds (bit n: segment n) need not be said again. Gives who had been asked to take it.
    pub(crate) fn said(&mut self, now: Instant, message: MessageId, held: u64) -> Option<Taken> {
        let is_held = |piece: Piece| piece.is_of(message) && held & 1 << piece.index() != 0;
        let mut taken = None;
        // Also when a link has not had it yet: the ack may answer an earlier transmission under another SEQ, and it is the
        // segment that counts.
        self.entries.retain(|entry| {
            let keep = !entry.frame.piece.is_some_and(is_held);
            if !keep && entry.in_custody() && entry.tries > 0 {
                taken = Some(entry.taken(now));
            }
            keep
        });
        taken
    }

    /// Raises the TTL of a frame that waits, be it for a repeat; `false` when it is not here any more.
    pub(crate) fn raise_ttl(&mut self, key: FrameKey, ttl: u8) -> bool {
        match self.entries.iter_mut().find(|e| e.frame.key == key) {
            // TTL is outside the MIC, so the sealed bytes can be changed where they wait.
            // What its next hop was asked to take stays as it is: by its TTL it is known who has passed it on.
            Some(entry) if ttl > entry.frame.ttl && entry.tries == 0 => {
                crate::frame::retarget_ttl(&mut entry.frame.bytes, entry.frame.ttl, ttl);
                entry.frame.ttl = ttl;
                true
            }
            _ => false,
        }
    }

    /// When each class has its next frame for `link` due.
    pub(crate) fn due(&self, link: LinkId) -> PerClass<Option<Instant>> {
        let mut due = PerClass::all(None);
        for entry in self.entries.iter().filter(|e| e.pending & link_bit(link) != 0 && self.may_go(e)) {
            sooner(&mut due[entry.frame.priority], entry.frame.due);
        }
        due
    }

    /// The frame of `class` to send on `link` now: first copies before repeats, then the order of arrival.
    pub(crate) fn pick(&self, now: Instant, link: LinkId, class: Priority) -> Option<usize> {
        let due = |e: &Entry<FRAME>| {
            e.pending & link_bit(link) != 0
                && e.frame.due <= now
                && e.frame.priority == class
                && self.may_go(e)
        };
        (0..self.entries.len()).filter(|&at| due(&self.entries[at])).min_by_key(|&at| {
            let entry = &self.entries[at];
            (if entry.in_custody() { 0 } else { entry.sent }, entry.order)
        })
    }

    /// Whether the frame that [`pick`](Self::pick) chose has been sent before.
    pub(crate) fn is_repeat(&self, at: usize) -> bool {
        self.entries[at].is_spare()
    }

    /// Hands out the frame that [`pick`](Self::pick) chose and records that `link` has it. `pause` as for
    /// [`push_rest`](Self::push_rest).
    pub(crate) fn send<R>(
        &mut self,
        now: Instant,
        link: LinkId,
        at: usize,
        pause: Duration,
        hand_out: impl FnOnce(Outgoing<'_>) -> R,
    ) -> R {
        let entry = &mut self.entries[at];
        let frame = &entry.frame;
        let result = hand_out(Outgoing {
            bytes: &frame.bytes,
            relayed: frame.whose != Whose::Own,
            repeat: entry.sent > 0,
        });
        entry.pending &= !link_bit(link);
        if entry.pending == 0 && entry.in_custody() {
            entry.asked(now, pause);
        } else if entry.pending == 0 {
            entry.sent += 1;
            if entry.sent >= entry.frame.copies || entry.frame.again() == 0 {
                self.entries.swap_remove(at);
            } else {
                entry.pending = entry.frame.again();
                entry.frame.due = now + REPEAT_AFTER + pause;
            }
        }
        result
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(0);
    const T0: Instant = Instant::ZERO;

    fn frame(seq: u32, priority: Priority) -> Waiting<8> {
        Waiting {
            key: FrameKey { src: Address::new(1), epoch: 0, seq },
            bytes: Vec::from_slice(&[0, 0x50, seq as u8]).unwrap(),
            priority,
            ttl: 5,
            whose: Whose::Relayed,
            piece: None,
            due: T0,
            links: 1,
            once: 0,
            copies: 1,
            custody: Custody::NONE,
        }
    }

    fn sent(queue: &mut AirQueue<4, 8>, class: Priority) -> Option<u8> {
        let at = queue.pick(T0, LINK, class)?;
        Some(queue.send(T0, LINK, at, Duration::ZERO, |out| out.bytes[2]))
    }

    #[test]
    fn frames_of_a_class_leave_in_the_order_they_came() {
        let mut queue = AirQueue::<4, 8>::new();
        for seq in [3, 1, 2] {
            queue.push(T0, frame(seq, Priority::High)).unwrap();
        }
        assert_eq!([(); 4].map(|()| sent(&mut queue, Priority::High)), [Some(3), Some(1), Some(2), None]);
    }

    #[test]
    fn copies_wait_and_come_after_first_transmissions() {
        let mut queue = AirQueue::<4, 8>::new();
        queue.push(T0, Waiting { copies: 2, ..frame(1, Priority::High) }).unwrap();
        assert_eq!(sent(&mut queue, Priority::High), Some(1));
        assert_eq!(queue.due(LINK)[Priority::High], Some(T0 + REPEAT_AFTER));
        queue.push(T0, Waiting { due: T0 + REPEAT_AFTER, ..frame(2, Priority::High) }).unwrap();
        let later = T0 + REPEAT_AFTER;
        let first = queue.pick(later, LINK, Priority::High).unwrap();
        assert!(queue.send(later, LINK, first, Duration::ZERO, |out| !out.repeat && out.bytes[2] == 2));
        let second = queue.pick(later, LINK, Priority::High).unwrap();
        assert!(queue.send(later, LINK, second, Duration::ZERO, |out| out.repeat && out.bytes[2] == 1));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_its_receiver_holds_is_not_repeated() {
        let mut queue = AirQueue::<4, 8>::new();
        for index in 0..3 {
            let piece = Some(Piece::new(MessageId(7), index));
            let own = Waiting { whose: Whose::Own, piece, copies: 3, ..frame(index.into(), Priority::High) };
            queue.push_rest(T0, LINK, Duration::ZERO, own).unwrap();
        }
        queue.push(T0, frame(9, Priority::High)).unwrap();
        queue.said(T0, MessageId(8), u64::MAX);
        assert_eq!(queue.len(), 4, "another message's");
        queue.said(T0, MessageId(7), 0b101);
        assert_eq!(queue.len(), 2);
        queue.said(T0, MessageId(7), u64::MAX);
        assert_eq!(sent(&mut queue, Priority::High), Some(9), "a relay is nobody's message here");
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_full_queue_lets_the_least_urgent_and_newest_go() {
        let mut queue = AirQueue::<4, 8>::new();
        for (seq, priority) in
            [(1, Priority::Low), (2, Priority::Medium), (3, Priority::Low), (4, Priority::High)]
        {
            assert_eq!(queue.push(T0, frame(seq, priority)), Ok(None));
        }
        assert_eq!(queue.push(T0, frame(5, Priority::Low)), Err(Full), "nothing is less urgent");
        assert!(matches!(queue.push(T0, frame(6, Priority::Critical)), Ok(Some(_))));
        assert_eq!(sent(&mut queue, Priority::Low), Some(1), "3 gave way");
        assert_eq!(sent(&mut queue, Priority::Low), None);
        assert_eq!(sent(&mut queue, Priority::Critical), Some(6));
    }

    #[test]
    fn no_repeat_gives_way_to_what_is_less_urgent() {
        let mut queue = AirQueue::<4, 8>::new();
        for seq in 0..4 {
            queue.push(T0, Waiting { copies: 3, ..frame(seq, Priority::Critical) }).unwrap();
            sent(&mut queue, Priority::Critical).unwrap();
        }
        assert!(
            matches!(queue.push(T0, frame(9, Priority::Low)), Ok(Some(_))),
            "but a class keeps its last place"
        );
        assert_eq!(queue.push(T0, frame(10, Priority::Low)), Err(Full));
        assert!(
            matches!(queue.push(T0, frame(11, Priority::Critical)), Ok(Some(_))),
            "a repeat gave way to its equal"
        );
        let held = |seq| queue.entries.iter().any(|entry| entry.frame.key.seq == seq);
        assert!(held(9) && held(11) && !held(10));
    }

    #[test]
    fn what_is_left_to_do_of_an_urgent_frame_finds_room_among_the_less_urgent() {
        let rest = |queue: &mut AirQueue<4, 8>, priority, links| {
            queue.push_rest(T0, LINK, Duration::ZERO, Waiting { copies: 2, links, ..frame(9, priority) })
                != Ok(None)
        };
        let mut queue = AirQueue::<4, 8>::new();
        for seq in 0..4 {
            queue.push(T0, frame(seq, Priority::Low)).unwrap();
        }
        assert!(rest(&mut queue, Priority::Low, 1), "no place for a repeat among its equals");
        assert!(queue.entries.iter().all(|entry| entry.frame.key.seq != 9));
        assert!(rest(&mut queue, Priority::Critical, 1), "one of the others gave way");
        assert_eq!(queue.due(LINK)[Priority::Low], Some(T0));
        assert!(queue.entries.iter().any(|entry| entry.frame.key.seq == 9 && entry.sent == 1));
        let mut empty = AirQueue::<4, 8>::new();
        assert!(!rest(&mut empty, Priority::Low, 3), "nothing was lost");
        assert_eq!((empty.due(LINK)[Priority::Low], empty.due(LinkId(1))[Priority::Low]), (None, Some(T0)));
    }

    #[test]
    fn suppression_spares_the_urgent() {
        for (priority, expected) in [(Priority::Low, Heard::Suppressed), (Priority::High, Heard::Waits)] {
            let mut queue = AirQueue::<4, 8>::new();
            let frame = frame(1, priority);
            let key = frame.key;
            queue.push(T0, frame).unwrap();
            for _ in 0..9 {
                assert_eq!(queue.heard(key, 6, Some(2), None), Heard::Waits, "its sender repeats it");
            }
            assert_eq!(queue.heard(key, 5, Some(2), None), Heard::Waits);
            assert_eq!(queue.heard(key, 4, Some(2), None), expected, "{priority}");
        }
    }

    #[test]
    fn a_higher_ttl_changes_the_waiting_bytes() {
        let mut queue = AirQueue::<4, 8>::new();
        let frame = frame(1, Priority::Low);
        let key = frame.key;
        queue.push(T0, frame).unwrap();
        assert!(queue.raise_ttl(key, 7));
        assert!(!queue.raise_ttl(key, 6));
        let at = queue.pick(T0, LINK, Priority::Low).unwrap();
        assert_eq!(queue.send(T0, LINK, at, Duration::ZERO, |out| out.bytes[1]), 0x70);
    }

    #[test]
    fn what_waits_too_long_is_dropped_exactly_then() {
        let mut queue = AirQueue::<4, 8>::new();
        queue.push(T0, frame(1, Priority::Low)).unwrap();
        assert_eq!(queue.next_expiry(), Some(T0 + WAIT_MAX));
        assert_eq!(queue.expire(T0 + WAIT_MAX - Duration::from_micros(1)), None);
        assert!(queue.expire(T0 + WAIT_MAX).is_some_and(|gone| gone.unsent));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_link_that_loses_nothing_gets_one_copy_and_no_echo_and_is_not_suppressed() {
        const AIR: LinkId = LinkId(0);
        const WIRE: LinkId = LinkId(1);
        let both = |seq| Waiting { links: 0b11, once: 0b10, copies: 2, ..frame(seq, Priority::Low) };
        let later = T0 + Duration::from_secs(1);
        let count = |queue: &mut AirQueue<4, 8>, link| {
            let mut sent = 0;
            while let Some(at) = queue.pick(later, link, Priority::Low) {
                queue.send(T0, link, at, Duration::ZERO, |_| sent += 1);
            }
            sent
        };
        let mut queue = AirQueue::<4, 8>::new();
        queue.push(T0, both(1)).unwrap();
        assert_eq!([count(&mut queue, WIRE), count(&mut queue, AIR), count(&mut queue, WIRE)], [1, 2, 0]);

        queue.push(T0, both(2)).unwrap();
        let key = both(2).key;
        for expected in [Heard::Waits, Heard::Suppressed] {
            assert_eq!(queue.heard(key, 4, Some(2), None), expected);
        }
        assert_eq!(
            [count(&mut queue, AIR), count(&mut queue, WIRE)],
            [0, 1],
            "relays on the air do not reach the wire"
        );

        queue.push(T0, both(3)).unwrap();
        let key = both(3).key;
        (0..9).for_each(|_| assert_eq!(queue.heard(key, 4, Some(2), Some(WIRE)), Heard::Waits));
        assert_eq!([count(&mut queue, AIR), count(&mut queue, WIRE)], [2, 0], "it came from there");

        queue.push_rest(T0, AIR, Duration::ZERO, Waiting { copies: 1, ..both(4) }).unwrap();
        assert_eq!([count(&mut queue, AIR), count(&mut queue, WIRE)], [0, 1]);
        queue.push_rest(T0, WIRE, Duration::ZERO, Waiting { links: 0b10, copies: 3, ..both(5) }).unwrap();
        assert_eq!(queue.len(), 0, "it has had it");
    }
}
