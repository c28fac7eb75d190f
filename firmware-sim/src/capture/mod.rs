//! A capture of the simulated air, as a sniffer on every channel at once would write it: pcapng, for Wireshark.
//!
//! Owns the file: its blocks and when a PDU is refused. The bytes of a packet are `link_layer`'s, what our frames mean
//! is for `tools/wireshark/mesh_gateway.lua`, and what was on the air the caller's.
//!
//! The three kinds of block are written here by hand. The crate `pcap-file` 2.0 counts nanoseconds into every packet
//! whatever resolution the interface declares, defaults to the byte order of the machine, and brings a second `syn`.
//!
//! ```
//! use firmware_sim::capture::{Capture, Pdu, PduKind};
//! use mesh_protocol::Instant;
//!
//! let mut capture = Capture::new(Vec::new())?;
//! capture.pdu(&Pdu {
//!     at: Instant::from_micros(1_500),
//!     channel: 37,
//!     rssi_dbm: -61,
//!     sender: 4,
//!     adv_data: &[4, 0xff, 0xff, 0xff, 0x5b],
//!     kind: PduKind::Legacy,
//! })?;
//! let file = capture.finish()?;
//! assert_eq!(file[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
//! # Ok::<(), std::io::Error>(())
//! ```

mod link_layer;

use std::io::{self, Write};

use mesh_protocol::{Duration, Instant};

/// Of Section Header Blocks: draft-ietf-opsawg-pcapng, section 4.1.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
/// Of Interface Description Blocks: section 4.2.
const INTERFACE_DESCRIPTION: u32 = 1;
/// Of Enhanced Packet Blocks: section 4.3.
const ENHANCED_PACKET: u32 = 6;
/// Tells a reader the byte order: section 4.1.
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// The length of a section of which it is not known beforehand: section 4.1.
const LENGTH_UNKNOWN: u64 = u64::MAX;
/// LINKTYPE_BLUETOOTH_LE_LL_WITH_PHDR: the register of link types at tcpdump.org.
const LINK_TYPE: u16 = 256;
/// No packet is cut off: section 4.2.
const SNAP_LENGTH: u32 = 0;
/// The option shb_userappl: section 4.1.
const OPTION_PROGRAM: u16 = 4;
/// The option if_name: section 4.2.
const OPTION_NAME: u16 = 2;
/// The option if_tsresol: section 4.2.
const OPTION_RESOLUTION: u16 = 9;
/// Microseconds, as the negative power of ten: section 4.2.
const MICROSECONDS: u8 = 6;

/// What is sent, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PduKind {
    /// ADV_NONCONN_IND on a primary channel (37 to 39), with up to 31 bytes of AdvData.
    Legacy,
    /// ADV_EXT_IND on a primary channel. It carries no AdvData itself, but an identifier derived from that of the
    /// auxiliary packet, which is to be given here too.
    ExtInd {
        /// The channel of the auxiliary packet, 0 to 36.
        aux_channel: u8,
        /// From the start of this packet to that of the auxiliary one: 30 us to 2,457,300 us. On the air it is rounded
        /// down to 30 us, from 245,700 us on to 300 us.
        aux_after: Duration,
    },
    /// AUX_ADV_IND on a secondary channel (0 to 36), with up to 251 bytes of AdvData.
    Aux,
}

/// One PDU on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pdu<'a> {
    /// When its first bit was sent, in simulated time.
    pub at: Instant,
    /// The channel index of the link layer, 0 to 39; 37 to 39 are the primary advertising channels.
    pub channel: u8,
    /// How strong it was, in dBm.
    pub rssi_dbm: i8,
    /// The number of the node that sent it: the last four bytes of the address in the packet, `c0:01:..`.
    pub sender: u32,
    /// The whole AdvData: AD structures, each with its length and type.
    pub adv_data: &'a [u8],
    /// What it is.
    pub kind: PduKind,
}

/// Writes a capture.
///
/// Every call writes at once and in one piece; wrap a file in a [`std::io::BufWriter`]. The same PDUs give the same bytes
/// on every machine.
#[derive(Debug)]
pub struct Capture<W: Write> {
    out: W,
}

impl<W: Write> Capture<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(mut out: W) -> io::Result<Self> {
        let mut section = Vec::new();
        section.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        // Version 1.0.
        section.extend(1_u16.to_le_bytes());
        section.extend(0_u16.to_le_bytes());
        section.extend(LENGTH_UNKNOWN.to_le_bytes());
        push_option(&mut section, OPTION_PROGRAM, b"mesh-sim");
        end_options(&mut section);

        let mut interface = Vec::new();
        interface.extend(LINK_TYPE.to_le_bytes());
        interface.extend(0_u16.to_le_bytes());
        interface.extend(SNAP_LENGTH.to_le_bytes());
        push_option(&mut interface, OPTION_NAME, b"simulated air");
        push_option(&mut interface, OPTION_RESOLUTION, &[MICROSECONDS]);
        end_options(&mut interface);

        let mut start = block(SECTION_HEADER, &section);
        start.extend(block(INTERFACE_DESCRIPTION, &interface));
        out.write_all(&start)?;
        Ok(Self { out })
    }

    /// Writes a PDU. Readers show them in the order written.
    ///
    /// # Errors
    /// `InvalidInput` when there can be no such PDU: a channel that is not one of its kind's, AdvData that is too long,
    /// an auxiliary packet out of reach. Nothing is written then. Otherwise what the writer says.
    pub fn pdu(&mut self, pdu: &Pdu<'_>) -> io::Result<()> {
        let packet = link_layer::packet(pdu)?;
        let at = pdu.at.as_micros();
        let len = (packet.len() as u32).to_le_bytes();
        let mut body = Vec::with_capacity(20 + packet.len() + 3);
        // The first interface of the section.
        body.extend(0_u32.to_le_bytes());
        body.extend(((at >> 32) as u32).to_le_bytes());
        body.extend((at as u32).to_le_bytes());
        // As long in the file as it was on the air.
        body.extend(len);
        body.extend(len);
        body.extend(packet);
        pad(&mut body);
        self.out.write_all(&block(ENHANCED_PACKET, &body))
    }

    /// Ends the capture and gives the writer back.
    ///
    /// # Errors
    /// What the writer says when it is flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A block around `body`, whose length must be a multiple of four: section 3.1.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    let mut block = Vec::with_capacity(body.len() + 12);
    block.extend(kind.to_le_bytes());
    block.extend(len);
    block.extend(body);
    block.extend(len);
    block
}

/// Section 3.5. `value` is one of the short constants of this file.
fn push_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn end_options(body: &mut Vec<u8>) {
    push_option(body, 0, &[]);
}

/// Up to a multiple of four bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
