//! Questions of agents to nodes: ping and trace, and what came of them.
//!
//! Owns who waits for which answer and until when, and how many are on the air. Full, or asked too fast: the question is refused.

use mesh_agent::api::{AskNode, ErrorCode, Event, NodePong, Refusal, Trace, TraceHop};
use mesh_protocol::{Address, Duration, Instant, TracedHop};

use crate::agents::SessionId;

/// Questions that wait for answers at a time, of all agents. A guess: a few people who look at a few nodes.
const WAITING: usize = 16;
/// Questions at once, and the time in which one more may be asked. Each may be flooded, and be answered by all on its way. Guesses.
const AT_ONCE: u64 = 4;
const EVERY: Duration = Duration::from_millis(200);
/// How long a trace waits for answers of nodes on the way after the end has answered: those that stand nearer were asked first.
const REST: Duration = Duration::from_millis(500);

/// What a node is asked.
#[derive(Debug)]
pub(super) enum Asked {
    Ping,
    Trace { hops: Vec<TraceHop>, reached: bool },
}

#[derive(Debug)]
struct Waiting {
    session: SessionId,
    reference: Option<u64>,
    node: Address,
    number: u16,
    began: Instant,
    until: Instant,
    asked: Asked,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Probes {
    waiting: Vec<Waiting>,
    numbers: u16,
    /// When all that were asked have had their time, one after the other.
    paced_until: Instant,
}

impl Probes {
    /// A question to be sent, under which number; or why not now.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        session: SessionId,
        ask: AskNode,
        asked: Asked,
    ) -> Result<u16, Refusal> {
        let paced_until = self.paced_until.max(now) + EVERY;
        if self.waiting.len() >= WAITING || paced_until.since(now) > EVERY.times(AT_ONCE) {
            let why = format!("cannot ask {}: too many questions to nodes at a time", ask.node);
            return Err(Refusal::new(ErrorCode::Busy, why).hint("ask again in a second"));
        }
        let number = self.number();
        self.paced_until = paced_until;
        self.waiting.push(Waiting {
            session,
            reference: ask.reference,
            node: ask.node,
            number,
            began: now,
            until: now + Duration::from_millis(ask.timeout_ms.into()),
            asked,
        });
        Ok(number)
    }

    /// A number for a question of the gateway's own.
    pub(super) const fn number(&mut self) -> u16 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }

    /// An answer to a ping: who waited for it, and what is said.
    pub(super) fn pong(
        &mut self,
        now: Instant,
        source: Address,
        number: u16,
        hops: u8,
    ) -> Option<(SessionId, Event)> {
        let at = self.waiting.iter().position(|waiting| {
            waiting.number == number && waiting.node == source && matches!(waiting.asked, Asked::Ping)
        })?;
        let Waiting { session, reference, node, began, .. } = self.waiting.remove(at);
        let round_trip_us = Some(now.since(began).as_micros());
        Some((session, Event::NodePong(NodePong { reference, node, round_trip_us, hops: Some(hops) })))
    }

    /// A node on the way of a trace has answered. Numbers are longer here than on the air.
    pub(super) fn traced(&mut self, now: Instant, source: Address, hop: TracedHop) {
        for waiting in &mut self.waiting {
            let Asked::Trace { hops, reached } = &mut waiting.asked else { continue };
            if waiting.number as u8 != hop.id
                || hops.iter().any(|known| known.hop == hop.hop && known.node == source)
            {
                continue;
            }
            hops.push(TraceHop {
                hop: hop.hop,
                node: source,
                next_hop: hop.next.is_node().then_some(hop.next),
                link: (hop.quality > 0).then(|| f32::from(hop.quality) / 255.0),
                after_us: now.since(waiting.began).as_micros(),
                keeps: hop.keeps,
            });
            if source == waiting.node {
                *reached = true;
                // Whoever stands before the end and has not answered yet is given a moment.
                let whole = (0..hop.hop).all(|at| hops.iter().any(|known| known.hop == at));
                waiting.until = waiting.until.min(now + if whole { Duration::ZERO } else { REST });
            }
        }
    }

    /// What is over by now, and what is said of it.
    pub(super) fn over(&mut self, now: Instant) -> Vec<(SessionId, Event)> {
        let over = self.waiting.extract_if(.., |waiting| waiting.until <= now);
        over.map(|waiting| {
            let Waiting { session, reference, node, asked, .. } = waiting;
            let event = match asked {
                Asked::Ping => Event::NodePong(NodePong { reference, node, round_trip_us: None, hops: None }),
                Asked::Trace { mut hops, reached } => {
                    hops.sort_by_key(|hop| hop.hop);
                    Event::Trace(Trace { reference, node, reached, hops })
                }
            };
            (session, event)
        })
        .collect()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Address = Address::new(4);

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn ask(timeout_ms: u32) -> AskNode {
        AskNode { reference: Some(1), node: END, timeout_ms }
    }

    fn hop(id: u16, hop: u8, next: u16) -> TracedHop {
        TracedHop { id: id as u8, hop, keeps: false, next: Address::new(next), quality: 255 }
    }

    #[test]
    fn a_ping_is_answered_once_by_its_node_or_by_its_time() {
        let mut probes = Probes::default();
        let first = probes.ask(at(0), SessionId(1), ask(500), Asked::Ping).unwrap();
        let second = probes.ask(at(200), SessionId(2), ask(500), Asked::Ping).unwrap();
        assert_eq!(probes.next_timeout(), Some(at(500)));
        assert!(probes.pong(at(210), Address::new(9), first, 1).is_none(), "another node");
        let (session, event) = probes.pong(at(210), END, first, 3).unwrap();
        let pong = NodePong { reference: Some(1), node: END, round_trip_us: Some(210_000), hops: Some(3) };
        assert_eq!((session, event), (SessionId(1), Event::NodePong(pong)));
        assert!(probes.pong(at(211), END, first, 3).is_none(), "once");
        assert!(probes.over(at(699)).is_empty());
        let over = probes.over(at(700));
        assert!(matches!(over[..], [(SessionId(2), Event::NodePong(NodePong { round_trip_us: None, .. }))]));
        assert!(probes.pong(at(701), END, second, 1).is_none() && probes.next_timeout().is_none());
    }

    #[test]
    fn a_trace_is_over_when_every_hop_has_answered_or_a_moment_after_its_end() {
        let trace = || Asked::Trace { hops: Vec::new(), reached: false };
        let mut probes = Probes::default();
        let id = probes.ask(at(0), SessionId(1), ask(3_000), trace()).unwrap();
        probes.traced(at(0), Address::new(1), hop(id, 0, 2));
        probes.traced(at(40), END, hop(id, 2, 0));
        assert!(probes.over(at(40)).is_empty(), "hop 1 is missing");
        probes.traced(at(60), Address::new(2), hop(id, 1, 4));
        probes.traced(at(61), Address::new(2), hop(id, 1, 4));
        assert_eq!(probes.next_timeout(), Some(at(540)));
        let over = probes.over(at(540));
        let [(_, Event::Trace(trace))] = &over[..] else { panic!("{over:?}") };
        assert!(trace.reached);
        let hops: Vec<_> = trace.hops.iter().map(|hop| (hop.hop, hop.node.bits(), hop.after_us)).collect();
        assert_eq!(hops, [(0, 1, 0), (1, 2, 60_000), (2, 4, 40_000)]);
    }

    #[test]
    fn questions_are_few() {
        let mut probes = Probes::default();
        for _ in 0..AT_ONCE {
            probes.ask(at(0), SessionId(1), ask(9_000), Asked::Ping).unwrap();
        }
        for n in 1..=WAITING as u64 - AT_ONCE {
            let too_fast = probes.ask(at(200 * n - 1), SessionId(1), ask(9_000), Asked::Ping);
            assert_eq!(too_fast.unwrap_err().code, ErrorCode::Busy);
            probes.ask(at(200 * n), SessionId(1), ask(9_000), Asked::Ping).unwrap();
        }
        let full = probes.ask(at(8_000), SessionId(1), ask(9_000), Asked::Ping);
        assert_eq!(full.unwrap_err().code, ErrorCode::Busy);
    }
}
