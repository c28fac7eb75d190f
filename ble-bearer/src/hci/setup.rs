//! Making a controller ready: finding out what it can do, and letting it scan.
//!
//! Owns the order of the commands and what their answers mean. Believes features, never version numbers, and if a controller
//! refuses what it claims, begins again without it.

use std::collections::VecDeque;
use std::fmt;

use mesh_protocol::Duration;

use super::command::{self, Command, StaticAddress, name, reason};
use super::options::{HciOptions, Scan};

/// LE feature bit of extended advertising (Core Specification, Vol 6 Part B, 4.6).
const EXTENDED_ADVERTISING: u64 = 1 << 12;
/// Sets used of those a controller has: more would only make it harder to say when a frame goes out. A guess.
const MOST_SETS: u8 = 4;

/// What a controller said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adapter {
    /// HCI version: 8 is 4.2, 9 is 5.0, and so on.
    pub hci_version: u8,
    /// Manufacturer, as the Bluetooth SIG's assigned numbers have it.
    pub manufacturer: u16,
    /// Its public address, the lowest byte first; all zeros where it has none.
    pub address: [u8; 6],
    /// LE features, page 0.
    pub le_features: u64,
    /// Advertising sets, 0 where it has no extended advertising.
    pub sets: u8,
    /// Bytes of advertising data it takes.
    pub max_data: u16,
    /// Whether extended advertising is used.
    pub extended: bool,
    /// What it claims and refused.
    pub broken_claim: Option<String>,
}

impl Adapter {
    /// Whether it says that it can advertise with extended adverts.
    #[must_use]
    pub const fn claims_extended(&self) -> bool {
        self.le_features & EXTENDED_ADVERTISING != 0
    }

    /// Its version for people.
    #[must_use]
    pub fn version(&self) -> String {
        match self.hci_version {
            6 => "4.0".into(),
            7 => "4.1".into(),
            8 => "4.2".into(),
            known @ 9..=13 => format!("5.{}", known - 9),
            known @ 14..=20 => format!("6.{}", known - 14),
            other => format!("unknown ({other})"),
        }
    }

    /// Its address for people.
    #[must_use]
    pub fn address(&self) -> String {
        let [a, b, c, d, e, f] = self.address;
        format!("{f:02X}:{e:02X}:{d:02X}:{c:02X}:{b:02X}:{a:02X}")
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bluetooth {}, address {}", self.version(), self.address())?;
        if self.extended {
            write!(f, ", extended advertising, {} sets", self.sets)
        } else {
            f.write_str(", legacy advertising")
        }
    }
}

/// A step and what its answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Reset,
    Version,
    Address,
    Features,
    Sets,
    MaxData,
    EventMask,
    LeEventMask,
    RandomAddress,
    AdvParams,
    ClearSets,
    SetParams(u8),
    SetAddress(u8),
    ScanParams,
    ScanEnable,
}

/// The controller refused a step without which nothing works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) String);

/// See the module.
#[derive(Debug)]
pub(super) struct Setup {
    options: HciOptions,
    address: StaticAddress,
    scan: Scan,
    adapter: Adapter,
    steps: VecDeque<Step>,
    current: Option<Step>,
}

impl Setup {
    pub(super) fn new(options: HciOptions, address: StaticAddress, scan: Scan) -> Self {
        let mut setup = Self {
            options,
            address,
            scan,
            adapter: Adapter::default(),
            steps: VecDeque::new(),
            current: None,
        };
        setup.begin();
        setup
    }

    fn begin(&mut self) {
        self.steps = [Step::Reset, Step::Version, Step::Address, Step::Features, Step::EventMask].into();
    }

    /// The next command; `None` when the controller is ready.
    pub(super) fn next(&mut self) -> Option<Command> {
        let step = self.steps.pop_front()?;
        self.current = Some(step);
        let (every, window) = (self.scan.interval, self.scan.window());
        let extended = self.adapter.extended;
        Some(match step {
            Step::Reset => command::reset(),
            Step::Version => command::read_version(),
            Step::Address => command::read_address(),
            Step::Features => command::read_features(),
            Step::Sets => command::read_sets(),
            Step::MaxData => command::read_max_data(),
            Step::EventMask => command::set_event_mask(),
            Step::LeEventMask => command::set_le_event_mask(extended),
            Step::RandomAddress => command::set_random_address(self.address),
            Step::AdvParams => command::set_adv_params(self.options.adv_interval),
            Step::ClearSets => command::clear_sets(),
            Step::SetParams(set) => {
                command::set_ext_adv_params(set, self.options.adv_interval, self.options.long_frames)
            }
            Step::SetAddress(set) => command::set_adv_set_address(set, self.address),
            Step::ScanParams if extended => command::set_ext_scan_params(every, window),
            Step::ScanParams => command::set_scan_params(every, window),
            Step::ScanEnable if extended => command::set_ext_scan_enable(true),
            Step::ScanEnable => command::set_scan_enable(true),
        })
    }

    /// The answer to the command of [`Setup::next`]: status first.
    ///
    /// # Errors
    /// [`Refused`], when it cannot go on.
    pub(super) fn answered(&mut self, opcode: u16, returned: &[u8]) -> Result<(), Refused> {
        let Some(step) = self.current.take() else { return Ok(()) };
        let refused = |why: &str| Refused(format!("{} was answered with: {why}", name(opcode)));
        match (step, returned) {
            (_, []) => return Err(refused("nothing")),
            (_, [0, rest @ ..]) => self.learn(step, rest).ok_or_else(|| refused("too few bytes"))?,
            // Not every controller has one to report.
            (Step::Address, _) => {}
            (_, [status, ..]) if self.adapter.extended => {
                self.fall_back(format!("{} was refused: {}", name(opcode), reason(*status)));
            }
            (_, [status, ..]) => return Err(refused(&format!("{} ({status:#04x})", reason(*status)))),
        }
        Ok(())
    }

    fn learn(&mut self, step: Step, returned: &[u8]) -> Option<()> {
        let adapter = &mut self.adapter;
        match step {
            Step::Version => {
                adapter.hci_version = *returned.first()?;
                adapter.manufacturer = u16::from_le_bytes(returned.get(4..6)?.try_into().ok()?);
            }
            Step::Address => adapter.address = returned.get(..6)?.try_into().ok()?,
            Step::Features => {
                adapter.le_features = u64::from_le_bytes(returned.get(..8)?.try_into().ok()?);
                adapter.extended =
                    self.options.extended && adapter.claims_extended() && adapter.broken_claim.is_none();
                if adapter.extended {
                    self.steps.extend([Step::Sets, Step::MaxData, Step::LeEventMask, Step::RandomAddress]);
                } else {
                    (adapter.sets, adapter.max_data) = (0, 31);
                    self.steps.extend([Step::LeEventMask, Step::RandomAddress, Step::AdvParams]);
                    self.steps.extend([Step::ScanParams, Step::ScanEnable]);
                }
            }
            Step::Sets => adapter.sets = (*returned.first()?).max(1),
            Step::MaxData => {
                adapter.max_data = u16::from_le_bytes(returned.get(..2)?.try_into().ok()?);
                self.steps.push_back(Step::ClearSets);
                for set in 0..adapter.sets.min(MOST_SETS) {
                    self.steps.extend([Step::SetParams(set), Step::SetAddress(set)]);
                }
                self.steps.extend([Step::ScanParams, Step::ScanEnable]);
            }
            _ => {}
        }
        Some(())
    }

    /// Begins again, with legacy adverts.
    fn fall_back(&mut self, why: String) {
        self.adapter = Adapter { broken_claim: Some(why), ..Adapter::default() };
        self.begin();
    }

    /// What was found, once [`Setup::next`] has no more.
    pub(super) fn finish(&mut self) -> Adapter {
        std::mem::take(&mut self.adapter)
    }

    /// Sets to be used of an adapter.
    pub(super) fn sets(adapter: &Adapter) -> u8 {
        adapter.sets.min(MOST_SETS)
    }
}

/// The commands that let a controller scan again.
pub(super) fn rescan(extended: bool, scan: &Scan) -> [Command; 3] {
    let (every, window): (Duration, Duration) = (scan.interval, scan.window());
    if extended {
        [
            command::set_ext_scan_enable(false),
            command::set_ext_scan_params(every, window),
            command::set_ext_scan_enable(true),
        ]
    } else {
        [
            command::set_scan_enable(false),
            command::set_scan_params(every, window),
            command::set_scan_enable(true),
        ]
    }
}
