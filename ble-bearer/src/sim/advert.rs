//! An advert as a host puts it together: whole AD data, the PDU that carries it, and the address it comes from.
//!
//! Owns where a frame lies in an advert, and what the advert of a station looks like that only ever hands over frames. How adverts reach
//! anyone is the air's business, how a host describes them that of whoever plays its controller.

use heapless::Vec;

use super::geometry::StationId;
use crate::FrameBytes;
use crate::airtime::{LEGACY_ADV_DATA, Phy, Shape};

/// The most AD data of one advert: what an AUX_ADV_IND holds without a chain (Core Specification, Vol 6 Part B, 2.3.4, as
/// [`crate::airtime`] has it).
pub const ADV_DATA_MAX: usize = 251;
/// The AD structure around a frame, behind its length: manufacturer data, and the company of the protocol.
const AROUND: [u8; 3] = [0xff, 0xff, 0xff];

/// An advertiser's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AdvAddress {
    /// As over HCI and on the air: the least significant byte first.
    pub bytes: [u8; 6],
    /// Whether it is a random one.
    pub random: bool,
}

impl AdvAddress {
    /// The static random address of a station: `c0:01` and its number. The two bits at the top make it static, and the `01` keeps the
    /// rest from being all zeros, which is not allowed (Core Specification, Vol 6 Part B, 1.3.2.1).
    #[must_use]
    pub const fn of(station: StationId) -> Self {
        let [a, b, c, d] = station.0.to_le_bytes();
        Self { bytes: [a, b, c, d, 0x01, 0xc0], random: true }
    }
}

/// The PDUs of an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvPdu {
    /// ADV_IND.
    Connectable,
    /// ADV_SCAN_IND.
    Scannable,
    /// ADV_NONCONN_IND.
    NonConnectable,
    /// ADV_EXT_INDs that point to an AUX_ADV_IND.
    Extended {
        /// Whether it may be connected to.
        connectable: bool,
        /// The PHY of the AUX_ADV_IND.
        phy: Phy,
        /// The advertising set's number on the air, 0 to 15.
        sid: u8,
    },
}

/// An advert that a host put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    address: AdvAddress,
    pdu: AdvPdu,
    data: Vec<u8, ADV_DATA_MAX>,
    frame: FrameBytes,
}

impl Advert {
    /// An advert with such AD data; `None` when it is more than the PDUs can carry.
    #[must_use]
    pub fn new(address: AdvAddress, pdu: AdvPdu, data: &[u8]) -> Option<Self> {
        let extended = matches!(pdu, AdvPdu::Extended { .. });
        if !extended && data.len() > LEGACY_ADV_DATA {
            return None;
        }
        let data = Vec::from_slice(data).ok()?;
        let deaf = matches!(
            pdu,
            AdvPdu::Connectable | AdvPdu::Scannable | AdvPdu::Extended { connectable: true, .. }
        );
        let frame = if deaf { None } else { frame_in(&data) };
        Some(Self { address, pdu, data, frame: frame.unwrap_or_default() })
    }

    /// The advert of a station that hands only frames to its controller: manufacturer data, in a legacy PDU where it fits.
    #[must_use]
    pub fn around(frame: &FrameBytes, station: StationId) -> Self {
        let mut data = Vec::new();
        // A frame is at most 245 bytes long: with its header of four there is room.
        let _ = data.push((frame.len() + AROUND.len()) as u8);
        let _ = data.extend_from_slice(&AROUND);
        let _ = data.extend_from_slice(frame);
        let pdu = if data.len() <= LEGACY_ADV_DATA {
            AdvPdu::NonConnectable
        } else {
            AdvPdu::Extended { connectable: false, phy: Phy::OneM, sid: 0 }
        };
        Self { address: AdvAddress::of(station), pdu, data, frame: frame.clone() }
    }

    /// Who it says it is from.
    #[must_use]
    pub const fn address(&self) -> AdvAddress {
        self.address
    }

    /// What carries it.
    #[must_use]
    pub const fn pdu(&self) -> AdvPdu {
        self.pdu
    }

    /// Its AD data, whole.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The frame in it: the content of its first manufacturer data of the protocol's company. `None` when there is none, or when it
    /// may be connected to or asked for more.
    #[must_use]
    pub fn frame(&self) -> Option<&FrameBytes> {
        (!self.frame.is_empty()).then_some(&self.frame)
    }

    /// The advertising event that carries it.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match self.pdu {
            AdvPdu::Extended { phy, .. } => Shape::Extended(self.data.len(), phy),
            AdvPdu::Connectable | AdvPdu::Scannable | AdvPdu::NonConnectable => {
                Shape::Legacy(self.data.len())
            }
        }
    }
}

/// The content of the first AD structure that may have a frame in it. What follows a broken structure cannot be made out.
fn frame_in(mut data: &[u8]) -> Option<FrameBytes> {
    while let Some((length, rest)) = data.split_first() {
        // A length of zero ends the significant part (Core Specification, Vol 3 Part C, 11).
        if *length == 0 {
            return None;
        }
        let (structure, rest) = rest.split_at_checked(usize::from(*length))?;
        if let Some(frame) = structure.strip_prefix(&AROUND) {
            return FrameBytes::from_slice(frame).ok().filter(|frame| !frame.is_empty());
        }
        data = rest;
    }
    None
}

/// What an advertising event carries.
#[derive(Clone, Debug, Default)]
pub struct Cargo {
    /// The frame; empty when a host's advert has none.
    pub frame: FrameBytes,
    /// The advert around it, where a host put it together itself. Else it is manufacturer data as the sender's
    /// [`RadioSpec`](super::RadioSpec) has it.
    pub advert: Option<std::sync::Arc<Advert>>,
}

impl Cargo {
    pub(super) const fn frame(frame: FrameBytes) -> Self {
        Self { frame, advert: None }
    }

    pub(super) fn advert(advert: Advert) -> Self {
        let frame = advert.frame.clone();
        Self { frame, advert: Some(std::sync::Arc::new(advert)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advert(pdu: AdvPdu, data: &[u8]) -> Option<Advert> {
        Advert::new(AdvAddress::of(StationId(3)), pdu, data)
    }

    #[test]
    fn a_frame_is_the_first_manufacturer_data_of_its_company() {
        let frame =
            |data: &[u8]| advert(AdvPdu::NonConnectable, data).unwrap().frame().map(|frame| frame.to_vec());
        assert_eq!(frame(&[5, 0xff, 0xff, 0xff, 7, 8]), Some(vec![7, 8]));
        assert_eq!(frame(&[2, 1, 6, 4, 0xff, 0xff, 0xff, 9]), Some(vec![9]), "behind others");
        assert_eq!(frame(&[5, 0xff, 0x4c, 0x00, 7, 8]), None, "another company");
        assert_eq!(frame(&[3, 0xff, 0xff, 0xff]), None, "an empty one");
        assert_eq!(frame(&[6, 0xff, 0xff, 0xff, 7, 8]), None, "cut off");
        assert_eq!(frame(&[0, 5, 0xff, 0xff, 0xff, 7, 8]), None, "behind the end");
        assert_eq!(frame(&[]), None);
        for pdu in [AdvPdu::Connectable, AdvPdu::Scannable] {
            assert_eq!(advert(pdu, &[5, 0xff, 0xff, 0xff, 7, 8]).unwrap().frame(), None, "{pdu:?}");
        }
    }

    #[test]
    fn the_advert_around_a_frame_has_that_frame_in_it_and_the_airtime_of_it() {
        for len in [1, 27, 28, 245] {
            let frame = FrameBytes::from_slice(&vec![0xa5; len]).unwrap();
            let around = Advert::around(&frame, StationId(0x0102));
            let again = Advert::new(around.address(), around.pdu(), around.data()).unwrap();
            assert_eq!(again, around);
            assert_eq!(around.frame(), Some(&frame));
            assert_eq!(around.shape(), Shape::of(len + 4, Phy::OneM), "{len}");
        }
        assert_eq!(AdvAddress::of(StationId(0x0102)).bytes, [2, 1, 0, 0, 1, 0xc0]);
    }

    #[test]
    fn no_pdu_carries_more_than_it_can() {
        let extended = AdvPdu::Extended { connectable: false, phy: Phy::TwoM, sid: 1 };
        assert!(advert(AdvPdu::NonConnectable, &[0; 31]).is_some());
        assert!(advert(AdvPdu::NonConnectable, &[0; 32]).is_none());
        assert!(advert(extended, &[0; ADV_DATA_MAX]).is_some());
        assert!(advert(extended, &[0; ADV_DATA_MAX + 1]).is_none());
    }
}
