//! Frames out: which goes next on which link, and the sealing of own ones.

use heapless::Vec;

use super::{Node, OwnControl, Transmit};
use crate::air_queue::Waiting;
use crate::control::{CONTROL_MAX, Control};
use crate::crypto::Mic;
use crate::frame::{Frame, Kind, encode};
use crate::outbox::{NextSegment, SINGLE_MAX};
use crate::seen::FrameKey;
use crate::{Address, Discard, Duration, Instant, LinkId, MAX_FRAME, Priority};

/// Jitter of repeats: an advDelay's worth, so that nodes which sent together do not repeat together.
const REPEAT_JITTER: Duration = Duration::from_millis(10);

/// What an own frame is made of.
#[derive(Clone, Copy)]
enum Own {
    Control(usize),
    Segment(NextSegment),
}

impl<
    const LINKS: usize,
    const SOURCES: usize,
    const PEERS: usize,
    const SEEN: usize,
    const REASM: usize,
    const OUTBOX: usize,
    const QUEUE: usize,
    const FRAME: usize,
    const GROUPS: usize,
> Node<LINKS, SOURCES, PEERS, SEEN, REASM, OUTBOX, QUEUE, FRAME, GROUPS>
{
    /// The next frame to hand to a link, written to `out`.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8; MAX_FRAME]) -> Option<Transmit> {
        for at in 0..self.links.len() {
            let link = self.links[at];
            if link.free_at > now {
                continue;
            }
            let ready = self.classes(now, link.id);
            let Some(class) = link.shares.pick(ready) else { continue };
            let waiting = self.classes(Instant::MAX, link.id);
            if let Some(len) = self.next_frame(now, link.id, class, out) {
                self.links[at].free_at = now + link.info.min_gap;
                self.links[at].shares.served(class, waiting);
                self.stats.frames_sent += 1;
                return Some(Transmit { link: link.id, len, copies: 1 });
            }
        }
        None
    }

    /// Which classes have a frame for `link` that is due by `now`.
    fn classes(&self, now: Instant, link: LinkId) -> [bool; 4] {
        let (own, queued) = (self.own_ready(now), self.queue.ready(now, link));
        core::array::from_fn(|class| queued[class] || own[class])
    }

    fn next_frame(
        &mut self,
        now: Instant,
        link: LinkId,
        class: Priority,
        out: &mut [u8; MAX_FRAME],
    ) -> Option<usize> {
        // Own frames and relays of one class take turns; a repeat lets everything that is new go before it.
        let only_repeats = self.queue.pick(now, link, class).is_none_or(|at| self.queue.is_repeat(at));
        let own_first = self.own_ready(now)[class as usize] && (self.own_turn || only_repeats);
        let len = if own_first {
            self.send_own(now, link, class, out)
        } else {
            self.send_waiting(now, link, class, out)
        };
        if len.is_some() {
            self.own_turn = !own_first;
        }
        len
    }

    fn own_ready(&self, now: Instant) -> [bool; 4] {
        if !self.can_seal() {
            return [false; 4];
        }
        let mut ready = self.outbox.ready(now);
        for own in &self.controls {
            ready[own.priority as usize] = true;
        }
        ready
    }

    fn send_waiting(
        &mut self,
        now: Instant,
        link: LinkId,
        class: Priority,
        out: &mut [u8; MAX_FRAME],
    ) -> Option<usize> {
        let at = self.queue.pick(now, link, class)?;
        let jitter = self.rng.jitter(REPEAT_JITTER);
        let (len, relayed, repeat) = self.queue.send(now, link, at, jitter, |frame| {
            out[..frame.bytes.len()].copy_from_slice(frame.bytes);
            (frame.bytes.len(), frame.relayed, frame.repeat)
        });
        self.stats.frames_relayed += u64::from(relayed);
        self.stats.repeats_sent += u64::from(repeat);
        Some(len)
    }

    /// Seals an own frame: only now, when it leaves, does it take its SEQ.
    fn send_own(
        &mut self,
        now: Instant,
        link: LinkId,
        class: Priority,
        out: &mut [u8; MAX_FRAME],
    ) -> Option<usize> {
        let own = self
            .controls
            .iter()
            .position(|own| own.priority == class)
            .map(Own::Control)
            .or_else(|| self.outbox.pick(now, class).map(Own::Segment))?;
        let mut body = [0; SINGLE_MAX];
        let (len, kind, mic, dst, ttl) = match own {
            Own::Control(at) => {
                let OwnControl { destination, control, again, .. } = *self.controls.iter().nth(at)?;
                let mut bytes = [0; CONTROL_MAX];
                let len = control.write(&mut bytes);
                body[..len].copy_from_slice(&bytes[..len]);
                let direct = match control {
                    // A hello is for those who hear it, and no one else.
                    Control::Hello { .. } => true,
                    Control::Ack(_) | Control::Receipt { .. } => self.direct(now, destination, class, again),
                    Control::WhoHas(_) | Control::Here(_) => false,
                };
                let ttl = if direct { 1 } else { self.ttl };
                (len, Kind::Control, Mic::Long, destination, ttl)
            }
            Own::Segment(next) => {
                let (len, single, delivery) = self.outbox.body(next, &mut body)?;
                let kind = if single { Kind::Single } else { Kind::Segment };
                let direct = self.direct(now, delivery.destination, class, self.outbox.again(next));
                let ttl = if direct { 1 } else { self.ttl };
                (len, kind, Mic::Short, delivery.destination, ttl)
            }
        };
        let seq = self.seq.take().ok()?;
        let frame = Frame {
            ttl,
            ttl0: ttl,
            seq,
            src: self.address,
            dst,
            next: None,
            priority: class,
            kind,
            mic,
            body: &body[..len],
        };
        // Every field is in range by construction; a frame that could not be encoded is not sent.
        let sealed = encode(&frame, self.keys.current(), out).ok()?;
        match own {
            Own::Control(at) => self.forget_control(at),
            Own::Segment(next) => {
                let attempts = self.outbox.attempts(next);
                let timeout = self.paths.timeout(dst, class, self.ttl, attempts);
                self.stats.retransmissions += u64::from(self.outbox.sent(now, next, timeout, ttl > 1));
            }
        }
        self.keep_rest(now, link, class, seq, ttl, &out[..sealed]);
        Some(sealed)
    }

    /// Whether an own frame goes to its destination and no further: a neighbour that hears this node well needs no one
    /// to pass it on. What is said `again` may be so because that is no longer true, and the urgent take every way.
    fn direct(&self, now: Instant, to: Address, class: Priority, again: bool) -> bool {
        !again && class != Priority::Critical && self.neighbours.hears_well(now, to, self.hello_count)
    }

    /// Keeps what is left to do of a frame that `link` is about to have: other links, further copies.
    fn keep_rest(&mut self, now: Instant, link: LinkId, class: Priority, seq: u32, ttl: u8, sealed: &[u8]) {
        let Ok(bytes) = Vec::from_slice(sealed) else {
            return;
        };
        let waiting = Waiting {
            key: FrameKey { src: self.address, epoch: self.epoch(), seq },
            bytes,
            priority: class,
            ttl,
            relayed: false,
            due: now,
            links: self.links_for(sealed.len()),
            copies: own_copies(self.neighbours.alive(now), class, ttl),
        };
        let jitter = self.rng.jitter(REPEAT_JITTER);
        if self.queue.push_rest(now, link, jitter, waiting) {
            self.stats.count(Discard::QueueFull);
        }
    }
}

/// How often to send an own frame: nobody else can do it, so the urgent go once or twice more than a relay would send
/// them. The third copy of CRITICAL takes its 99th percentile down by a tenth (`mesh-sim run scenarios/bulk.toml`).
///
/// What goes to direct neighbours only goes once: a hello measures what arrives, and anything else is for one that has
/// been measured to hear it. HIGH goes twice, or its 99th percentile rises by half where frames are lost
/// (`mesh-sim run scenarios/office.toml`).
const fn own_copies(alive: usize, priority: Priority, ttl: u8) -> u8 {
    if ttl == 1 {
        return if let Priority::High = priority { 2 } else { 1 };
    }
    match alive {
        0..=5 => 3,
        _ => match priority {
            Priority::Critical => 3,
            Priority::High => 2,
            _ => 1,
        },
    }
}
