//! Scanning, legacy and extended, as a host commands it (Core Specification, Volume 4 Part E, 7.8.10 to 7.8.17, 7.8.64 and 7.8.65),
//! and the reports that come of it.
//!
//! Owns when the scanner listens, and which adverts are reported to the host. What reaches the scanner at all is the air's business.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use ble_bearer::sim::{AdvAddress, AdvPdu, Advert, Radio, Reception, ScanPlan};
use mesh_protocol::{Duration, Instant};

use super::call::{Call, Reply, Status, Style, is_random};
use super::{EVENTS_MAX, REPORTS_MAX, VirtualController, events};

/// Scan intervals and windows in units of 0.625 ms: 2.5 ms to 10.24 s (7.8.10).
const INTERVALS: RangeInclusive<u16> = 0x0004..=0x4000;
/// What a host finds: 10 ms of each 10 ms (7.8.10).
const DEFAULT: u16 = 0x0010;
/// The unit of the two.
const UNIT: u64 = 625;
/// The unit of a scan's duration (7.8.65).
const DURATION_UNIT: u64 = 10_000;
/// Advertisers that a filter for duplicates remembers; the oldest makes room. A guess: real ones remember tens.
const REPORTED_MAX: usize = 64;
/// Devices in the filter accept list. A guess: real ones hold eight to some dozens.
pub(super) const ACCEPT_MAX: usize = 16;
/// PHYs to scan: LE 1M, and LE Coded.
const SCAN_1M: u8 = 1 << 0;
const SCAN_CODED: u8 = 1 << 2;

/// An advertiser that was reported, what carried it, and of an extended advert what was in it: a real scanner knows a number that
/// changes with the data.
type ReportedAdvert = (AdvAddress, AdvPdu, Vec<u8>);

/// The scanner of a controller.
#[derive(Debug)]
pub(super) struct Scanner {
    plan: ScanPlan,
    own_random: bool,
    /// Whether only devices of the filter accept list are reported.
    accepted_only: bool,
    accepted: Vec<AdvAddress>,
    pub(super) enabled: bool,
    without_duplicates: bool,
    reported: VecDeque<ReportedAdvert>,
    /// When it stops by itself.
    pub(super) until: Option<Instant>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            plan: ScanPlan { interval: time(DEFAULT), window: time(DEFAULT) },
            own_random: false,
            accepted_only: false,
            accepted: Vec::new(),
            enabled: false,
            without_duplicates: false,
            reported: VecDeque::new(),
            until: None,
        }
    }
}

impl Scanner {
    /// Whether an advert is to be reported to the host.
    fn takes(&self, advert: &Advert) -> bool {
        self.enabled && (!self.accepted_only || self.accepted.contains(&advert.address()))
    }

    /// Whether a filter for duplicates knows it already; from now on it does.
    fn knows(&mut self, advert: &Advert) -> bool {
        if !self.without_duplicates {
            return false;
        }
        let extended = matches!(advert.pdu(), AdvPdu::Extended { .. });
        let data = if extended { advert.data().to_vec() } else { Vec::new() };
        let reported = (advert.address(), advert.pdu(), data);
        if self.reported.contains(&reported) {
            return true;
        }
        if self.reported.len() == REPORTED_MAX {
            self.reported.pop_front();
        }
        self.reported.push_back(reported);
        false
    }
}

/// Commands.
impl VirtualController {
    pub(super) fn set_scan_parameters(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        let &[kind, i_low, i_high, w_low, w_high, own, policy] = parameters else {
            return Err(Status::INVALID);
        };
        let phy = [kind, i_low, i_high, w_low, w_high];
        self.set_scan(own, policy, &phy)
    }

    /// The parameters of LE 1M; those of LE Coded, the air does not have on its advertising channels.
    pub(super) fn set_extended_scan_parameters(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        let [own, policy, phys, scans @ ..] = parameters else { return Err(Status::INVALID) };
        match *phys {
            SCAN_1M => self.set_scan(*own, *policy, scans),
            phys if phys & !(SCAN_1M | SCAN_CODED) == 0 && phys != 0 => Err(Status::UNSUPPORTED),
            _ => Err(Status::INVALID),
        }
    }

    fn set_scan(&mut self, own: u8, policy: u8, scan: &[u8]) -> Reply {
        let &[kind, i_low, i_high, w_low, w_high] = scan else { return Err(Status::INVALID) };
        if self.scanner.enabled {
            return Err(Status::DISALLOWED);
        }
        let interval = u16::from_le_bytes([i_low, i_high]);
        let window = u16::from_le_bytes([w_low, w_high]);
        // Policies above 1 need private addresses.
        // A window as long as its interval is allowed, and listens all the time.
        if !INTERVALS.contains(&interval)
            || !INTERVALS.contains(&window)
            || window > interval
            || kind > 1
            || policy > 1
        {
            return Err(Status::INVALID);
        }
        self.scanner.own_random = is_random(own)?;
        self.scanner.accepted_only = policy == 1;
        self.scanner.plan = ScanPlan { interval: time(interval), window: time(window) };
        Ok(Vec::new())
    }

    pub(super) fn set_scan_enable(&mut self, parameters: &[u8], call: &mut Call<'_, '_>) -> Reply {
        let &[enable, filter] = parameters else { return Err(Status::INVALID) };
        if filter > 1 {
            return Err(Status::INVALID);
        }
        self.enable_scan(enable, filter == 1, None, call)
    }

    pub(super) fn set_extended_scan_enable(&mut self, parameters: &[u8], call: &mut Call<'_, '_>) -> Reply {
        let &[enable, filter, d_low, d_high, p_low, p_high] = parameters else { return Err(Status::INVALID) };
        let duration = u16::from_le_bytes([d_low, d_high]);
        // A filter that forgets at each period needs one.
        if filter > 2 || (filter == 2 && (duration == 0 || (p_low, p_high) == (0, 0))) {
            return Err(Status::INVALID);
        }
        if enable == 1 && duration != 0 && (p_low, p_high) != (0, 0) {
            return Err(Status::UNSUPPORTED);
        }
        let span = Duration::from_micros(u64::from(duration) * DURATION_UNIT);
        let until = (duration != 0).then(|| call.now + span);
        self.enable_scan(enable, filter != 0, until, call)
    }

    fn enable_scan(
        &mut self,
        enable: u8,
        without_duplicates: bool,
        until: Option<Instant>,
        call: &mut Call<'_, '_>,
    ) -> Reply {
        match enable {
            0 => self.stop_scan(call.radio),
            1 => {
                // Checked though nothing is sent from it: a real controller refuses a host that has set no random address.
                self.own(self.scanner.own_random, self.random)?;
                // Once more while it scans: the filter and the time begin again, the windows go on as they lie. Restarting them would move what is heard.
                if !self.scanner.enabled {
                    call.radio.scan(Some(self.scanner.plan));
                }
                let scanner = &mut self.scanner;
                (scanner.enabled, scanner.without_duplicates, scanner.until) =
                    (true, without_duplicates, until);
                // A filter for duplicates begins again with each command (7.8.11): hosts count on it to have everyone reported again.
                scanner.reported.clear();
            }
            _ => return Err(Status::INVALID),
        }
        Ok(Vec::new())
    }

    fn stop_scan(&mut self, radio: &mut Radio<'_>) {
        if self.scanner.enabled {
            radio.scan(None);
        }
        (self.scanner.enabled, self.scanner.until) = (false, None);
    }

    pub(super) fn clear_accept_list(&mut self, _: &[u8], _: &mut Call<'_, '_>) -> Reply {
        self.check_accept_list()?;
        self.scanner.accepted.clear();
        Ok(Vec::new())
    }

    pub(super) fn add_to_accept_list(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        self.check_accept_list()?;
        let address = device(parameters)?;
        if self.scanner.accepted.contains(&address) {
            return Ok(Vec::new());
        }
        if self.scanner.accepted.len() == ACCEPT_MAX {
            return Err(Status::MEMORY);
        }
        self.scanner.accepted.push(address);
        Ok(Vec::new())
    }

    pub(super) fn remove_from_accept_list(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        self.check_accept_list()?;
        let address = device(parameters)?;
        self.scanner.accepted.retain(|accepted| *accepted != address);
        Ok(Vec::new())
    }

    /// Not while it is in use (7.8.15).
    const fn check_accept_list(&self) -> Result<(), Status> {
        if self.scanner.enabled && self.scanner.accepted_only { Err(Status::DISALLOWED) } else { Ok(()) }
    }
}

/// Receptions.
impl VirtualController {
    /// Reports an advert to the host, if it wants that. Whether it was reported.
    pub(super) fn report(&mut self, heard: &Reception<'_>) -> bool {
        if !self.scanner.enabled {
            return false;
        }
        // Simulated devices send frames and no adverts: a controller hears them as the adverts that they would be.
        let around;
        let advert = match heard.advert {
            Some(advert) => advert,
            None => {
                around = Advert::around(heard.frame, heard.from);
                &around
            }
        };
        let extended = self.style == Some(Style::Extended);
        let wanted = if extended { events::EXTENDED_REPORT } else { events::ADVERTISING_REPORT };
        if !self.wants(wanted) || !self.scanner.takes(advert) {
            return false;
        }
        let reports = if extended {
            events::extended_reports(advert, heard.rssi)
        } else {
            events::advertising_report(advert, heard.rssi).into_iter().collect()
        };
        if reports.is_empty() {
            return false;
        }
        // Only behind the checks above: what the host did not want to hear of is no duplicate once it does.
        if self.scanner.knows(advert) {
            self.counters.duplicates += 1;
            return false;
        }
        // All parts of an advert, or none.
        if self.events.len() + reports.len() > REPORTS_MAX {
            self.counters.lost += reports.len() as u64;
            return false;
        }
        self.counters.reports += 1;
        self.counters.frames += u64::from(heard.has_frame());
        self.events.extend(reports);
        true
    }

    /// Stops a scan whose time is over, and says so.
    pub(super) fn end_scan(&mut self, now: Instant, radio: &mut Radio<'_>) {
        if self.scanner.until.is_some_and(|until| until <= now) {
            // It stops by itself, whether or not the host wants to hear that.
            self.stop_scan(radio);
            if self.wants(events::SCAN_TIMEOUT) {
                self.push(events::scan_timeout(), EVENTS_MAX);
            }
        }
    }
}

const fn time(units: u16) -> Duration {
    Duration::from_micros(units as u64 * UNIT)
}

/// A device of the filter accept list: type and address. Anonymous advertisers there are none of.
fn device(parameters: &[u8]) -> Result<AdvAddress, Status> {
    let (kind, bytes) = parameters.split_first().ok_or(Status::INVALID)?;
    let bytes = bytes.try_into().map_err(|_| Status::INVALID)?;
    match kind {
        0 | 1 => Ok(AdvAddress { bytes, random: *kind == 1 }),
        0xff => Err(Status::UNSUPPORTED),
        _ => Err(Status::INVALID),
    }
}
