//! Which commands a virtual controller knows, and those that neither advertise nor scan.
//!
//! Owns the table of commands: what each takes and returns, its bit among the supported commands, and which controllers have it.
//! Everything else is unknown, as on a real controller.

use ble_bearer::sim::Radio;
use mesh_protocol::Instant;

use super::call::{Call, Reply, Status, Style, address};
use super::{EVENTS_MAX, VirtualController, events};

type Run = fn(&mut VirtualController, &[u8], &mut Call<'_, '_>) -> Reply;

/// How many bytes of parameters a command has.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Just(usize),
    /// As few as this; the command looks itself.
    From(usize),
}

struct HciCommand {
    opcode: u16,
    /// Octet and bit among the supported commands (6.27).
    bit: (usize, u8),
    style: Option<Style>,
    takes: Takes,
    /// How many bytes it returns behind its status, also when it fails.
    returns: usize,
    run: Run,
}

const fn plain(opcode: u16, bit: (usize, u8), takes: usize, returns: usize, run: Run) -> HciCommand {
    HciCommand { opcode, bit, style: None, takes: Takes::Just(takes), returns, run }
}

const fn legacy(opcode: u16, bit: (usize, u8), takes: usize, returns: usize, run: Run) -> HciCommand {
    HciCommand { opcode, bit, style: Some(Style::Legacy), takes: Takes::Just(takes), returns, run }
}

const fn extended(opcode: u16, bit: (usize, u8), takes: Takes, returns: usize, run: Run) -> HciCommand {
    HciCommand { opcode, bit, style: Some(Style::Extended), takes, returns, run }
}

/// In order of their opcodes.
const COMMANDS: &[HciCommand] = &[
    plain(0x0c01, (5, 6), 8, 0, VirtualController::set_event_mask),
    plain(0x0c03, (5, 7), 0, 0, |controller, _, call| {
        controller.reset(call.radio);
        Ok(Vec::new())
    }),
    // Controller to host flow control: there is no data to hold back.
    plain(0x0c31, (10, 5), 1, 0, nothing),
    plain(0x0c33, (10, 6), 7, 0, nothing),
    plain(0x0c63, (22, 2), 8, 0, nothing),
    plain(0x1001, (14, 3), 0, 8, |controller, _, _| Ok(controller.version())),
    plain(0x1002, NO_BIT, 0, 64, |controller, _, _| Ok(controller.supported_commands())),
    // Without BR/EDR, with LE.
    plain(0x1003, (14, 5), 0, 8, |_, _, _| Ok(vec![0, 0, 0, 0, 0x60, 0, 0, 0])),
    plain(0x1005, (14, 7), 0, 7, |_, _, _| Ok(vec![ACL_LENGTH, 0, 0, ACL_PACKETS, 0, 0, 0])),
    plain(0x1009, (15, 1), 0, 6, |controller, _, _| Ok(controller.public.bytes.to_vec())),
    plain(0x2001, (25, 0), 8, 0, VirtualController::set_le_event_mask),
    plain(0x2002, (25, 1), 0, 3, |_, _, _| Ok(vec![ACL_LENGTH, 0, ACL_PACKETS])),
    plain(0x2003, (25, 2), 0, 8, |controller, _, _| Ok(controller.le_features())),
    plain(0x2005, (25, 4), 6, 0, VirtualController::set_random_address),
    legacy(0x2006, (25, 5), 15, 0, VirtualController::set_advertising_parameters),
    legacy(0x2007, (25, 6), 0, 1, |controller, _, _| Ok(vec![controller.tx_dbm as u8])),
    legacy(0x2008, (25, 7), 32, 0, VirtualController::set_advertising_data),
    legacy(0x2009, (26, 0), 32, 0, VirtualController::set_scan_response),
    legacy(0x200a, (26, 1), 1, 0, VirtualController::set_advertising_enable),
    legacy(0x200b, (26, 2), 7, 0, VirtualController::set_scan_parameters),
    legacy(0x200c, (26, 3), 2, 0, VirtualController::set_scan_enable),
    plain(0x200f, (26, 6), 0, 1, |_, _, _| Ok(vec![super::scanner::ACCEPT_MAX as u8])),
    plain(0x2010, (26, 7), 0, 0, VirtualController::clear_accept_list),
    plain(0x2011, (27, 0), 7, 0, VirtualController::add_to_accept_list),
    plain(0x2012, (27, 1), 7, 0, VirtualController::remove_from_accept_list),
    plain(0x2018, (27, 7), 0, 8, |controller, _, _| Ok(controller.rng.next_u64().to_le_bytes().to_vec())),
    plain(0x201c, (28, 3), 0, 8, |_, _, _| Ok(SUPPORTED_STATES.to_le_bytes().to_vec())),
    extended(0x2035, (36, 1), Takes::Just(7), 0, VirtualController::set_random_address_of_set),
    extended(0x2036, (36, 2), Takes::Just(25), 1, VirtualController::set_extended_parameters),
    extended(0x2037, (36, 3), Takes::From(4), 0, VirtualController::set_extended_data),
    extended(0x2038, (36, 4), Takes::From(4), 0, VirtualController::set_extended_response),
    extended(0x2039, (36, 5), Takes::From(2), 0, VirtualController::set_extended_enable),
    extended(0x203a, (36, 6), Takes::Just(0), 2, |_, _, _| {
        Ok((ble_bearer::sim::ADV_DATA_MAX as u16).to_le_bytes().to_vec())
    }),
    extended(0x203b, (36, 7), Takes::Just(0), 1, |controller, _, _| Ok(vec![controller.kind.sets() as u8])),
    extended(0x203c, (37, 0), Takes::Just(1), 0, VirtualController::remove_set),
    extended(0x203d, (37, 1), Takes::Just(0), 0, VirtualController::clear_sets),
    extended(0x2041, (37, 5), Takes::From(3), 0, VirtualController::set_extended_scan_parameters),
    extended(0x2042, (37, 6), Takes::Just(6), 0, VirtualController::set_extended_scan_enable),
];

/// Reading the supported commands is none of them.
const NO_BIT: (usize, u8) = (64, 0);
/// Host Number Of Completed Packets: the one command that is never answered (7.3.40).
const COMPLETED_PACKETS: u16 = 0x0c35;
/// Data that the host might send if it had a connection, which it cannot have: hosts do not like to hear of no room at all.
const ACL_LENGTH: u8 = 251;
const ACL_PACKETS: u8 = 8;
/// Advertising of each undirected kind, scanning of both, and every two of them at once (7.8.27).
const SUPPORTED_STATES: u64 = 0x7737;
/// Bits of the LE features (Volume 6 Part B, 4.6): LE 2M PHY, extended advertising.
const LE_2M: u64 = 1 << 8;
const LE_EXTENDED_ADVERTISING: u64 = 1 << 12;
/// Assigned numbers of Bluetooth versions, and the company that stands for none.
const BLUETOOTH_5_0: u8 = 0x09;
const BLUETOOTH_5_1: u8 = 0x0a;
const NO_COMPANY: u16 = 0xffff;

/// A command that changes nothing here.
fn nothing(_: &mut VirtualController, _: &[u8], _: &mut Call<'_, '_>) -> Reply {
    Ok(Vec::new())
}

impl VirtualController {
    /// Does what a command says, and answers it.
    pub(super) fn command(&mut self, now: Instant, opcode: u16, parameters: &[u8], radio: &mut Radio<'_>) {
        if opcode == COMPLETED_PACKETS {
            return;
        }
        let Some(command) = self.known().find(|command| command.opcode == opcode) else {
            self.counters.refused += 1;
            self.push(events::status(opcode, Status::UNKNOWN_COMMAND), EVENTS_MAX);
            return;
        };
        let reply = match (command.takes, command.style) {
            // Lengths come first: a command of a wrong length has no meaning, and must not decide which style the host uses.
            (Takes::Just(length), _) if parameters.len() != length => Err(Status::INVALID),
            (Takes::From(length), _) if parameters.len() < length => Err(Status::INVALID),
            (_, Some(style)) if self.style.is_some_and(|used| used != style) => Err(Status::DISALLOWED),
            (_, style) => {
                // What the host uses counts, not what succeeds.
                self.style = self.style.or(style);
                (command.run)(self, parameters, &mut Call { now, radio })
            }
        };
        let event = match reply {
            Ok(returned) => events::complete(opcode, Status::SUCCESS, &returned),
            Err(status) => {
                self.counters.refused += 1;
                // A failed command returns as many bytes as one that did not: hosts may parse all of them before they look at the status.
                events::complete(opcode, status, &vec![0; command.returns])
            }
        };
        self.push(event, EVENTS_MAX);
    }

    /// The commands that this kind of controller has.
    fn known(&self) -> impl Iterator<Item = &'static HciCommand> + use<> {
        let extended = self.kind.is_extended();
        COMMANDS.iter().filter(move |command| extended || command.style != Some(Style::Extended))
    }

    fn supported_commands(&self) -> Vec<u8> {
        let mut bits = vec![0_u8; 64];
        for HciCommand { bit: (octet, bit), .. } in self.known() {
            if let Some(octet) = bits.get_mut(*octet) {
                *octet |= 1 << bit;
            }
        }
        bits
    }

    /// HCI and link layer of one version, no revisions, and nobody's: hosts work around what they know of some companies'.
    fn version(&self) -> Vec<u8> {
        let version = if self.kind.is_extended() { BLUETOOTH_5_1 } else { BLUETOOTH_5_0 };
        let [low, high] = NO_COMPANY.to_le_bytes();
        vec![version, 0, 0, version, low, high, 0, 0]
    }

    fn le_features(&self) -> Vec<u8> {
        let features = if self.kind.is_extended() { LE_2M | LE_EXTENDED_ADVERTISING } else { 0 };
        features.to_le_bytes().to_vec()
    }

    fn set_event_mask(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        self.event_mask = mask(parameters)?;
        Ok(Vec::new())
    }

    fn set_le_event_mask(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        self.le_event_mask = mask(parameters)?;
        Ok(Vec::new())
    }

    /// Not while it is in use (7.8.4); the sets of extended advertising have addresses of their own.
    fn set_random_address(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        if self.legacy.enabled || self.scanner.enabled {
            return Err(Status::DISALLOWED);
        }
        self.random = Some(address(parameters)?);
        Ok(Vec::new())
    }
}

fn mask(parameters: &[u8]) -> Result<u64, Status> {
    parameters.try_into().map(u64::from_le_bytes).map_err(|_| Status::INVALID)
}
