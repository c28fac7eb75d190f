//! How a controller's events are written (Core Specification, Volume 4 Part E, 7.7).
//!
//! Owns the bytes. When an event is due is the others' business.

use ble_bearer::sim::{AdvPdu, Advert, Phy};

use super::call::Status;
use super::h4::EVENT;

const COMMAND_COMPLETE: u8 = 0x0e;
const COMMAND_STATUS: u8 = 0x0f;
const HARDWARE_ERROR: u8 = 0x10;
const LE_META: u8 = 0x3e;

/// Subevents of LE: Advertising Report, Extended Advertising Report, Scan Timeout, Advertising Set Terminated.
pub(super) const ADVERTISING_REPORT: u8 = 0x02;
pub(super) const EXTENDED_REPORT: u8 = 0x0d;
pub(super) const SCAN_TIMEOUT: u8 = 0x11;
pub(super) const SET_TERMINATED: u8 = 0x12;

/// Commands that the host may send next: one at a time, as most controllers have it.
const CREDITS: u8 = 1;
/// AD data in one extended report: an event has 255 bytes, of which 26 are something else (7.7.65.13).
const EXTENDED_DATA: usize = 229;
/// What an extended report says of its data: there is more to come (7.7.65.13).
const MORE: u16 = 1 << 5;
/// It was a legacy PDU.
const LEGACY: u16 = 1 << 4;
/// Nobody said how strongly it was sent.
const NO_TX_POWER: u8 = 0x7f;
/// It belongs to no set.
const NO_SID: u8 = 0xff;

fn event(code: u8, parameters: &[&[u8]]) -> Vec<u8> {
    let mut event = vec![EVENT, code, 0];
    event.extend(parameters.iter().copied().flatten());
    // No event here is longer than 255 bytes.
    event[2] = (event.len() - 3) as u8;
    event
}

pub(super) fn complete(opcode: u16, status: Status, returned: &[u8]) -> Vec<u8> {
    let [low, high] = opcode.to_le_bytes();
    event(COMMAND_COMPLETE, &[&[CREDITS, low, high, status.0], returned])
}

pub(super) fn status(opcode: u16, status: Status) -> Vec<u8> {
    let [low, high] = opcode.to_le_bytes();
    event(COMMAND_STATUS, &[&[status.0, CREDITS, low, high]])
}

/// Which hardware error it was, vendors say.
pub(super) fn hardware_error() -> Vec<u8> {
    event(HARDWARE_ERROR, &[&[0x01]])
}

pub(super) fn scan_timeout() -> Vec<u8> {
    event(LE_META, &[&[SCAN_TIMEOUT]])
}

/// No connection came of the set.
pub(super) fn set_terminated(status: Status, handle: u8, events: u8) -> Vec<u8> {
    event(LE_META, &[&[SET_TERMINATED, status.0, handle, 0xff, 0xff, events]])
}

/// A legacy advert; `None` when it was none.
pub(super) fn advertising_report(advert: &Advert, rssi: i8) -> Option<Vec<u8>> {
    let kind = match advert.pdu() {
        AdvPdu::Connectable => 0x00,
        AdvPdu::Scannable => 0x02,
        AdvPdu::NonConnectable => 0x03,
        AdvPdu::Extended { .. } => return None,
    };
    let (address, data) = (advert.address(), advert.data());
    let head = [ADVERTISING_REPORT, 1, kind, u8::from(address.random)];
    Some(event(LE_META, &[&head, &address.bytes, &[data.len() as u8], data, &[rssi as u8]]))
}

/// An advert of either kind, in as many events as it needs.
pub(super) fn extended_reports(advert: &Advert, rssi: i8) -> Vec<Vec<u8>> {
    let (kind, secondary, sid) = match advert.pdu() {
        AdvPdu::Connectable => (LEGACY | 0x03, 0, NO_SID),
        AdvPdu::Scannable => (LEGACY | 0x02, 0, NO_SID),
        AdvPdu::NonConnectable => (LEGACY, 0, NO_SID),
        AdvPdu::Extended { connectable, phy, sid } => (u16::from(connectable), phy_number(phy), sid),
    };
    let address = advert.address();
    let report = |data: &[u8], more: u16| {
        let [low, high] = (kind | more).to_le_bytes();
        // Behind the strength: no periodic advertising, and sent to nobody in particular.
        let tail =
            [0x01, secondary, sid, NO_TX_POWER, rssi as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, data.len() as u8];
        let head = [EXTENDED_REPORT, 1, low, high, u8::from(address.random)];
        event(LE_META, &[&head, &address.bytes, &tail, data])
    };
    match advert.data().split_at_checked(EXTENDED_DATA) {
        Some((first, rest)) if !rest.is_empty() => vec![report(first, MORE), report(rest, 0)],
        _ => vec![report(advert.data(), 0)],
    }
}

const fn phy_number(phy: Phy) -> u8 {
    match phy {
        Phy::OneM => 1,
        Phy::TwoM => 2,
        Phy::CodedS2 | Phy::CodedS8 => 3,
    }
}
