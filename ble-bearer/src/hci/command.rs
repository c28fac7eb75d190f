//! What a host has its controller do.
//!
//! Owns the commands that advertising and scanning need, with the parameters that this bearer wants. Their layout is
//! `bt-hci`'s. Which of them follow each other is for `setup` and the schedulers.

use bt_hci::cmd::controller_baseband::{Reset, SetEventMask};
use bt_hci::cmd::info::{ReadBdAddr, ReadLocalVersionInformation};
use bt_hci::cmd::le::{
    LeClearAdvSets, LeReadLocalSupportedFeatures, LeReadMaxAdvDataLength, LeReadNumberOfSupportedAdvSets,
    LeSetAdvData, LeSetAdvEnable, LeSetAdvParams, LeSetAdvSetRandomAddr, LeSetEventMask, LeSetExtAdvData,
    LeSetExtAdvEnable, LeSetExtAdvParams, LeSetExtScanEnable, LeSetExtScanParams, LeSetRandomAddr,
    LeSetScanEnable, LeSetScanParams,
};
use bt_hci::cmd::{Cmd, Opcode};
use bt_hci::param::{
    AddrKind, AdvChannelMap, AdvEventProps, AdvFilterPolicy, AdvHandle, AdvKind, AdvSet, BdAddr, EventMask,
    ExtDuration, FilterDuplicates, LeEventMask, LeScanKind, Operation, PhyKind, PhyParams,
    ScanningFilterPolicy, ScanningPhy,
};
use mesh_protocol::Duration;

use super::packet::{COMMAND, MAX_PACKET, Packet};

/// A command, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// What its completion names.
    pub(super) opcode: u16,
    /// Its bytes.
    pub(super) packet: Packet,
}

/// The static random address of an adapter: the two highest bits are set (Core Specification, Vol 6 Part B, 1.3.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StaticAddress([u8; 6]);

impl StaticAddress {
    /// From random bits. An address of all ones or all zeros is no address, and is not made.
    #[must_use]
    pub(super) const fn new(random: u64) -> Self {
        let [a, b, c, d, e, f, ..] = (random ^ 1).to_le_bytes();
        let a = if b == 0 || b == 0xff { a ^ 0x55 } else { a };
        let b = if a == 0 || a == 0xff { b ^ 0x55 } else { b };
        Self([a, b, c, d, e, f | 0xc0])
    }

    /// Its bytes, the lowest first, as on the air.
    #[must_use]
    pub(super) const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

/// In units of 0.625 ms, which is what intervals are counted in; at most 10.24 s.
fn slots(span: Duration) -> u16 {
    (span.as_micros() / 625).min(0x4000) as u16
}

fn interval(span: Duration) -> bt_hci::param::Duration<625> {
    bt_hci::param::Duration::from_u16(slots(span))
}

fn extended_interval(span: Duration) -> ExtDuration<625> {
    ExtDuration::from_micros(u64::from(slots(span)) * 625)
}

/// Any command.
pub(super) fn command<C: Cmd>(command: &C) -> Command {
    let mut bytes = [0; MAX_PACKET];
    bytes[0] = COMMAND;
    let mut rest = &mut bytes[1..];
    let room = rest.len();
    // No command is longer than its header's one byte of length can say, which is what the buffer holds.
    let written = match bt_hci::WriteHci::write_hci(command, &mut rest) {
        Ok(()) => room - rest.len(),
        Err(_) => 0,
    };
    let packet = Packet::from_slice(&bytes[..1 + written]).unwrap_or_default();
    Command { opcode: C::OPCODE.to_raw(), packet }
}

pub(super) fn reset() -> Command {
    command(&Reset::new())
}

pub(super) fn read_version() -> Command {
    command(&ReadLocalVersionInformation::new())
}

pub(super) fn read_address() -> Command {
    command(&ReadBdAddr::new())
}

pub(super) fn read_features() -> Command {
    command(&LeReadLocalSupportedFeatures::new())
}

pub(super) fn read_sets() -> Command {
    command(&LeReadNumberOfSupportedAdvSets::new())
}

pub(super) fn read_max_data() -> Command {
    command(&LeReadMaxAdvDataLength::new())
}

/// Lets through hardware errors and everything of LE.
pub(super) fn set_event_mask() -> Command {
    command(&SetEventMask::new(EventMask::new().enable_hardware_error(true).enable_le_meta(true)))
}

/// Lets through adverts and, of a controller that has them, the ends of advertising sets.
pub(super) fn set_le_event_mask(extended: bool) -> Command {
    let mask = LeEventMask::new().enable_le_adv_report(true);
    let mask = mask.enable_le_ext_adv_report(extended).enable_le_adv_set_terminated(extended);
    command(&LeSetEventMask::new(mask))
}

pub(super) fn set_random_address(address: StaticAddress) -> Command {
    command(&LeSetRandomAddr::new(BdAddr::new(address.bytes())))
}

/// Non-connectable, from the random address, on all three channels.
pub(super) fn set_adv_params(every: Duration) -> Command {
    let (every, nobody) = (interval(every), BdAddr::default());
    command(&LeSetAdvParams::new(
        every,
        every,
        AdvKind::AdvNonconnInd,
        AddrKind::RANDOM,
        AddrKind::PUBLIC,
        nobody,
        AdvChannelMap::ALL,
        AdvFilterPolicy::Unfiltered,
    ))
}

/// `data` beyond 31 bytes is cut off; callers hold to what a legacy advert carries.
pub(super) fn set_adv_data(data: &[u8]) -> Command {
    let mut whole = [0; 31];
    let length = data.len().min(whole.len());
    whole[..length].copy_from_slice(&data[..length]);
    command(&LeSetAdvData::new(length as u8, whole))
}

pub(super) fn set_adv_enable(enable: bool) -> Command {
    command(&LeSetAdvEnable::new(enable))
}

/// Passive.
pub(super) fn set_scan_params(every: Duration, window: Duration) -> Command {
    let unfiltered = ScanningFilterPolicy::BasicUnfiltered;
    command(&LeSetScanParams::new(
        LeScanKind::Passive,
        interval(every),
        interval(window),
        AddrKind::RANDOM,
        unfiltered,
    ))
}

/// Duplicates are reported: a relay sends the same bytes again on purpose.
pub(super) fn set_scan_enable(enable: bool) -> Command {
    command(&LeSetScanEnable::new(enable, false))
}

/// Non-connectable; legacy PDUs, which everyone hears, unless `long`.
pub(super) fn set_ext_adv_params(handle: u8, every: Duration, long: bool) -> Command {
    let every = extended_interval(every);
    // The controller chooses the power.
    const NO_PREFERENCE: i8 = 127;
    command(&LeSetExtAdvParams::new(
        AdvHandle::new(handle),
        AdvEventProps::new().set_legacy_adv(!long),
        every,
        every,
        AdvChannelMap::ALL,
        AddrKind::RANDOM,
        AddrKind::PUBLIC,
        BdAddr::default(),
        AdvFilterPolicy::Unfiltered,
        NO_PREFERENCE,
        PhyKind::Le1M,
        0,
        PhyKind::Le1M,
        handle & 0x0f,
        false,
    ))
}

pub(super) fn set_adv_set_address(handle: u8, address: StaticAddress) -> Command {
    command(&LeSetAdvSetRandomAddr::new(AdvHandle::new(handle), BdAddr::new(address.bytes())))
}

/// At most 251 bytes; callers hold to what the controller takes.
pub(super) fn set_ext_adv_data(handle: u8, data: &[u8]) -> Command {
    let data = &data[..data.len().min(251)];
    command(&LeSetExtAdvData::new(AdvHandle::new(handle), Operation::Complete, true, data))
}

/// Starts a set for so many events.
pub(super) fn start_set(handle: u8, events: u8) -> Command {
    let duration = bt_hci::param::Duration::from_u16(0);
    let set = [AdvSet { adv_handle: AdvHandle::new(handle), duration, max_ext_adv_events: events }];
    command(&LeSetExtAdvEnable::new(true, &set))
}

pub(super) fn stop_set(handle: u8) -> Command {
    let duration = bt_hci::param::Duration::from_u16(0);
    let set = [AdvSet { adv_handle: AdvHandle::new(handle), duration, max_ext_adv_events: 0 }];
    command(&LeSetExtAdvEnable::new(false, &set))
}

pub(super) fn clear_sets() -> Command {
    command(&LeClearAdvSets::new())
}

/// Passive, on LE 1M.
pub(super) fn set_ext_scan_params(every: Duration, window: Duration) -> Command {
    let scan_interval = interval(every);
    let phy = ScanningPhy { active_scan: false, scan_interval, scan_window: interval(window) };
    let phys = PhyParams { le_1m_phy: Some(phy), le_2m_phy: None, le_coded_phy: None };
    command(&LeSetExtScanParams::new(AddrKind::RANDOM, ScanningFilterPolicy::BasicUnfiltered, phys))
}

pub(super) fn set_ext_scan_enable(enable: bool) -> Command {
    let forever = bt_hci::param::Duration::from_u16(0);
    let pause = bt_hci::param::Duration::from_u16(0);
    command(&LeSetExtScanEnable::new(enable, FilterDuplicates::Disabled, forever, pause))
}

/// What a person reads of a command.
#[must_use]
pub(super) fn name(opcode: u16) -> &'static str {
    let is = |known: Opcode| known.to_raw() == opcode;
    match () {
        () if is(Reset::OPCODE) => "Reset",
        () if is(ReadLocalVersionInformation::OPCODE) => "Read Local Version Information",
        () if is(ReadBdAddr::OPCODE) => "Read BD_ADDR",
        () if is(SetEventMask::OPCODE) => "Set Event Mask",
        () if is(LeSetEventMask::OPCODE) => "LE Set Event Mask",
        () if is(LeReadLocalSupportedFeatures::OPCODE) => "LE Read Local Supported Features",
        () if is(LeReadNumberOfSupportedAdvSets::OPCODE) => "LE Read Number of Supported Advertising Sets",
        () if is(LeReadMaxAdvDataLength::OPCODE) => "LE Read Maximum Advertising Data Length",
        () if is(LeSetRandomAddr::OPCODE) => "LE Set Random Address",
        () if is(LeSetAdvParams::OPCODE) => "LE Set Advertising Parameters",
        () if is(LeSetAdvData::OPCODE) => "LE Set Advertising Data",
        () if is(LeSetAdvEnable::OPCODE) => "LE Set Advertising Enable",
        () if is(LeSetScanParams::OPCODE) => "LE Set Scan Parameters",
        () if is(LeSetScanEnable::OPCODE) => "LE Set Scan Enable",
        () if is(LeSetAdvSetRandomAddr::OPCODE) => "LE Set Advertising Set Random Address",
        () if is(LeSetExtAdvParams::OPCODE) => "LE Set Extended Advertising Parameters",
        () if is(LeSetExtAdvData::OPCODE) => "LE Set Extended Advertising Data",
        () if is(LeSetExtAdvEnable::OPCODE) => "LE Set Extended Advertising Enable",
        () if is(LeClearAdvSets::OPCODE) => "LE Clear Advertising Sets",
        () if is(LeSetExtScanParams::OPCODE) => "LE Set Extended Scan Parameters",
        () if is(LeSetExtScanEnable::OPCODE) => "LE Set Extended Scan Enable",
        () => "a command",
    }
}

/// What a person reads of a status.
#[must_use]
pub(super) fn reason(status: u8) -> &'static str {
    match status {
        0x00 => "success",
        0x01 => "unknown command",
        0x03 => "hardware failure",
        0x07 => "memory exceeded",
        0x09 => "connection limit exceeded",
        0x0c => "command disallowed",
        0x0d => "limited resources",
        0x11 => "unsupported feature or value",
        0x12 => "invalid parameters",
        0x1f => "unspecified error",
        0x42 => "unknown advertising set",
        0x45 => "packet too long",
        _ => "an error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_bytes_of_the_core_specification() {
        assert_eq!(*reset().packet, [1, 0x03, 0x0c, 0]);
        assert_eq!(reset().opcode, 0x0c03);
        assert_eq!(*set_adv_enable(true).packet, [1, 0x0a, 0x20, 1, 1]);
        let params = [1, 0x06, 0x20, 15, 32, 0, 32, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0];
        assert_eq!(*set_adv_params(Duration::from_millis(20)).packet, params);
        assert_eq!(set_adv_data(&[1; 40]).packet.len(), 4 + 32);
        let scan = [1, 0x0b, 0x20, 7, 0, 0x20, 3, 0x20, 3, 1, 0];
        assert_eq!(*set_scan_params(Duration::from_millis(500), Duration::from_millis(500)).packet, scan);
        assert_eq!(*start_set(2, 3).packet, [1, 0x39, 0x20, 6, 1, 1, 2, 0, 0, 3]);
        let ext = [
            1, 0x36, 0x20, 25, 2, 0x10, 0, 32, 0, 0, 32, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 127, 1, 0, 1, 2,
            0,
        ];
        assert_eq!(*set_ext_adv_params(2, Duration::from_millis(20), false).packet, ext);
        assert_eq!(*set_ext_adv_data(1, &[7, 8]).packet, [1, 0x37, 0x20, 6, 1, 3, 1, 2, 7, 8]);
        assert_eq!(*set_ext_scan_enable(true).packet, [1, 0x42, 0x20, 6, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_static_address_has_its_two_highest_bits_and_is_never_all_ones_or_zeros() {
        for random in [0, 1, u64::MAX, u64::MAX - 1, 0x1234] {
            let bytes = StaticAddress::new(random).bytes();
            assert_eq!(bytes[5] & 0xc0, 0xc0);
            assert_ne!(bytes, [0xff; 6]);
            assert_ne!(bytes, [0, 0, 0, 0, 0, 0xc0]);
        }
    }
}
