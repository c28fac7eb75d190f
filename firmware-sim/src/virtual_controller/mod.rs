//! A Bluetooth controller on the simulated air, as its host sees it: commands in, events out.
//!
//! Owns what a controller remembers between two commands, and the queue of events to its host. Which commands there are is `commands`'
//! business, what those of legacy and extended advertising and of scanning do that of `legacy`, `extended` and `scanner`, how events
//! are written `events`'. When advertising events start is [`ble_bearer::sim::Controller`]'s business, how packets get here that of
//! [`crate::serve`]. No clock and no IO. Sections are those of the Core Specification 5.4, Volume 4 Part E.

mod advertiser;
mod call;
mod commands;
mod events;
mod extended;
pub mod h4;
mod legacy;
mod scanner;

use std::collections::{BTreeMap, VecDeque};

use ble_bearer::sim::{AdvAddress, Phy, Radio, RadioSpec, Reception, Station, StationId};
use mesh_protocol::{Instant, Rng};

use crate::scenario;
use advertiser::Advertiser;
use call::{Status, Style};
use scanner::Scanner;

/// Events that wait for a host beside reports; more are lost. A guess: a host has one command under way, each set ends once.
const EVENTS_MAX: usize = 128;
/// Events that may wait when one more report is put behind them; else the report is lost, as controllers lose them whose host
/// does not keep up. A guess.
const REPORTS_MAX: usize = 64;
/// The events that a host gets before it has said anything: all of the first page but those of LE (7.3.1).
const EVENT_MASK: u64 = 0x0000_1fff_ffff_ffff;
/// The same for those of LE: the first five (7.8.1).
const LE_EVENT_MASK: u64 = 0x1f;
/// The bit of the LE events in the event mask (7.3.1).
const LE_META: u32 = 61;

/// Which controller it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControllerKind {
    /// As the one on a Raspberry Pi 4: Bluetooth 5.0 without extended advertising, one set.
    #[default]
    Pi4,
    /// A dongle of Bluetooth 5.1 with extended advertising and scanning, four sets.
    Bt5Dongle,
}

impl ControllerKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Pi4, Self::Bt5Dongle];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pi4 => "pi4",
            Self::Bt5Dongle => "bt5-dongle",
        }
    }

    /// Whether it has extended advertising and scanning.
    #[must_use]
    pub const fn is_extended(self) -> bool {
        matches!(self, Self::Bt5Dongle)
    }

    /// How many advertising sets it has. Four of the dongle's are a guess: they have three to sixteen.
    #[must_use]
    pub const fn sets(self) -> usize {
        match self {
            Self::Pi4 => 1,
            Self::Bt5Dongle => 4,
        }
    }

    /// Its radio on the air of a scenario.
    #[must_use]
    pub fn spec(self, radio: &scenario::RadioSettings) -> RadioSpec {
        RadioSpec {
            tx_dbm: radio.tx_dbm,
            sensitivity_dbm: radio.sensitivity_dbm,
            extended: self.is_extended().then_some(Phy::OneM),
            sets: self.sets(),
            reports_sent: true,
            ..RadioSpec::default()
        }
    }
}

/// What a controller has done since the start, for one host after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControllerCounters {
    /// Commands taken.
    pub commands: u64,
    /// Those of them that were answered with an error.
    pub refused: u64,
    /// Adverts reported to the host.
    pub reports: u64,
    /// Frames of the protocol among them.
    pub frames: u64,
    /// Reports left out because the host has seen that advertiser and wants no duplicates.
    pub duplicates: u64,
    /// Events, reports among them, that were lost because the host did not read.
    pub lost: u64,
    /// Packets of data, which belong to no connection.
    pub data: u64,
    /// Hosts that sent something that is no packet.
    pub garbage: u64,
}

/// What came from the host is no packet of H4, or not one that a host sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "reading a packet from the host: byte {0:#04x} starts none; the host must send HCI commands or data as H4"
)]
pub struct Garbage(pub u8);

/// A controller.
#[derive(Debug)]
pub struct VirtualController {
    kind: ControllerKind,
    public: AdvAddress,
    tx_dbm: i8,
    rng: Rng,
    /// Whether its radio knows that nothing is scanned yet.
    started: bool,
    /// Whether the host has sent garbage; then nothing of it is read any more.
    broken: bool,
    event_mask: u64,
    le_event_mask: u64,
    random: Option<[u8; 6]>,
    /// The commands that the host has used since the last reset.
    style: Option<Style>,
    legacy: Advertiser,
    sets: BTreeMap<u8, Advertiser>,
    scanner: Scanner,
    events: VecDeque<Vec<u8>>,
    counters: ControllerCounters,
}

impl VirtualController {
    /// A controller after a reset, at this station; `rng` draws the numbers that its host asks for.
    #[must_use]
    pub fn new(kind: ControllerKind, station: StationId, tx_dbm: i8, rng: Rng) -> Self {
        Self {
            kind,
            public: public_address(station),
            tx_dbm,
            rng,
            started: false,
            broken: false,
            event_mask: EVENT_MASK,
            le_event_mask: LE_EVENT_MASK,
            random: None,
            style: None,
            legacy: Advertiser::legacy(),
            sets: BTreeMap::new(),
            scanner: Scanner::default(),
            events: VecDeque::new(),
            counters: ControllerCounters::default(),
        }
    }

    /// Which it is.
    #[must_use]
    pub const fn kind(&self) -> ControllerKind {
        self.kind
    }

    /// Its public address.
    #[must_use]
    pub const fn public_address(&self) -> AdvAddress {
        self.public
    }

    /// What it has done.
    #[must_use]
    pub const fn counters(&self) -> ControllerCounters {
        self.counters
    }

    /// Takes one whole H4 packet of the host.
    ///
    /// # Errors
    /// [`Garbage`] when it is none: the host gets a hardware error and no packet of it is taken any more, until another
    /// [host comes](Self::power_cycle).
    pub fn packet(&mut self, now: Instant, packet: &[u8], radio: &mut Radio<'_>) -> Result<(), Garbage> {
        let first = packet.first().copied().unwrap_or(0);
        if self.broken {
            return Err(Garbage(first));
        }
        if h4::length(packet) != Ok(Some(packet.len())) {
            self.broken = true;
            self.counters.garbage += 1;
            self.push(events::hardware_error(), EVENTS_MAX);
            return Err(Garbage(first));
        }
        match *packet {
            [h4::COMMAND, low, high, _, ref parameters @ ..] => {
                self.counters.commands += 1;
                self.command(now, u16::from_le_bytes([low, high]), parameters, radio);
            }
            // There are no connections that data could belong to.
            _ => self.counters.data += 1,
        }
        Ok(())
    }

    /// The next event for the host, as an H4 packet.
    pub fn poll_event(&mut self) -> Option<Vec<u8>> {
        self.events.pop_front()
    }

    /// Whether an event waits for the host.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Switched off and on: another host finds it as new, and nothing of the one before is on the air.
    pub fn power_cycle(&mut self, radio: &mut Radio<'_>) {
        self.reset(radio);
        self.events.clear();
        self.broken = false;
    }

    /// What the command Reset does (7.3.2).
    fn reset(&mut self, radio: &mut Radio<'_>) {
        for slot in 0..self.kind.sets() {
            radio.stop(slot);
        }
        radio.scan(None);
        self.event_mask = EVENT_MASK;
        self.le_event_mask = LE_EVENT_MASK;
        self.random = None;
        self.style = None;
        self.legacy = Advertiser::legacy();
        self.sets.clear();
        self.scanner = Scanner::default();
    }

    /// Puts an event behind at most `most` others.
    fn push(&mut self, event: Vec<u8>, most: usize) {
        if self.events.len() < most {
            self.events.push_back(event);
        } else {
            self.counters.lost += 1;
        }
    }

    /// Whether the host wants an LE event.
    const fn wants(&self, subevent: u8) -> bool {
        self.event_mask >> LE_META & 1 == 1 && self.le_event_mask >> (subevent - 1) & 1 == 1
    }

    /// The address that the host says it sends from.
    fn own(&self, random: bool, set: Option<[u8; 6]>) -> Result<AdvAddress, Status> {
        if random {
            let bytes = set.ok_or(Status::INVALID)?;
            return Ok(AdvAddress { bytes, random });
        }
        Ok(self.public)
    }
}

impl Station for VirtualController {
    /// It looks at adverts itself.
    fn receive(&mut self, _now: Instant, _frame: &[u8], _rssi: i8) -> bool {
        false
    }

    fn hear(&mut self, _now: Instant, reception: &Reception<'_>) -> bool {
        self.report(reception)
    }

    fn sent(&mut self, _now: Instant, slot: usize) {
        self.set_sent(slot);
    }

    fn run(&mut self, now: Instant, radio: &mut Radio<'_>) -> Option<Instant> {
        if !self.started {
            self.started = true;
            radio.scan(None);
        }
        self.end_sets(now, radio);
        self.end_scan(now, radio);
        let sets = self.sets.values().filter_map(|set| set.until);
        sets.chain(self.scanner.until).min()
    }
}

/// A public address that nobody was given: locally administered, and the station's number.
const fn public_address(station: StationId) -> AdvAddress {
    let [a, b, c, _] = station.0.to_le_bytes();
    AdvAddress { bytes: [a, b, c, 0x6d, 0x5a, 0x02], random: false }
}
