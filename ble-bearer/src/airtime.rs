//! How long things take on the air: real or simulated, the formula stands here once.
//!
//! Owns airtimes of advertising PDUs and the shape of advertising events. What is in them is for whoever advertises.

use mesh_protocol::Duration;

/// From the end of one PDU of an advertising event to the start of the next ("about 150 µs" in the project's radio
/// model).
const CHANNEL_HOP: Duration = Duration::from_micros(150);
/// From the end of the last ADV_EXT_IND to the AUX_ADV_IND it points to: the shortest that is allowed, T_MAFS (Core
/// Specification, Vol 6 Part B, 4.1.2).
const AUX_OFFSET: Duration = Duration::from_micros(300);
/// Bytes of AdvData that a legacy PDU can carry (Core Specification, Vol 6 Part B, 2.3.1.3).
pub const LEGACY_ADV_DATA: usize = 31;
/// Payload of an ADV_EXT_IND that points to an AUX: header 1, flags 1, ADI 2, AuxPtr 3.
const EXT_IND_PAYLOAD: usize = 7;
/// The advertiser's address.
const ADDRESS: usize = 6;
/// AdvData that fit into one AUX_ADV_IND beside the address; with more, the address moves into the ADV_EXT_INDs (Core Specification,
/// Vol 6 Part B, 2.3.4: a PDU has at most 255 bytes).
const WITH_ADDRESS: usize = 245;
/// Payload of an AUX_ADV_IND beside its AdvData: header 1, flags 1, address 6, ADI 2.
const AUX_PAYLOAD: usize = 10;
/// The advertising channels: 37, 38 and 39.
pub const CHANNELS: usize = 3;
/// Bytes of the AD structure around each frame, which is manufacturer data: length, type and company.
pub const AD_HEADER: usize = 4;

/// How long one advertising event with a frame of so many bytes occupies the air, all its PDUs added up; long frames on LE 1M.
#[must_use]
pub const fn of_frame(frame: usize) -> Duration {
    Shape::of(frame + AD_HEADER, Phy::OneM).busy()
}

/// How bits become waves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phy {
    /// LE 1M.
    #[default]
    OneM,
    /// LE 2M.
    TwoM,
    /// LE Coded with two symbols a bit.
    CodedS2,
    /// LE Coded with eight symbols a bit.
    CodedS8,
}

impl Phy {
    /// How long a PDU with `payload` bytes behind its header is on the air.
    #[must_use]
    pub const fn airtime(self, payload: usize) -> Duration {
        let bytes = payload as u64;
        // Preamble, access address, header and CRC first (Core Specification, Vol 6 Part B, 2.1 and 2.2).
        Duration::from_micros(match self {
            Self::OneM => 80 + 8 * bytes,
            Self::TwoM => 44 + 4 * bytes,
            Self::CodedS2 => 462 + 16 * bytes,
            Self::CodedS8 => 720 + 64 * bytes,
        })
    }
}

/// One advertising event: which PDUs it consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// ADV_NONCONN_IND with this much AdvData on each advertising channel.
    Legacy(usize),
    /// ADV_EXT_IND on each advertising channel, and an AUX_ADV_IND with this much AdvData on another one.
    Extended(usize, Phy),
}

impl Shape {
    /// The event for so much AdvData: a legacy one if it fits, so that everyone can hear it.
    #[must_use]
    pub const fn of(adv_data: usize, secondary: Phy) -> Self {
        if adv_data <= LEGACY_ADV_DATA { Self::Legacy(adv_data) } else { Self::Extended(adv_data, secondary) }
    }

    /// How long each PDU on the advertising channels is on the air.
    #[must_use]
    pub const fn primary(self) -> Duration {
        match self {
            Self::Legacy(adv_data) => Phy::OneM.airtime(ADDRESS + adv_data),
            Self::Extended(adv_data, _) if adv_data > WITH_ADDRESS => {
                Phy::OneM.airtime(EXT_IND_PAYLOAD + ADDRESS)
            }
            Self::Extended(..) => Phy::OneM.airtime(EXT_IND_PAYLOAD),
        }
    }

    /// How long the AUX_ADV_IND is on the air, if there is one.
    #[must_use]
    pub const fn auxiliary(self) -> Option<Duration> {
        match self {
            Self::Legacy(_) => None,
            Self::Extended(adv_data, phy) if adv_data > WITH_ADDRESS => {
                Some(phy.airtime(AUX_PAYLOAD - ADDRESS + adv_data))
            }
            Self::Extended(adv_data, phy) => Some(phy.airtime(AUX_PAYLOAD + adv_data)),
        }
    }

    /// When PDU `n` starts, from the start of the event: 0 to 2 on the advertising channels, 3 the AUX_ADV_IND.
    pub(crate) const fn start(self, n: usize) -> Duration {
        let step = self.primary().as_micros() + CHANNEL_HOP.as_micros();
        if n < CHANNELS {
            Duration::from_micros(step * n as u64)
        } else {
            let primary = step * CHANNELS as u64 - CHANNEL_HOP.as_micros();
            Duration::from_micros(primary + AUX_OFFSET.as_micros())
        }
    }

    /// From the start of the event to the end of PDU `n`: 0 to 2 on the advertising channels, 3 the AUX_ADV_IND.
    #[must_use]
    pub fn until_end(self, n: usize) -> Duration {
        self.start(n) + self.length(n)
    }

    /// How many PDUs it has.
    pub(crate) const fn pdus(self) -> usize {
        match self {
            Self::Legacy(_) => CHANNELS,
            Self::Extended(..) => CHANNELS + 1,
        }
    }

    /// How long PDU `n` is on the air.
    pub(crate) const fn length(self, n: usize) -> Duration {
        match self.auxiliary() {
            Some(auxiliary) if n >= CHANNELS => auxiliary,
            _ => self.primary(),
        }
    }

    /// From the start of the first PDU to the end of the last.
    #[must_use]
    pub const fn airtime(self) -> Duration {
        let last = self.pdus() - 1;
        Duration::from_micros(self.start(last).as_micros() + self.length(last).as_micros())
    }

    /// Time on air without the pauses.
    #[must_use]
    pub const fn busy(self) -> Duration {
        let primary = self.primary().as_micros() * CHANNELS as u64;
        match self.auxiliary() {
            Some(auxiliary) => Duration::from_micros(primary + auxiliary.as_micros()),
            None => Duration::from_micros(primary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn airtimes_are_the_specifications() {
        // Airtimes of the Core Specification's packet formats.
        let event = |adv_data, phy| Shape::of(adv_data, phy);
        assert_eq!(event(31, Phy::OneM).primary().as_micros(), 376);
        assert_eq!(event(31, Phy::OneM).airtime().as_micros(), 3 * 376 + 2 * 150);
        assert_eq!(event(245, Phy::OneM).primary().as_micros(), 136);
        for (phy, micros) in
            [(Phy::OneM, 2_120), (Phy::TwoM, 1_064), (Phy::CodedS8, 17_040), (Phy::CodedS2, 4_542)]
        {
            assert_eq!(event(245, phy).auxiliary().map(Duration::as_micros), Some(micros));
        }
        assert_eq!(event(245, Phy::OneM).airtime().as_micros(), 3 * 136 + 2 * 150 + 300 + 2_120);
        assert_eq!(event(245, Phy::TwoM).airtime().as_micros(), 2_072);
        assert_eq!(event(32, Phy::OneM).busy().as_micros(), 3 * 136 + 80 + 8 * 42);
        assert_eq!(event(0, Phy::TwoM), Shape::Legacy(0));
        // The address has moved.
        assert_eq!(event(249, Phy::OneM).primary().as_micros(), 80 + 8 * 13);
        assert_eq!(event(249, Phy::OneM).auxiliary().map(Duration::as_micros), Some(80 + 8 * 253));
    }

    #[test]
    fn a_frame_has_the_airtime_of_its_manufacturer_data_on_three_channels() {
        assert_eq!(of_frame(27).as_micros(), 3 * 376);
        assert_eq!(of_frame(1).as_micros(), 3 * (80 + 8 * 11));
        assert_eq!(of_frame(28).as_micros(), 3 * 136 + 80 + 8 * 42);
    }
}
