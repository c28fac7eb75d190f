//! What follows trouble with a controller.
//!
//! Owns the recovery levels. There are four, each only when the one before did not help within [`RELAPSE`]: advertising is restarted,
//! scanning is restarted and eased, the controller is reset, the transport is opened again. The link is down from a reset on until the
//! controller is ready again; a frame that is sent meanwhile is refused as [`Full`](crate::Full).

use mesh_protocol::{Duration, Instant};

use super::{Host, Phase};
use crate::hci::command::{name, reason};
use crate::hci::setup::rescan;
use crate::{AdapterState, BearerEvent, RADIO_LINK};

/// Trouble that comes back within this calls for the next recovery level. A guess.
const RELAPSE: Duration = Duration::from_secs(30);
/// Nothing at all heard for so long makes scanning suspect; restarting it costs nothing. Doubles each time, up to
/// [`SILENCE_MOST`]: a lonely gateway is not a broken one. A guess.
pub(in crate::hci) const SILENCE: Duration = Duration::from_secs(60);
/// See [`SILENCE`].
pub(in crate::hci) const SILENCE_MOST: Duration = Duration::from_secs(3_600);

/// How deep a recovery goes; health counts them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RecoveryLevel {
    /// Advertising is stopped and goes on with the next frame.
    Advertising,
    /// Scanning is stopped and started again, with a little less duty.
    Scanning,
    /// The controller is reset and set up from the beginning.
    Reset,
    /// The transport is closed and opened again.
    Reopen,
}

impl RecoveryLevel {
    pub(super) const fn next(self) -> Self {
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
            Self::Reopen => "opening the adapter again",
        }
    }
}

impl Host {
    /// Someone who knows what becomes of frames says that none of them arrive, and has said so `before` times in a row: a level
    /// deeper each time, however far apart.
    pub(in crate::hci) fn suspect(&mut self, now: Instant, why: &str, before: u32) {
        if matches!(self.phase, Phase::Up(_)) {
            let level = (0..before.min(3)).fold(RecoveryLevel::Advertising, |level, _| level.next());
            self.recover(now, level, why);
        }
    }

    pub(super) fn refused(&mut self, now: Instant, level: RecoveryLevel, opcode: u16, status: Option<u8>) {
        let why = match status {
            Some(status) => format!("{} was refused: {} ({status:#04x})", name(opcode), reason(status)),
            None => format!("{} was answered with nothing", name(opcode)),
        };
        self.recover(now, level, &why);
    }

    /// Recovers from what `why` names, at least as deep as `level`.
    pub(super) fn recover(&mut self, now: Instant, level: RecoveryLevel, why: &str) {
        // The same trouble or another: what followed so soon was not helped.
        let relapse = self.last.filter(|(at, _)| now.since(*at) < RELAPSE);
        let level = relapse.map_or(level, |(_, last)| level.max(last.next()));
        // Nothing but a setup helps where there is none yet.
        let level = if matches!(self.phase, Phase::Up(_)) { level } else { level.max(RecoveryLevel::Reset) };
        self.last = Some((now, level));
        let said = format!("{why}: {}", level.done());
        self.health.repairs[level as usize] += 1;
        match level {
            RecoveryLevel::Advertising => self.restart_advertising(),
            RecoveryLevel::Scanning => {
                // Both, as they share one radio: a controller that finds no time to send may be one that listens too much.
                self.restart_advertising();
                self.scan.ease();
                self.recovery.extend(rescan(self.extended(), &self.scan));
            }
            RecoveryLevel::Reset => {
                self.down(AdapterState::Repairing, &said);
                self.set_up(now);
            }
            RecoveryLevel::Reopen => {
                self.down(AdapterState::Repairing, &said);
                // No setup yet: it begins when the transport is open again.
                self.let_go();
                self.reopen = Some(said.clone());
            }
        }
        self.health.trouble = Some(said);
    }

    fn restart_advertising(&mut self) {
        if let Phase::Up(advertiser) = &mut self.phase {
            self.recovery.extend(advertiser.restart());
        }
    }

    pub(super) fn down(&mut self, state: AdapterState, why: &str) {
        self.health.state = state;
        if self.link_up {
            self.link_up = false;
            self.events.push_back(BearerEvent::LinkDown { link: RADIO_LINK, why: why.to_owned() });
        }
    }

    /// What was taken and is not known to be out is lost.
    pub(super) fn lose_frames(&mut self) {
        self.count();
        self.health.lost = self.health.taken - self.health.sent;
    }

    pub(super) fn count(&mut self) {
        if let Phase::Up(advertiser) = &mut self.phase {
            let tally = advertiser.take_tally();
            self.health.sent += tally.sent;
            self.health.lost += tally.lost;
        }
    }
}
