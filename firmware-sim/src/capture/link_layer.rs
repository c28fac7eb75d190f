//! The bytes of one packet: the pseudo-header of link type 256, then the link layer's packet from its access address on.
//!
//! Owns both layouts. Sections of the Core Specification are those of version 5.4, Volume 6.

use std::io;

use ble_bearer::sim::{AdvAddress, StationId};
use crc::{CRC_24_BLE, Crc};
use mesh_protocol::Duration;

use super::{Pdu, PduKind};

/// The access address of all advertising physical channels: Part B, 2.1.2.
const ACCESS_ADDRESS: u32 = 0x8e89_bed6;
/// Polynomial and bit order: Part B, 3.1.1; its initial value, 0x555555, is that of advertising.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_24_BLE);

/// Flags of the pseudo-header: the description of LINKTYPE_BLUETOOTH_LE_LL_WITH_PHDR at tcpdump.org.
const DEWHITENED: u16 = 0x0001;
const SIGNAL_VALID: u16 = 0x0002;
const REFERENCE_VALID: u16 = 0x0010;
const CRC_CHECKED: u16 = 0x0400;
const CRC_VALID: u16 = 0x0800;
/// In the three bits of the PDU's type: an auxiliary advertising PDU. Zero there is any other advertising PDU, zero in
/// the two bits below the PHY AUX_ADV_IND, and zero in the PHY's LE 1M.
const AUXILIARY: u16 = 0x0080;

/// PDU types and the bit of a random advertiser's address: Part B, 2.3.
const ADV_NONCONN_IND: u8 = 0x2;
const ADV_EXT_IND: u8 = 0x7;
const TX_ADD: u8 = 0x40;

/// Flags of the extended header: Part B, 2.3.4.
const HAS_ADV_A: u8 = 0x01;
const HAS_ADI: u8 = 0x08;
const HAS_AUX_PTR: u8 = 0x10;
/// AdvMode, the two bits above the extended header's length: non-connectable and non-scannable.
const ADV_MODE: u8 = 0;

/// AdvData of a legacy advert: Part B, 2.3.1.3.
const LEGACY_MAX: usize = 31;
/// AdvData of AUX_ADV_IND with AdvA and ADI: 255 bytes of payload less 1 + 1 + 6 + 2 of its header.
const AUX_MAX_WITH_ADDRESS: usize = 245;
/// The same without AdvA. The most that a host can set in one piece, too (Volume 4, Part E, 7.8.54).
const AUX_MAX: usize = 251;

/// The largest number in the 13 bits of AuxPtr's offset: Part B, 2.3.4.5.
const OFFSET_MAX: u64 = 0x1fff;
/// Its two units in microseconds, and from where on the coarse one is used.
const FINE: u64 = 30;
const COARSE: u64 = 300;
const FINE_BELOW: u64 = 245_700;
/// Says that the unit is the coarse one.
const OFFSET_COARSE: u32 = 1 << 7;

/// Pseudo-header, access address, PDU and CRC.
pub(super) fn packet(pdu: &Pdu<'_>) -> io::Result<Vec<u8>> {
    let primary = matches!(pdu.channel, 37..=39);
    let (header, payload) = match pdu.kind {
        PduKind::Legacy if !primary => return Err(no_such(pdu, "legacy adverts are on channels 37 to 39")),
        PduKind::ExtInd { .. } if !primary => {
            return Err(no_such(pdu, "ADV_EXT_IND is on channels 37 to 39"));
        }
        PduKind::Aux if pdu.channel > 36 => return Err(no_such(pdu, "AUX_ADV_IND is on channels 0 to 36")),
        PduKind::Legacy => legacy(pdu)?,
        PduKind::ExtInd { aux_channel, aux_after } => ext_ind(pdu, aux_channel, aux_after)?,
        PduKind::Aux => aux(pdu)?,
    };
    // No payload is longer than 255 bytes: the functions above see to it.
    let mut bytes = vec![header, payload.len() as u8];
    bytes.extend(payload);
    // Least significant byte first: the reflected CRC has first what is first on the air.
    let crc = CRC.checksum(&bytes).to_le_bytes();

    let mut packet = Vec::with_capacity(10 + 4 + bytes.len() + 3);
    packet.push(rf_channel(pdu.channel));
    packet.push(pdu.rssi_dbm as u8);
    // Noise, and bits in which the access address differed: neither flag is set.
    packet.extend([0, 0]);
    packet.extend(ACCESS_ADDRESS.to_le_bytes());
    let kind = if pdu.kind == PduKind::Aux { AUXILIARY } else { 0 };
    let flags = DEWHITENED | SIGNAL_VALID | REFERENCE_VALID | CRC_CHECKED | CRC_VALID | kind;
    packet.extend(flags.to_le_bytes());
    packet.extend(ACCESS_ADDRESS.to_le_bytes());
    packet.extend(bytes);
    packet.extend(&crc[..3]);
    Ok(packet)
}

fn legacy(pdu: &Pdu<'_>) -> io::Result<(u8, Vec<u8>)> {
    if pdu.adv_data.len() > LEGACY_MAX {
        return Err(no_such(pdu, "a legacy advert has room for 31 bytes"));
    }
    let payload = [&address(pdu.sender), pdu.adv_data].concat();
    Ok((ADV_NONCONN_IND | TX_ADD, payload))
}

fn ext_ind(pdu: &Pdu<'_>, aux_channel: u8, aux_after: Duration) -> io::Result<(u8, Vec<u8>)> {
    let address = (!address_in_aux(pdu)?).then(|| address(pdu.sender));
    if aux_channel > 36 {
        return Err(no_such(pdu, "its auxiliary packet must be on a channel from 0 to 36"));
    }
    let after = aux_after.as_micros();
    let (offset, unit) = match after {
        0..FINE_BELOW => (after / FINE, 0),
        _ => (after / COARSE, OFFSET_COARSE),
    };
    // An offset of 0 says that there is no auxiliary packet.
    if !(1..=OFFSET_MAX).contains(&offset) {
        return Err(no_such(pdu, "its auxiliary packet must begin 30 us to 2,457,300 us later"));
    }
    let pointer = u32::from(aux_channel) | unit | ((offset as u32) << 8);
    Ok(extended(address, pdu.adv_data, Some(pointer), &[]))
}

fn aux(pdu: &Pdu<'_>) -> io::Result<(u8, Vec<u8>)> {
    let address = address_in_aux(pdu)?.then(|| address(pdu.sender));
    Ok(extended(address, pdu.adv_data, None, pdu.adv_data))
}

/// The address stands in one of the two packets (Part B, 2.3.1.7 and 2.3.2.1): in the auxiliary one, as it is read
/// alone, unless its six bytes do not fit there.
fn address_in_aux(pdu: &Pdu<'_>) -> io::Result<bool> {
    if pdu.adv_data.len() > AUX_MAX {
        return Err(no_such(pdu, "an extended advert has room for 251 bytes without a chain"));
    }
    Ok(pdu.adv_data.len() <= AUX_MAX_WITH_ADDRESS)
}

/// A PDU with an extended header: Part B, 2.3.4. `announced` is the AdvData of the advertising event.
fn extended(
    address: Option<[u8; 6]>,
    announced: &[u8],
    aux_pointer: Option<u32>,
    data: &[u8],
) -> (u8, Vec<u8>) {
    let mut fields = Vec::new();
    let mut flags = HAS_ADI;
    let mut header = ADV_EXT_IND;
    if let Some(address) = address {
        flags |= HAS_ADV_A;
        header |= TX_ADD;
        fields.extend(address);
    }
    // ADI: the set's number, 0, and twelve bits that change with the data. They come from the data, so that both packets
    // of an event have the same.
    fields.extend(((CRC.checksum(announced) & 0x0fff) as u16).to_le_bytes());
    if let Some(pointer) = aux_pointer {
        flags |= HAS_AUX_PTR;
        fields.extend(&pointer.to_le_bytes()[..3]);
    }
    let mut payload = vec![(ADV_MODE << 6) | (fields.len() as u8 + 1), flags];
    payload.extend(fields);
    payload.extend(data);
    (header, payload)
}

/// A sender's static random address, least significant byte first.
fn address(sender: u32) -> [u8; 6] {
    AdvAddress::of(StationId(sender)).bytes
}

/// Channels by frequency, 2402 MHz first, as the pseudo-header has them: Part A, 2 and Part B, 1.4.1.
const fn rf_channel(index: u8) -> u8 {
    match index {
        37 => 0,
        0..=10 => index + 1,
        38 => 12,
        11..=36 => index + 2,
        _ => 39,
    }
}

fn no_such(pdu: &Pdu<'_>, why: &str) -> io::Error {
    let (kind, channel, len) = (pdu.kind, pdu.channel, pdu.adv_data.len());
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!(
            "writing a PDU to the capture: {kind:?} on channel {channel} with {len} bytes of AdvData cannot be: {why}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_go_by_frequency_and_none_comes_twice() {
        let mut seen: Vec<u8> = (0..40).map(rf_channel).collect();
        assert_eq!(
            (seen[37], seen[0], seen[10], seen[38], seen[11], seen[36], seen[39]),
            (0, 1, 11, 12, 13, 38, 39)
        );
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<u8>>());
    }
}
