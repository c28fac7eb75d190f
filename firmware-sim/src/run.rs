//! A run: messages between the two ends of a field, and what became of them.
//!
//! Owns one simple scenario, in which both ends are devices like the others: no sockets, no disk, so that the same
//! seed gives the same trace on every machine.

use std::collections::BTreeMap;

use ble_bearer::sim::{AirCounters, AirSettings, Observer, Station, StationId, World};
use mesh_protocol::{
    Address, Duration, Envelope, Instant, MessageId, MessageType, NetKey, Outcome, Priority, Rng,
};
use serde::Serialize;

use crate::device::letter;
use crate::{Device, DeviceConfig, Layout, Network, Trace};

/// The mesh has this long to find itself before the first message.
const SETTLE: Duration = Duration::from_secs(10);

/// When a message is no longer wanted.
const DEADLINE: Duration = Duration::from_secs(120);

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Run {
    /// Relays between the two ends, 1 to 1,000.
    pub nodes: u16,
    /// Where they stand, what gets lost, and every jitter.
    pub seed: u64,
    /// Simulated seconds after the mesh has settled.
    pub seconds: u64,
    /// Messages from the western end to the eastern end, spread over that time, priorities in turn.
    pub messages: u32,
    /// Bytes of each message's body.
    pub body: usize,
    /// Bytes of one LOW message besides, sent first; 0 for none.
    pub bulk: usize,
    /// Advertising events lost on each link, in a million.
    pub loss_ppm: u32,
}

impl Default for Run {
    fn default() -> Self {
        Self { nodes: 50, seed: 1, seconds: 60, messages: 100, body: 24, bulk: 0, loss_ppm: 100_000 }
    }
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Relays.
    pub nodes: u16,
    /// The seed.
    pub seed: u64,
    /// Hash of everything sent and heard.
    pub trace: String,
    /// Messages sent.
    pub sent: u32,
    /// Of these, messages the eastern end has.
    pub delivered: u32,
    /// What the sender was told, by outcome.
    pub outcomes: BTreeMap<String, u32>,
    /// One-way latency in milliseconds, by priority: median and 99th percentile.
    pub latency_ms: BTreeMap<String, [f64; 2]>,
    /// Hops of the delivered messages, on average.
    pub hops: f64,
    /// Seconds the large message took; `None` if there was none, or it did not arrive.
    pub bulk_s: Option<f64>,
    /// Advertising events of all nodes for each message.
    pub frames_per_message: f64,
    /// Simulated time.
    pub simulated_ms: u64,
    /// What the air counted.
    pub air: BTreeMap<String, u64>,
    /// What the nodes discarded, all together, by reason.
    pub discards: BTreeMap<String, u64>,
}

impl Run {
    /// Runs it.
    #[must_use]
    pub fn execute(&self) -> Report {
        let network = Network::random(self.seed);
        let layout = Layout::field(self.nodes, self.seed);
        let mut world = World::with_observer(
            self.seed,
            network.topology(self.loss_ppm),
            AirSettings::default(),
            Trace::default(),
        );
        let key = NetKey::new(network.key());
        let mut seeds = Rng::stream(self.seed, "gateways");
        let [west, east] = [0, 1].map(|end: u16| {
            let address = network.gateway_address(end);
            let config = DeviceConfig { gateway: true, ..DeviceConfig::new(address, seeds.next_u64()) };
            let device = Device::new(Instant::ZERO, config, &key, network.epoch());
            world.add(layout.gateways[usize::from(end)], device)
        });
        network.populate(&mut world, &layout, self.seed);

        let gap = Duration::from_micros(self.seconds * 1_000_000 / u64::from(self.messages.max(1)));
        let start = Instant::ZERO + SETTLE;
        let mut sent = BTreeMap::new();
        world.advance(start);
        let settled = world.observer().transmitted;
        let mut bulk = None;
        if self.bulk > 0 {
            bulk = Some(post(&mut world, west, network.gateway_address(1), Priority::Low, self.bulk));
        }
        for n in 0..self.messages {
            let at = start + gap.times(u64::from(n));
            world.advance(at);
            let priority = Priority::ALL[n as usize % 4];
            let id = post(&mut world, west, network.gateway_address(1), priority, self.body);
            sent.insert(id, (at, priority));
        }
        let end = start + Duration::from_secs(self.seconds) + DEADLINE;
        let outcomes = self.messages as usize + usize::from(bulk.is_some());
        while world.now() < end
            && world.station(west).is_some_and(|device| device.outcomes().len() < outcomes)
        {
            let next = world.now() + Duration::from_millis(100);
            world.advance(next);
        }
        self.report(&world, [west, east], &sent, bulk.map(|id| (id, start)), settled)
    }

    fn report(
        &self,
        world: &World<Device, Trace>,
        [west, east]: [StationId; 2],
        sent: &BTreeMap<MessageId, (Instant, Priority)>,
        bulk: Option<(MessageId, Instant)>,
        settled: u64,
    ) -> Report {
        let delivered = world.station(east).map(Device::delivered).unwrap_or_default();
        let mut latencies: BTreeMap<Priority, Vec<u64>> = BTreeMap::new();
        for message in delivered {
            if let Some((at, priority)) = sent.get(&message.id) {
                latencies.entry(*priority).or_default().push(message.at.since(*at).as_micros());
            }
        }
        let latency_ms = latencies
            .into_iter()
            .map(|(priority, mut all)| {
                all.sort_unstable();
                let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize] as f64 / 1_000.0;
                (priority.name().to_owned(), [at(0.5), at(0.99)])
            })
            .collect();
        let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
        for (_, _, outcome) in world.station(west).map(Device::outcomes).unwrap_or_default() {
            let name = match outcome {
                Outcome::Delivered => "delivered",
                Outcome::Unknown => "unknown",
                Outcome::Expired => "expired",
                _ => "other",
            };
            *outcomes.entry(name.to_owned()).or_default() += 1;
        }
        let mut discards: BTreeMap<String, u64> = BTreeMap::new();
        for n in 0..world.len() as u32 {
            if let Some(device) = world.station(StationId(n)) {
                for (why, count) in device.stats().discards().filter(|(_, count)| *count > 0) {
                    *discards.entry(why.name().to_owned()).or_default() += count;
                }
            }
        }
        let bulk_s = bulk.and_then(|(id, at)| {
            let arrived = delivered.iter().find(|message| message.id == id)?;
            Some(arrived.at.since(at).as_millis() as f64 / 1e3)
        });
        let hops: f64 = delivered.iter().map(|message| f64::from(message.hops)).sum();
        let trace = world.observer();
        let per = |total: f64, of: usize| if of == 0 { 0.0 } else { total / of as f64 };
        Report {
            nodes: self.nodes,
            seed: self.seed,
            trace: trace.digest(),
            sent: self.messages,
            delivered: delivered.iter().filter(|message| sent.contains_key(&message.id)).count() as u32,
            outcomes,
            latency_ms,
            bulk_s,
            hops: per(hops, delivered.len()),
            frames_per_message: per((trace.transmitted - settled) as f64, delivered.len()),
            simulated_ms: world.now().as_micros() / 1_000,
            air: air_counters(world),
            discards,
        }
    }
}

fn post(
    world: &mut World<Device, Trace>,
    from: StationId,
    to: Address,
    priority: Priority,
    body: usize,
) -> MessageId {
    let body = vec![b'x'; body];
    let envelope = Envelope {
        kind: MessageType::Notification,
        deadline_ms: None,
        from: "",
        to: "",
        processed: false,
        reply_to: None,
        text: true,
        body: &body,
    };
    let letter = letter(to, priority, DEADLINE, &envelope);
    world.poke(from, |device, _, _| device.post(letter)).unwrap_or_default()
}

pub(crate) fn air_counters<S: Station, O: Observer<S>>(world: &World<S, O>) -> BTreeMap<String, u64> {
    let AirCounters { events, airtime_us, heard, boundary, half_duplex, collision, weak, link_loss, cut } =
        world.counters();
    [
        ("events", events),
        ("airtime_us", airtime_us),
        ("heard", heard),
        ("lost_boundary", boundary),
        ("lost_half_duplex", half_duplex),
        ("lost_collision", collision),
        ("lost_weak", weak),
        ("lost_link", link_loss),
        ("lost_cut", cut),
    ]
    .map(|(name, count)| (name.to_owned(), count))
    .into()
}
