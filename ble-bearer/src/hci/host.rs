//! The host's side of one controller: setting it up, advertising, listening, and mending it.
//!
//! Owns the one command that may be under way, and what follows trouble. A state machine without clock and without IO:
//! whoever runs it passes packets in and out, asks [`Host::poll_timeout`] when to come back, and opens the
//! transport anew when [`Host::poll_reopen`] says so.
//!
//! # Repair
//! In four grades, each only when the one before did not help within [`RELAPSE`]: advertising is restarted, scanning is restarted
//! and eased, the controller is reset, the transport is opened anew. The link is down from a reset on until the controller is
//! ready again; who sends meanwhile is told [`Full`].

use std::collections::VecDeque;

use mesh_protocol::{Duration, Instant, LEGACY_FRAME, LinkId, LinkInfo};

use super::adv_data::{AdvData, frame_within};
use super::advertiser::Advertiser;
use super::command::{self, Command, StaticAddress, name, reason};
use super::event::{self, Event};
use super::options::{COMMAND_TIMEOUT, HciOptions, Scan};
use super::pace::Pace;
use super::packet::Packet;
use super::parts::Parts;
use super::setup::{Adapter, Setup, rescan};
use crate::{AdapterState, BearerEvent, FrameBytes, Full, Health};

/// The one link of a controller.
pub const HCI_LINK: LinkId = LinkId(0);
/// Trouble that comes back within this calls for the next grade. A guess.
pub const RELAPSE: Duration = Duration::from_secs(30);
/// Nothing at all heard for so long makes scanning suspect; restarting it costs nothing. Doubles each time, up to
/// [`SILENCE_MOST`]: a lonely gateway is not a broken one. A guess.
pub const SILENCE: Duration = Duration::from_secs(60);
/// See [`SILENCE`].
pub const SILENCE_MOST: Duration = Duration::from_secs(3_600);
/// Frames kept for a reader that is late.
const BACKLOG: usize = 256;

/// How deep a repair goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Advertising is stopped and goes on with the next frame.
    Advertising,
    /// Scanning is stopped and started anew, with a little less duty.
    Scanning,
    /// The controller is reset and set up from the beginning.
    Reset,
    /// The transport is closed and opened anew.
    Reopen,
}

impl Grade {
    const fn next(self) -> Self {
        match self {
            Self::Advertising => Self::Scanning,
            Self::Scanning => Self::Reset,
            Self::Reset | Self::Reopen => Self::Reopen,
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Advertising => "restarting advertising",
            Self::Scanning => "restarting scanning",
            Self::Reset => "resetting the controller",
            Self::Reopen => "opening the adapter anew",
        }
    }
}

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
    Repair,
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
pub struct Host {
    options: HciOptions,
    scan: Scan,
    phase: Phase,
    outstanding: Option<Outstanding>,
    /// Commands that the controller will take, and since when it takes none.
    credits: u8,
    starved: Option<Instant>,
    /// Commands of a repair, before any of the advertiser's.
    mending: VecDeque<Command>,
    events: VecDeque<BearerEvent>,
    parts: Parts,
    reopen: Option<String>,
    link_up: bool,
    pace: Pace,
    /// What the link says it can do, as it was told last.
    info: Option<LinkInfo>,
    /// The last repair: when, and how deep.
    last: Option<(Instant, Grade)>,
    silent_since: Instant,
    silence: Duration,
    adapter: Option<Adapter>,
    health: Health,
}

impl Host {
    /// A host without a transport yet.
    #[must_use]
    pub fn new(options: HciOptions) -> Self {
        Self {
            options,
            scan: Scan { duty: options.scan_duty, ..Scan::default() },
            phase: Phase::Closed,
            outstanding: None,
            credits: 1,
            starved: None,
            mending: VecDeque::new(),
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
    pub fn opened(&mut self, now: Instant) {
        if self.health.state == AdapterState::Away {
            self.health.state = AdapterState::Repairing;
        }
        self.set_up(now);
    }

    /// The transport is gone, or could not be opened.
    pub fn closed(&mut self, why: &str) {
        self.let_go();
        self.down(AdapterState::Away, why);
        self.health.trouble = Some(why.to_owned());
    }

    /// Forgets whatever was under way with the controller.
    fn let_go(&mut self) {
        self.lose_frames();
        self.phase = Phase::Closed;
        self.mending.clear();
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
    pub fn send(&mut self, frame: &[u8]) -> Result<(), Full> {
        let mtu = self.mtu();
        let Phase::Up(advertiser) = &mut self.phase else { return Err(Full) };
        if frame.is_empty() || frame.len() > mtu {
            return Err(Full);
        }
        advertiser.submit(AdvData::new(self.options.company, frame)?)?;
        self.health.taken += 1;
        // What was ready for this one need not be for the next.
        self.events.retain(|event| !matches!(event, BearerEvent::Ready { .. }));
        Ok(())
    }

    fn mtu(&self) -> usize {
        match &self.adapter {
            Some(adapter) if adapter.extended && self.options.long_frames => frame_within(adapter.max_data),
            _ => LEGACY_FRAME,
        }
    }

    /// Someone who knows what becomes of frames says that none of them arrive, and has said so `before` times in a row: a grade
    /// deeper each time, however far apart.
    pub fn suspect(&mut self, now: Instant, why: &str, before: u32) {
        if matches!(self.phase, Phase::Up(_)) {
            let grade = (0..before.min(3)).fold(Grade::Advertising, |grade, _| grade.next());
            self.mend(now, grade, why);
        }
    }

    /// Takes a packet from the controller.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        match event::read(packet) {
            Event::Complete { opcode, credits, returned } => self.answered(now, opcode, credits, returned),
            Event::Status { opcode, credits, status } => self.answered(now, opcode, credits, &[status]),
            Event::HardwareError(code) => {
                self.mend(now, Grade::Reset, &format!("the controller reported hardware error {code:#04x}"));
            }
            Event::Reports(adverts) => {
                // A controller that still talks of adverts from before its reset is not ready.
                if matches!(self.phase, Phase::Up(_)) {
                    adverts.for_each(|advert| self.heard(now, advert));
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

    fn heard(&mut self, now: Instant, advert: event::AdvReport<'_>) {
        (self.silent_since, self.silence) = (now, SILENCE);
        let Some(data) = self.parts.whole(&advert) else { return };
        let Some(frame) = event::frame_in(&data, self.options.company) else { return };
        let Ok(bytes) = FrameBytes::from_slice(frame) else { return };
        if self.events.len() >= BACKLOG {
            self.health.overrun += 1;
            return;
        }
        self.health.heard += 1;
        self.events.push_back(BearerEvent::Frame { link: HCI_LINK, bytes, rssi: advert.rssi });
    }

    fn answered(&mut self, now: Instant, opcode: u16, credits: u8, returned: &[u8]) {
        self.credits = credits;
        self.starved = (credits == 0).then_some(now);
        let Some(outstanding) = self.outstanding.filter(|outstanding| outstanding.opcode == opcode) else {
            return;
        };
        self.outstanding = None;
        let status = returned.first().copied();
        match (outstanding.issuer, &mut self.phase) {
            (Issuer::Setup, Phase::Setup(setup)) => {
                if opcode != command::reset().opcode {
                    self.pace.learn(now.since(outstanding.since));
                }
                if let Err(refused) = setup.answered(opcode, returned) {
                    self.mend(now, Grade::Reset, &refused.0);
                }
            }
            (Issuer::Advertiser, Phase::Up(advertiser)) => {
                advertiser.done(now, status == Some(0));
                if let Some(cost) = advertiser.take_cost(now.since(outstanding.since)) {
                    self.pace.took(cost);
                    self.announce();
                }
                if status != Some(0) {
                    self.refused(now, Grade::Advertising, opcode, status);
                }
            }
            // Stopping what does not run is refused by some; what counts is that scanning goes on.
            (Issuer::Repair, _) if status != Some(0) && scans(opcode) && self.mending.is_empty() => {
                self.refused(now, Grade::Scanning, opcode, status);
            }
            _ => {}
        }
    }

    fn refused(&mut self, now: Instant, grade: Grade, opcode: u16, status: Option<u8>) {
        let why = match status {
            Some(status) => format!("{} was refused: {} ({status:#04x})", name(opcode), reason(status)),
            None => format!("{} was answered with nothing", name(opcode)),
        };
        self.mend(now, grade, &why);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(outstanding) = self.outstanding
            && outstanding.since + COMMAND_TIMEOUT <= now
        {
            let why = format!("{} was not answered within 2 s", name(outstanding.opcode));
            return self.mend(now, Grade::Reset, &why);
        }
        if let Some(since) = self.starved
            && since + COMMAND_TIMEOUT <= now
        {
            return self.mend(now, Grade::Reset, "the controller has taken no command for 2 s");
        }
        if let Phase::Up(_) = self.phase
            && self.silent_since + self.silence <= now
        {
            let why = format!("nothing was heard for {} s", self.silence.as_millis() / 1_000);
            self.silent_since = now;
            self.silence = self.silence.times(2).min(SILENCE_MOST);
            self.health.trouble = Some(format!("{why}: restarting scanning"));
            self.health.repairs[Grade::Scanning as usize] += 1;
            self.mending.extend(rescan(self.extended(), &self.scan));
        }
    }

    fn extended(&self) -> bool {
        self.adapter.as_ref().is_some_and(|adapter| adapter.extended)
    }

    /// Mends what `why` names, at least as deep as `grade`.
    fn mend(&mut self, now: Instant, grade: Grade, why: &str) {
        let relapse = self.last.filter(|(at, _)| now.since(*at) < RELAPSE);
        let grade = relapse.map_or(grade, |(_, last)| grade.max(last.next()));
        // Nothing but a setup helps where there is none yet.
        let grade = if matches!(self.phase, Phase::Up(_)) { grade } else { grade.max(Grade::Reset) };
        self.last = Some((now, grade));
        let said = format!("{why}: {}", grade.done());
        self.health.repairs[grade as usize] += 1;
        match grade {
            Grade::Advertising => self.restart_advertising(),
            Grade::Scanning => {
                self.restart_advertising();
                self.scan.ease();
                self.mending.extend(rescan(self.extended(), &self.scan));
            }
            Grade::Reset => {
                self.down(AdapterState::Repairing, &said);
                self.set_up(now);
            }
            Grade::Reopen => {
                self.down(AdapterState::Repairing, &said);
                self.let_go();
                self.reopen = Some(said.clone());
            }
        }
        self.health.trouble = Some(said);
    }

    fn restart_advertising(&mut self) {
        if let Phase::Up(advertiser) = &mut self.phase {
            self.mending.extend(advertiser.restart());
        }
    }

    fn down(&mut self, state: AdapterState, why: &str) {
        self.health.state = state;
        if self.link_up {
            self.link_up = false;
            self.events.push_back(BearerEvent::LinkDown { link: HCI_LINK, why: why.to_owned() });
        }
    }

    /// What was taken and is not known to be out is lost.
    fn lose_frames(&mut self) {
        self.count();
        self.health.lost = self.health.taken - self.health.sent;
    }

    fn count(&mut self) {
        if let Phase::Up(advertiser) = &mut self.phase {
            let tally = advertiser.take_tally();
            self.health.sent += tally.sent;
            self.health.lost += tally.lost;
        }
    }

    fn ready(&mut self, now: Instant, adapter: Adapter) {
        let interval = self.options.adv_interval;
        let advertiser = if adapter.extended {
            Advertiser::extended(interval, Setup::sets(&adapter))
        } else {
            Advertiser::legacy(interval)
        };
        self.pace.settle();
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
        let told = self.info.map_or(0, |info| info.min_gap.as_micros());
        let now = min_gap.as_micros();
        // A promise that does not hold is worse than one that is too modest.
        if now <= told + told / 16 && now + now / 4 >= told && told > 0 {
            return;
        }
        // Long frames are for everyone, as `long_frames` is only set where all controllers of a network take them.
        let info = LinkInfo::advertising(self.mtu(), min_gap);
        self.info = Some(info);
        self.events.push_back(BearerEvent::LinkUp { link: HCI_LINK, info });
    }

    /// The next packet for the controller.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
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
            Phase::Up(advertiser) => match self.mending.pop_front() {
                Some(command) => (command, Issuer::Repair),
                None if advertiser.is_dead() => {
                    self.mend(now, Grade::Advertising, "the controller does not send what it was given");
                    return self.poll_packet(now);
                }
                None => {
                    let command = advertiser.next(now)?;
                    if advertiser.take_ready() {
                        self.events.push_back(BearerEvent::Ready { link: HCI_LINK });
                    }
                    (command, Issuer::Advertiser)
                }
            },
        };
        self.outstanding = Some(Outstanding { opcode: command.opcode, issuer, since: now });
        Some(command.packet)
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<BearerEvent> {
        self.events.pop_front()
    }

    /// Why the transport is to be closed and opened anew, once.
    pub fn poll_reopen(&mut self) -> Option<String> {
        self.reopen.take()
    }

    /// When to call [`Host::handle_timeout`] and [`Host::poll_packet`] again at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
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
    pub fn health(&mut self) -> &Health {
        self.count();
        &self.health
    }
}
