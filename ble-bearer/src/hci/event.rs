//! What a controller reports to its host.
//!
//! Owns reading events. Whatever bytes come, nothing here panics: what cannot be read is [`Event::Other`] or
//! [`Event::Malformed`]. Only events that a host of advertising needs are distinguished.

use super::packet::EVENT;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A command is done.
    Complete {
        /// Which.
        opcode: u16,
        /// How many commands may follow now.
        credits: u8,
        /// Status first, where the command has one.
        returned: &'a [u8],
    },
    /// A command has begun, or was refused.
    Status {
        /// Which.
        opcode: u16,
        /// How many commands may follow now.
        credits: u8,
        /// 0, or why it was refused.
        status: u8,
    },
    /// The controller says that it is broken.
    HardwareError(u8),
    /// Adverts were heard.
    Reports(AdvReports<'a>),
    /// An advertising set has sent its events, or was stopped.
    SetTerminated {
        /// Which set.
        handle: u8,
        /// 0x43 after as many events as were asked for.
        status: u8,
        /// Advertising events that took place.
        events: u8,
    },
    /// Any other event.
    Other,
    /// An event whose bytes contradict themselves.
    Malformed,
}

/// Whether a report has all of an advert: a report has room for 229 bytes, an advert for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it, or the last part.
    Last,
    /// More follows.
    More,
    /// The rest was lost.
    CutShort,
}

/// Who sent an advert, and from which of its sets.
pub(super) type Sender = ([u8; 6], u8);

/// An advertising report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AdvReport<'a> {
    /// Whose.
    pub(super) from: Sender,
    /// Whether this is all of it.
    pub(super) part: Part,
    /// Content: AD structures, or a part of them.
    pub(super) data: &'a [u8],
    /// Signal strength in dBm, if the controller says.
    pub(super) rssi: Option<i8>,
}

/// The reports in one event. Ends at the first that is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AdvReports<'a> {
    extended: bool,
    left: u8,
    bytes: &'a [u8],
}

impl<'a> Iterator for AdvReports<'a> {
    type Item = AdvReport<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (advert, rest) = if self.extended { extended(self.bytes)? } else { legacy(self.bytes)? };
        self.bytes = rest;
        Some(advert)
    }
}

/// A report of the legacy kind: type, address type, address (6), data, RSSI.
fn legacy(bytes: &[u8]) -> Option<(AdvReport<'_>, &[u8])> {
    let length = usize::from(*bytes.get(8)?);
    let data = bytes.get(9..9 + length)?;
    let rssi = known(*bytes.get(9 + length)?);
    let from = (bytes[2..8].try_into().ok()?, 0);
    Some((AdvReport { from, part: Part::Last, data, rssi }, &bytes[10 + length..]))
}

/// A report of the extended kind: type (2), address type, address (6), PHYs (2), set, power, RSSI, interval (2), peer's address type
/// and address (6), data.
fn extended(bytes: &[u8]) -> Option<(AdvReport<'_>, &[u8])> {
    const DATA: usize = 24;
    let length = usize::from(*bytes.get(DATA - 1)?);
    let data = bytes.get(DATA..DATA + length)?;
    let part = match bytes[0] >> 5 & 0x03 {
        0 => Part::Last,
        1 => Part::More,
        _ => Part::CutShort,
    };
    let from = (bytes[3..9].try_into().ok()?, bytes[11]);
    Some((AdvReport { from, part, data, rssi: known(bytes[13]) }, &bytes[DATA + length..]))
}

/// 127 stands for unknown.
fn known(rssi: u8) -> Option<i8> {
    let rssi = rssi.cast_signed();
    (rssi != 127).then_some(rssi)
}

/// Reads a packet.
#[must_use]
pub(super) fn read(packet: &[u8]) -> Event<'_> {
    let [EVENT, code, length, params @ ..] = packet else { return Event::Malformed };
    if params.len() != usize::from(*length) {
        return Event::Malformed;
    }
    match (*code, params) {
        (0x0e, [credits, low, high, returned @ ..]) => {
            Event::Complete { opcode: u16::from_le_bytes([*low, *high]), credits: *credits, returned }
        }
        (0x0f, [status, credits, low, high]) => {
            Event::Status { opcode: u16::from_le_bytes([*low, *high]), credits: *credits, status: *status }
        }
        (0x10, [code]) => Event::HardwareError(*code),
        (0x3e, [0x02, left, bytes @ ..]) => {
            Event::Reports(AdvReports { extended: false, left: *left, bytes })
        }
        (0x3e, [0x0d, left, bytes @ ..]) => Event::Reports(AdvReports { extended: true, left: *left, bytes }),
        (0x3e, [0x12, status, handle, _, _, events]) => {
            Event::SetTerminated { handle: *handle, status: *status, events: *events }
        }
        (0x0e..=0x10, _) | (0x3e, [] | [0x02 | 0x0d | 0x12, ..]) => Event::Malformed,
        _ => Event::Other,
    }
}

/// The frame in an advert's AD structures: the content of manufacturer data of that company.
#[must_use]
pub(super) fn frame_in(mut data: &[u8], company: u16) -> Option<&[u8]> {
    const MANUFACTURER_DATA: u8 = 0xff;
    while let [length, rest @ ..] = data {
        let length = usize::from(*length);
        // Zero ends the data early; a structure longer than the data is none.
        let structure = rest.get(..length).filter(|structure| !structure.is_empty())?;
        if let [MANUFACTURER_DATA, low, high, frame @ ..] = structure
            && u16::from_le_bytes([*low, *high]) == company
        {
            return Some(frame);
        }
        data = &rest[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_protocol::Rng;

    #[test]
    fn reports_are_read_byte_for_byte() {
        let mut packet =
            vec![0x04, 0x3e, 0, 0x02, 1, 0x03, 0x01, 1, 2, 3, 4, 5, 6, 5, 4, 0xff, 0xff, 0xff, 7, 0xc4];
        packet[2] = packet.len() as u8 - 3;
        let Event::Reports(mut adverts) = read(&packet) else { panic!("no adverts") };
        let advert = adverts.next().unwrap();
        assert_eq!((advert.rssi, frame_in(advert.data, 0xffff)), (Some(-60), Some(&[7][..])));
        assert_eq!(adverts.next(), None);
        assert_eq!(frame_in(advert.data, 0x1234), None);
    }

    #[test]
    fn parts_of_an_advert_are_told_from_whole_ones() {
        let report = |kind: u8, byte: u8| {
            let mut report = vec![kind, 0, 1, 1, 2, 3, 4, 5, 6, 1, 0, 0xff, 127, 127, 0, 0, 0];
            report.extend([0; 6]);
            report.extend([5, 4, 0xff, 0xff, 0xff, byte]);
            report
        };
        let mut packet = vec![0x04, 0x3e, 0, 0x0d, 2];
        packet.extend(report(0x20, 1));
        packet.extend(report(0x10, 2));
        packet[2] = packet.len() as u8 - 3;
        let Event::Reports(adverts) = read(&packet) else { panic!("no adverts") };
        let adverts: Vec<_> = adverts.collect();
        let parts: Vec<_> = adverts.iter().map(|advert| (advert.part, advert.data[4], advert.rssi)).collect();
        assert_eq!(parts, [(Part::More, 1, None), (Part::Last, 2, None)]);
        assert_eq!(adverts[0].from, ([1, 2, 3, 4, 5, 6], 0xff));
    }

    #[test]
    fn what_is_no_event_or_contradicts_itself_is_said_to_be_so() {
        assert_eq!(read(&[]), Event::Malformed);
        assert_eq!(read(&[0x04, 0x0e, 5, 1, 3, 0x0c, 0]), Event::Malformed);
        assert_eq!(read(&[0x04, 0x0e, 2, 1, 3]), Event::Malformed);
        assert_eq!(read(&[0x04, 0x13, 0]), Event::Other);
        assert_eq!(read(&[0x04, 0x10, 1, 7]), Event::HardwareError(7));
        assert_eq!(frame_in(&[3, 0xff, 0xff], 0xffff), None);
        assert_eq!(frame_in(&[0, 3, 0xff, 0xff, 0xff], 0xffff), None);
        assert_eq!(frame_in(&[2, 1, 6, 4, 0xff, 0xff, 0xff, 9], 0xffff), Some(&[9][..]));
    }

    #[test]
    fn random_events_never_panic() {
        for seed in 0..5_000 {
            let mut rng = Rng::new(seed);
            let length = rng.below(256) as usize;
            let mut packet = vec![EVENT, [0x3e, 0x0e, 0x0f, 0x10][rng.below(4) as usize], length as u8];
            packet.extend((0..length).map(|_| rng.below(256) as u8));
            if let Some(kind) = packet.get_mut(3) {
                *kind = [0x02, 0x0d, 0x12, *kind][rng.below(4) as usize];
            }
            if let Event::Reports(adverts) = read(&packet) {
                assert!(adverts.map(|advert| advert.data.len()).sum::<usize>() <= 255, "seed {seed}");
            }
        }
    }
}
