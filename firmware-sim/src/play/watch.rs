//! Observes a run: who sent and heard how much, why, and what reached applications.
//!
//! Owns the observation and the trace. Decides nothing and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ble_bearer::sim::{CHANNELS, Observer, RadioSpec, Reception, Shape, StationId};
use mesh_protocol::Instant;

use super::mark::{MARK_EVERY, Mark};
use super::ways::Ways;
use crate::Trace;
use crate::capture::{Capture, Pdu, PduKind};
use crate::results::{RunResult, TimelineStep};
use crate::stack::mesh::FrameKeys;
use crate::stack::{Arrival, Completion, StackKind, StackNode};
use crate::world::Network;

/// Steps of a timeline that are kept. A guess: more do not fit a page.
const STEPS: usize = 400;

/// One message to be followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follow {
    from: u32,
    to: u32,
    start: Instant,
    end: Instant,
}

impl Follow {
    /// The first message of a run that came the most hops to one node.
    pub(super) fn most_hops(result: &RunResult) -> Option<Self> {
        let came = result.messages.iter().filter(|message| message.to.is_some() && message.hops.is_some());
        let most = came.clone().map(|message| message.hops).max()?;
        let message =
            came.filter(|message| message.hops == most).find(|message| message.delivered_us.is_some())?;
        Some(Self {
            from: message.from,
            to: message.to?,
            start: Instant::from_micros(message.sent_us?),
            end: Instant::from_micros(message.delivered_us?),
        })
    }
}

/// What is recorded beside the figures.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) follow: Option<Follow>,
    pub(super) marks: bool,
    pub(super) capture: Option<Sniffer>,
    /// The ways of frames; followed if it is there.
    pub(super) ways: Option<Ways>,
}

/// Writes a capture.
#[derive(Debug)]
pub(super) struct Sniffer {
    file: Capture<Vec<u8>>,
    /// Where it stands; `None`: everywhere, and writes each event once.
    at: Option<u32>,
    last: BTreeSet<(Instant, u32)>,
    failed: Option<io::Error>,
}

impl Sniffer {
    pub(super) fn new(at: Option<u32>) -> io::Result<Self> {
        Ok(Self { file: Capture::new(Vec::new())?, at, last: BTreeSet::new(), failed: None })
    }

    fn heard(&mut self, heard: &Reception<'_>, ad_type: &[u8], shape: Shape) {
        match self.at {
            Some(at) if at != heard.to.0 => return,
            _ => {}
        }
        let n = heard.channel.checked_sub(37).map_or(CHANNELS, usize::from);
        // One event is known by when it started.
        if self.at.is_none() && !self.last.insert((heard.end - shape.until_end(n), heard.from.0)) {
            return;
        }
        // Receptions of one PDU reach their hosts at the same moment: older ones do not come again.
        while self.last.len() > 64 {
            self.last.pop_first();
        }
        let mut adv_data = vec![(heard.frame.len() + ad_type.len()) as u8];
        adv_data.extend_from_slice(ad_type);
        adv_data.extend_from_slice(heard.frame);
        let (length, kind) = match shape.auxiliary() {
            Some(auxiliary) => (auxiliary, PduKind::Aux),
            None => (shape.primary(), PduKind::Legacy),
        };
        let pdu = Pdu {
            at: heard.end - length,
            channel: heard.channel,
            rssi_dbm: heard.rssi,
            sender: heard.from.0,
            adv_data: &adv_data,
            kind,
        };
        if let Err(error) = self.file.pdu(&pdu) {
            self.failed.get_or_insert(error);
        }
    }
}

/// An event, and the number of the node that it happened at.
pub type At<T> = (u32, T);

/// What one node did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NodeActivity {
    pub(super) sent: u64,
    pub(super) airtime_us: u64,
    pub(super) heard: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Watch {
    stack: StackKind,
    /// By number of the node; attackers behind them have the last one.
    specs: Vec<RadioSpec>,
    keys: FrameKeys,
    trace: Trace,
    nodes: Vec<NodeActivity>,
    /// For each receiver, how often it heard each sender.
    links: Vec<BTreeMap<u32, u64>>,
    airtime: BTreeMap<&'static str, u64>,
    /// The same from this moment on.
    settled: Instant,
    settled_airtime: BTreeMap<&'static str, u64>,
    arrivals: Vec<At<Arrival>>,
    completions: Vec<At<Completion>>,
    extras: Extras,
    marks: Vec<Mark>,
    steps: Vec<TimelineStep>,
    followed: BTreeSet<u32>,
}

impl Watch {
    /// `specs` are the radios by number of the node, and behind them that of all others.
    pub(super) fn new(stack: StackKind, network: &Network, specs: Vec<RadioSpec>, extras: Extras) -> Self {
        Self {
            stack,
            specs,
            keys: FrameKeys::new(network),
            trace: Trace::default(),
            nodes: Vec::new(),
            links: Vec::new(),
            airtime: BTreeMap::new(),
            settled: Instant::ZERO,
            settled_airtime: BTreeMap::new(),
            arrivals: Vec::new(),
            completions: Vec::new(),
            extras,
            marks: Vec::new(),
            steps: Vec::new(),
            followed: BTreeSet::new(),
        }
    }

    /// From when on [`settled_airtime`](Self::settled_airtime) counts.
    pub(super) fn settled(self, at: Instant) -> Self {
        Self { settled: at, ..self }
    }

    /// A watch of a network of our own stack with such radios, whose key follows from the seed.
    #[must_use]
    pub fn ours(seed: u64, spec: RadioSpec) -> Self {
        Self::new(StackKind::Mesh, &Network::random(seed), vec![spec], Extras::default())
    }

    /// The advertising event in which a station sends a frame of so many bytes.
    fn shape(&self, from: StationId, frame: usize) -> Shape {
        let spec = self.specs.get(from.0 as usize).or(self.specs.last());
        spec.map_or(Shape::Legacy(0), |spec| spec.shape(frame))
    }

    pub(super) const fn stack(&self) -> StackKind {
        self.stack
    }

    /// Everything on the air so far.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(super) const fn events(&self) -> u64 {
        self.trace.events()
    }

    pub(super) fn into_marks(self) -> Vec<Mark> {
        self.marks
    }

    pub(super) fn into_capture(self) -> io::Result<Vec<u8>> {
        match self.extras.capture {
            None => Ok(Vec::new()),
            Some(Sniffer { failed: Some(error), .. }) => Err(error),
            Some(sniffer) => sniffer.file.finish(),
        }
    }

    fn mark(&mut self, now: Instant) {
        let events = self.trace.events();
        if self.extras.marks && events.is_multiple_of(MARK_EVERY) {
            self.marks.push(Mark { events, at_us: now.as_micros(), trace: self.trace.digest() });
        }
    }

    /// Whether anything has reached applications, or anything was reported to senders, since last taken.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.arrivals.is_empty() || !self.completions.is_empty()
    }

    /// What reached applications and what was reported to senders since last taken, and at which nodes.
    pub fn take(&mut self) -> (Vec<At<Arrival>>, Vec<At<Completion>>) {
        (std::mem::take(&mut self.arrivals), std::mem::take(&mut self.completions))
    }

    pub(super) fn node(&self, number: u32) -> NodeActivity {
        self.nodes.get(number as usize).copied().unwrap_or_default()
    }

    /// Sender, receiver and how often it was heard, in order.
    pub(super) fn links(&self) -> impl Iterator<Item = ((u32, u32), u64)> {
        let mut all = BTreeMap::new();
        for (to, heard) in (0..).zip(&self.links) {
            all.extend(heard.iter().map(|(from, count)| ((*from, to), *count)));
        }
        all.into_iter()
    }

    pub(super) const fn ways(&self) -> Option<&Ways> {
        self.extras.ways.as_ref()
    }

    pub(super) fn airtime(&self) -> BTreeMap<String, u64> {
        named(&self.airtime)
    }

    pub(super) fn settled_airtime(&self) -> BTreeMap<String, u64> {
        named(&self.settled_airtime)
    }

    pub(super) fn digest(&self) -> String {
        self.trace.digest()
    }

    pub(super) fn timeline(&self) -> Vec<TimelineStep> {
        self.steps.clone()
    }

    fn seen(&mut self, station: StationId) -> &mut NodeActivity {
        let index = station.0 as usize;
        if self.nodes.len() <= index {
            self.nodes.resize(index + 1, NodeActivity::default());
            self.links.resize(index + 1, BTreeMap::new());
        }
        &mut self.nodes[index]
    }

    /// Records one step if it belongs to the message that is followed.
    fn follow(
        &mut self,
        now: Instant,
        node: StationId,
        what: &str,
        frame: &[u8],
        detail: impl FnOnce() -> String,
    ) {
        let Some(follow) = self.extras.follow else { return };
        if now < follow.start || now > follow.end || self.steps.len() >= STEPS {
            return;
        }
        let route = self.stack.route(&self.keys, frame);
        // What a node hears again is no step of the message.
        if route != Some((follow.from, follow.to)) || (what == "heard" && !self.followed.insert(node.0)) {
            return;
        }
        let (at_us, what) = (now.as_micros(), what.to_owned());
        self.steps.push(TimelineStep { at_us, node: node.0, what, detail: detail() });
    }

    /// A step at the followed message's ends.
    fn end(&mut self, at: Instant, node: u32, what: &str, detail: String) {
        let Some(follow) = self.extras.follow else { return };
        let moment = if what == "posted" { follow.start } else { follow.end };
        if at == moment && (node == follow.from || node == follow.to) {
            let (at_us, what) = (at.as_micros(), what.to_owned());
            self.steps.push(TimelineStep { at_us, node, what, detail });
        }
    }

    /// A message was posted.
    pub(super) fn posted(&mut self, now: Instant, from: u32, to: Option<u32>) {
        if self.extras.follow.is_some_and(|follow| Some(follow.to) == to) {
            self.end(now, from, "posted", to.map(|to| format!("to {to}")).unwrap_or_default());
        }
    }
}

fn named(airtime: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    airtime.iter().map(|(cause, micros)| ((*cause).to_owned(), *micros)).collect()
}

impl<S: StackNode> Observer<S> for Watch {
    fn transmitted(&mut self, now: Instant, from: StationId, frame: &[u8]) {
        self.trace.sent(now, from, frame);
        self.mark(now);
        let airtime = self.shape(from, frame.len()).busy().as_micros();
        let seen = self.seen(from);
        seen.sent += 1;
        seen.airtime_us += airtime;
        let cause = self.stack.cause(&self.keys, from.0, frame);
        *self.airtime.entry(cause).or_default() += airtime;
        if now >= self.settled {
            *self.settled_airtime.entry(cause).or_default() += airtime;
        }
        self.follow(now, from, "sent", frame, || cause.to_owned());
        if let Some(ways) = &mut self.extras.ways {
            ways.sent(now, from.0, frame, self.stack.origin(&self.keys, frame));
        }
    }

    fn received(&mut self, now: Instant, heard: &Reception<'_>) {
        self.trace.heard(now, heard);
        self.mark(now);
        let shape = self.shape(heard.from, heard.frame.len());
        if let Some(sniffer) = &mut self.extras.capture {
            sniffer.heard(heard, self.stack.ad_type(), shape);
        }
        if let Some(ways) = &mut self.extras.ways {
            ways.heard(now, heard.from.0, heard.to.0, heard.frame);
        }
        self.seen(heard.to).heard += 1;
        *self.links[heard.to.0 as usize].entry(heard.from.0).or_default() += 1;
        let detail = || format!("from {} on channel {} at {} dBm", heard.from.0, heard.channel, heard.rssi);
        self.follow(now, heard.to, "heard", heard.frame, detail);
    }

    fn ran(&mut self, _now: Instant, id: StationId, station: &mut S) {
        for arrival in station.arrivals() {
            if let Some(ways) = &mut self.extras.ways {
                ways.arrived(id.0, &arrival);
            }
            self.end(arrival.at, id.0, "delivered", format!("after {} hops", arrival.hops));
            self.arrivals.push((id.0, arrival));
        }
        self.completions.extend(station.completions().into_iter().map(|completion| (id.0, completion)));
    }
}
