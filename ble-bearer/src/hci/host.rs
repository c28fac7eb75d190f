//! The host's side of one controller: setting it up, advertising, listening, and recovery it.
//!
//! Owns the one command that may be under way. A state machine without clock and without IO: whoever runs it passes packets
//! in and out, asks [`Host::poll_timeout`] when to come back, and opens the transport again when [`Host::poll_reopen`] says so.
//! What follows trouble is in `recovery`.

pub(super) mod recovery;

use std::collections::VecDeque;

use mesh_protocol::{Duration, Instant, LEGACY_FRAME, LinkInfo};

use super::adv_data::{AdvData, frame_within};
use super::advertiser::Advertiser;
use super::command::{self, Command, StaticAddress, name};
use super::event::{self, Event};
use super::options::{COMMAND_TIMEOUT, HciOptions, Scan};
use super::pace::Pace;
use super::packet::Packet;
use super::parts::Parts;
use super::setup::{Adapter, Setup, rescan};
use crate::{AdapterState, BearerEvent, FrameBytes, Full, Health, RADIO_LINK};
use recovery::{RecoveryLevel, SILENCE, SILENCE_MOST};

/// Frames kept for a reader that is late.
const BACKLOG: usize = 256;

/// What the host is at.
#[derive(Debug)]
enum Phase {
    /// No transport.
    Closed,
    /// The controller is being set up.
    Setup(Box<Setup>),
    /// It can be used.
    Up(Box<Advertiser>),
}

/// Who issued the command that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Issuer {
    Setup,
    Advertiser,
    Recovery,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    opcode: u16,
    issuer: Issuer,
    since: Instant,
}

/// Whether a command starts or stops scanning.
fn scans(opcode: u16) -> bool {
    [command::set_scan_enable(true), command::set_ext_scan_enable(true)]
        .iter()
        .any(|scan| scan.opcode == opcode)
}

/// See the module.
#[derive(Debug)]
pub(super) struct Host {
    options: HciOptions,
    scan: Scan,
    phase: Phase,
    outstanding: Option<Outstanding>,
    /// Commands that the controller will take, and since when it takes none.
    credits: u8,
    starved: Option<Instant>,
    /// Commands of a recovery, before any of the advertiser's.
    recovery: VecDeque<Command>,
    events: VecDeque<BearerEvent>,
    parts: Parts,
    reopen: Option<String>,
    link_up: bool,
    pace: Pace,
    /// What the link said last that it can do.
    info: Option<LinkInfo>,
    /// The last recovery: when, and how deep.
    last: Option<(Instant, RecoveryLevel)>,
    silent_since: Instant,
    silence: Duration,
    adapter: Option<Adapter>,
    health: Health,
}

impl Host {
    /// A host without a transport yet.
    #[must_use]
    pub(super) fn new(options: HciOptions) -> Self {
        Self {
            options,
            scan: Scan { duty: options.scan_duty, ..Scan::default() },
            phase: Phase::Closed,
            outstanding: None,
            credits: 1,
            starved: None,
            recovery: VecDeque::new(),
            events: VecDeque::new(),
            parts: Parts::default(),
            reopen: None,
            link_up: false,
            pace: Pace::default(),
            info: None,
            last: None,
            silent_since: Instant::ZERO,
            silence: SILENCE,
            adapter: None,
            health: Health { state: AdapterState::Starting, ..Health::default() },
        }
    }

    /// The transport is open: the controller is set up from the beginning.
    pub(super) fn opened(&mut self, now: Instant) {
        if self.health.state == AdapterState::Away {
            self.health.state = AdapterState::Repairing;
        }
        self.set_up(now);
    }

    /// The transport is gone, or could not be opened.
    pub(super) fn closed(&mut self, why: &str) {
        self.let_go();
        self.down(AdapterState::Away, why);
        self.health.trouble = Some(why.to_owned());
    }

    /// Forgets whatever was under way with the controller.
    fn let_go(&mut self) {
        self.lose_frames();
        self.phase = Phase::Closed;
        self.recovery.clear();
        (self.outstanding, self.reopen) = (None, None);
        (self.credits, self.starved) = (1, None);
    }

    fn set_up(&mut self, now: Instant) {
        self.let_go();
        (self.silent_since, self.silence) = (now, SILENCE);
        self.pace = Pace::default();
        let address = StaticAddress::new(self.options.address);
        self.phase = Phase::Setup(Box::new(Setup::new(self.options, address, self.scan)));
    }

    /// Takes a frame to be advertised once.
    ///
    /// # Errors
    /// [`Full`] while the link is down, when a frame waits already, or when it is longer than the link's MTU.
    pub(super) fn send(&mut self, frame: &[u8]) -> Result<(), Full> {
        let mtu = self.mtu();
        let Phase::Up(advertiser) = &mut self.phase else { return Err(Full) };
        if frame.is_empty() || frame.len() > mtu {
            return Err(Full);
        }
        advertiser.submit(AdvData::new(self.options.company, frame)?)?;
        self.health.taken += 1;
        // What was ready for this one need not be for the next: an announcement that nobody fetched yet would bring a frame that is
        // refused.
        self.events.retain(|event| !matches!(event, BearerEvent::Ready { .. }));
        Ok(())
    }

    fn mtu(&self) -> usize {
        match &self.adapter {
            Some(adapter) if adapter.extended && self.options.long_frames => frame_within(adapter.max_data),
            _ => LEGACY_FRAME,
        }
    }

    /// Takes a packet from the controller.
    pub(super) fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        match event::read(packet) {
            Event::Complete { opcode, credits, returned } => self.answered(now, opcode, credits, returned),
            Event::Status { opcode, credits, status } => self.answered(now, opcode, credits, &[status]),
            Event::HardwareError(code) => {
                self.recover(
                    now,
                    RecoveryLevel::Reset,
                    &format!("the controller reported hardware error {code:#04x}"),
                );
            }
            Event::Reports(adverts) => {
                // A controller that still talks of adverts from before its reset is not ready.
                if matches!(self.phase, Phase::Up(_)) {
                    adverts.for_each(|advert| self.take_report(now, advert));
                }
            }
            Event::SetTerminated { handle, events, .. } => {
                if let Phase::Up(advertiser) = &mut self.phase {
                    advertiser.terminated(handle, events);
                }
            }
            Event::Other | Event::Malformed => {}
        }
    }

    fn take_report(&mut self, now: Instant, advert: event::AdvReport<'_>) {
        (self.silent_since, self.silence) = (now, SILENCE);
        let Some(data) = self.parts.whole(&advert) else { return };
        let Some(frame) = event::frame_in(&data, self.options.company) else { return };
        let Ok(bytes) = FrameBytes::from_slice(frame) else { return };
        if self.events.len() >= BACKLOG {
            self.health.overrun += 1;
            return;
        }
        self.health.heard += 1;
        self.events.push_back(BearerEvent::Frame { link: RADIO_LINK, bytes, rssi: advert.rssi });
    }

    fn answered(&mut self, now: Instant, opcode: u16, credits: u8, returned: &[u8]) {
        // Every answer says again how many commands fit, also an answer to nothing: that is how a controller with none gives one back.
        self.credits = credits;
        self.starved = (credits == 0).then_some(now);
        let Some(outstanding) = self.outstanding.filter(|outstanding| outstanding.opcode == opcode) else {
            return;
        };
        self.outstanding = None;
        let status = returned.first().copied();
        match (outstanding.issuer, &mut self.phase) {
            (Issuer::Setup, Phase::Setup(setup)) => {
                // A reset takes as long as the controller likes, and none is among the commands of a frame.
                if opcode != command::reset().opcode {
                    self.pace.learn(now.since(outstanding.since));
                }
                if let Err(refused) = setup.answered(opcode, returned) {
                    self.recover(now, RecoveryLevel::Reset, &refused.0);
                }
            }
            (Issuer::Advertiser, Phase::Up(advertiser)) => {
                // First the schedule, then what it cost: the cost of a legacy frame is known only once its last command is done.
                advertiser.done(now, status == Some(0));
                if let Some(cost) = advertiser.take_cost(now.since(outstanding.since)) {
                    self.pace.took(cost);
                    self.announce();
                }
                if status != Some(0) {
                    self.refused(now, RecoveryLevel::Advertising, opcode, status);
                }
            }
            // Stopping what does not run is refused by some; what counts is that scanning goes on, with the last command of the recovery.
            (Issuer::Recovery, _) if status != Some(0) && scans(opcode) && self.recovery.is_empty() => {
                self.refused(now, RecoveryLevel::Scanning, opcode, status);
            }
            _ => {}
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(outstanding) = self.outstanding
            && outstanding.since + COMMAND_TIMEOUT <= now
        {
            let why = format!("{} was not answered within 2 s", name(outstanding.opcode));
            return self.recover(now, RecoveryLevel::Reset, &why);
        }
        if let Some(since) = self.starved
            && since + COMMAND_TIMEOUT <= now
        {
            return self.recover(now, RecoveryLevel::Reset, "the controller has taken no command for 2 s");
        }
        if let Phase::Up(_) = self.phase
            && self.silent_since + self.silence <= now
        {
            let why = format!("nothing was heard for {} s", self.silence.as_millis() / 1_000);
            // Without `recover`: silence proves nothing, so it raises no level and counts as no relapse.
            self.silent_since = now;
            self.silence = self.silence.times(2).min(SILENCE_MOST);
            self.health.trouble = Some(format!("{why}: restarting scanning"));
            self.health.repairs[RecoveryLevel::Scanning as usize] += 1;
            self.recovery.extend(rescan(self.extended(), &self.scan));
        }
    }

    fn extended(&self) -> bool {
        self.adapter.as_ref().is_some_and(|adapter| adapter.extended)
    }

    fn ready(&mut self, now: Instant, adapter: Adapter) {
        let interval = self.options.adv_interval;
        let advertiser = if adapter.extended {
            Advertiser::extended(interval, Setup::sets(&adapter))
        } else {
            Advertiser::legacy(interval)
        };
        self.pace.setup_done();
        self.health.what = adapter.to_string();
        if let Some(claim) = &adapter.broken_claim {
            self.health.trouble = Some(format!("{claim}: using legacy advertising"));
        }
        self.adapter = Some(adapter);
        self.phase = Phase::Up(Box::new(advertiser));
        self.health.state = AdapterState::Up;
        (self.silent_since, self.link_up, self.info) = (now, true, None);
        self.announce();
    }

    /// Says what the link can do, unless that was said already, more or less.
    fn announce(&mut self) {
        let Phase::Up(advertiser) = &self.phase else { return };
        let min_gap = advertiser.min_gap(self.pace.latency());
        let before = self.info.map_or(0, |info| info.min_gap.as_micros());
        let now = min_gap.as_micros();
        // A promise that does not hold is worse than one that is too modest.
        if now <= before + before / 16 && now + now / 4 >= before && before > 0 {
            return;
        }
        // Long frames are for everyone, as `long_frames` is only set where all controllers of a network take them.
        let info = LinkInfo::advertising(self.mtu(), min_gap);
        self.info = Some(info);
        self.events.push_back(BearerEvent::LinkUp { link: RADIO_LINK, info });
    }

    /// The next packet for the controller.
    pub(super) fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        // One at a time, even where the controller would take more: each answer then belongs to one command, and the time it took is
        // known.
        if self.outstanding.is_some() || self.credits == 0 {
            return None;
        }
        let (command, issuer) = match &mut self.phase {
            Phase::Closed => return None,
            Phase::Setup(setup) => match setup.next() {
                Some(command) => (command, Issuer::Setup),
                None => {
                    let adapter = setup.finish();
                    self.ready(now, adapter);
                    return self.poll_packet(now);
                }
            },
            Phase::Up(advertiser) => match self.recovery.pop_front() {
                Some(command) => (command, Issuer::Recovery),
                None if advertiser.is_dead() => {
                    self.recover(
                        now,
                        RecoveryLevel::Advertising,
                        "the controller does not send what it was given",
                    );
                    return self.poll_packet(now);
                }
                None => {
                    let command = advertiser.next(now)?;
                    // Said as the frame before is taken off the air: the next one has as long to come as that command takes.
                    if advertiser.take_ready() {
                        self.events.push_back(BearerEvent::Ready { link: RADIO_LINK });
                    }
                    (command, Issuer::Advertiser)
                }
            },
        };
        self.outstanding = Some(Outstanding { opcode: command.opcode, issuer, since: now });
        Some(command.packet)
    }

    /// What happened next.
    pub(super) fn poll_event(&mut self) -> Option<BearerEvent> {
        self.events.pop_front()
    }

    /// Why the transport is to be closed and opened again, once.
    pub(super) fn poll_reopen(&mut self) -> Option<String> {
        self.reopen.take()
    }

    /// When to call [`Host::handle_timeout`] and [`Host::poll_packet`] again at the latest.
    #[must_use]
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let command = self.outstanding.map(|outstanding| outstanding.since + COMMAND_TIMEOUT);
        let starved = self.starved.map(|since| since + COMMAND_TIMEOUT);
        let up = match &self.phase {
            Phase::Up(advertiser) => {
                // What is due for the advertiser can wait for the controller to take commands.
                let free = self.outstanding.is_none() && self.credits > 0;
                let advertising = advertiser.timeout().filter(|_| free);
                advertising.into_iter().chain([self.silent_since + self.silence]).min()
            }
            Phase::Closed | Phase::Setup(_) => None,
        };
        command.into_iter().chain(starved).chain(up).min()
    }

    /// How the controller is doing.
    pub(super) fn health(&mut self) -> &Health {
        self.count();
        &self.health
    }
}
