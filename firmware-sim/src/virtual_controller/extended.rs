//! Extended advertising, as a host commands it (Core Specification, Volume 4 Part E, 7.8.52 to 7.8.60).
//!
//! Owns the advertising sets: what the commands mean, when they are refused, and how a set ends. The events on the air are the radio's
//! business.

use ble_bearer::sim::{ADV_DATA_MAX, AdvPdu, LEGACY_ADV_DATA, Phy, Radio};
use mesh_protocol::{Duration, Instant};

use super::advertiser::{Advertiser, interval};
use super::call::{Call, Reply, Status, address, is_random};
use super::legacy::check_channels;
use super::{EVENTS_MAX, VirtualController, events};

/// The shortest advertising interval, in units of 0.625 ms (7.8.53).
const INTERVAL_MIN: u32 = 0x20;
/// The largest number that names a set (7.8.53).
const HANDLE_MAX: u8 = 0xef;
/// The largest number of a set on the air (7.8.53).
const SID_MAX: u8 = 0x0f;
/// The unit of a set's duration (7.8.56).
const DURATION_UNIT: u64 = 10_000;

/// Bits of what an advert is (7.8.53).
const CONNECTABLE: u16 = 1 << 0;
const SCANNABLE: u16 = 1 << 1;
const LEGACY: u16 = 1 << 4;
/// All that are known.
const PROPERTIES: u16 = 0x7f;

/// Which part of the data a command brings (7.8.54).
const INTERMEDIATE: u8 = 0;
const FIRST: u8 = 1;
const LAST: u8 = 2;
const COMPLETE: u8 = 3;
const UNCHANGED: u8 = 4;

/// What is set: the data, or the answer to those who ask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Data,
    Response,
}

/// Sets and their data.
impl VirtualController {
    pub(super) fn set_random_address_of_set(&mut self, parameters: &[u8], call: &mut Call<'_, '_>) -> Reply {
        let (handle, bytes) = parameters.split_first().ok_or(Status::INVALID)?;
        let set = self.sets.get_mut(handle).ok_or(Status::UNKNOWN_SET)?;
        if set.enabled && !is_quiet(set.pdu) {
            return Err(Status::DISALLOWED);
        }
        set.random = Some(address(bytes)?);
        self.renew(*handle, call.radio)
    }

    pub(super) fn set_extended_parameters(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        let &[handle, p_low, p_high, min0, min1, min2, max0, max1, max2, channels, own, ref rest @ ..] =
            parameters
        else {
            return Err(Status::INVALID);
        };
        // Behind the peer's type and address.
        let &[_, _, _, _, _, _, _, policy, _, primary, _, secondary, sid, notify] = rest else {
            return Err(Status::INVALID);
        };
        let min = u32::from_le_bytes([min0, min1, min2, 0]);
        let max = u32::from_le_bytes([max0, max1, max2, 0]);
        if handle > HANDLE_MAX || min < INTERVAL_MIN || min > max || policy > 3 || sid > SID_MAX || notify > 1
        {
            return Err(Status::INVALID);
        }
        check_channels(channels)?;
        let pdu = pdu(u16::from_le_bytes([p_low, p_high]), primary, secondary, sid)?;
        let own_random = is_random(own)?;
        let most = data_max(pdu);
        let slot = match self.sets.get(&handle) {
            Some(set) if set.enabled => return Err(Status::DISALLOWED),
            Some(set) if set.data.len() > most => return Err(Status::INVALID),
            Some(set) => set.slot,
            None => {
                let free = |slot: &usize| self.sets.values().all(|set| set.slot != *slot);
                (0..self.kind.sets()).find(free).ok_or(Status::MEMORY)?
            }
        };
        let fresh = Advertiser::new(slot, pdu, interval(min), own_random);
        let set = self.sets.entry(handle).or_insert(fresh);
        (set.pdu, set.interval, set.own_random) = (pdu, interval(min), own_random);
        Ok(vec![self.tx_dbm as u8])
    }

    pub(super) fn set_extended_data(&mut self, parameters: &[u8], call: &mut Call<'_, '_>) -> Reply {
        self.set_part(What::Data, parameters, call)
    }

    pub(super) fn set_extended_response(&mut self, parameters: &[u8], call: &mut Call<'_, '_>) -> Reply {
        self.set_part(What::Response, parameters, call)
    }

    fn set_part(&mut self, what: What, parameters: &[u8], call: &mut Call<'_, '_>) -> Reply {
        // How the controller may cut it on the air is behind the operation; here it is in one piece.
        let &[handle, operation, _, length, ref part @ ..] = parameters else { return Err(Status::INVALID) };
        if part.len() != usize::from(length) || part.len() > ADV_DATA_MAX || operation > UNCHANGED {
            return Err(Status::INVALID);
        }
        let set = self.sets.get_mut(&handle).ok_or(Status::UNKNOWN_SET)?;
        let most = data_max(set.pdu);
        let legacy = most == LEGACY_ADV_DATA;
        if set.enabled && !matches!(operation, COMPLETE | UNCHANGED) {
            return Err(Status::DISALLOWED);
        }
        if legacy && (operation != COMPLETE || part.len() > most) {
            return Err(Status::INVALID);
        }
        let held = if what == What::Data { &mut set.data } else { &mut set.response };
        let partial = matches!(operation, INTERMEDIATE | FIRST);
        match operation {
            UNCHANGED if what == What::Response || !set.enabled || held.is_empty() || !part.is_empty() => {
                return Err(Status::INVALID);
            }
            UNCHANGED => {}
            FIRST | COMPLETE => {
                if part.is_empty() && operation == FIRST {
                    return Err(Status::INVALID);
                }
                held.clear();
                held.extend_from_slice(part);
            }
            _ if part.is_empty() || (what == What::Data && !set.partial) => return Err(Status::INVALID),
            _ if held.len() + part.len() > most => {
                // What was there is gone too (7.8.54).
                held.clear();
                set.partial = false;
                return Err(Status::MEMORY);
            }
            INTERMEDIATE | LAST => held.extend_from_slice(part),
            _ => return Err(Status::INVALID),
        }
        if what == What::Data {
            set.partial = partial;
        }
        self.renew(handle, call.radio)
    }

    /// Lets a set that is on the air go on with what it has now.
    fn renew(&self, handle: u8, radio: &mut Radio<'_>) -> Reply {
        let set = self.sets.get(&handle).ok_or(Status::UNKNOWN_SET)?;
        if set.enabled {
            radio.change(set.slot, set.advert(self.own(set.own_random, set.random)?)?);
        }
        Ok(Vec::new())
    }

    pub(super) fn remove_set(&mut self, parameters: &[u8], _: &mut Call<'_, '_>) -> Reply {
        let handle = parameters.first().ok_or(Status::INVALID)?;
        match self.sets.get(handle) {
            None => Err(Status::UNKNOWN_SET),
            Some(set) if set.enabled => Err(Status::DISALLOWED),
            Some(_) => {
                self.sets.remove(handle);
                Ok(Vec::new())
            }
        }
    }

    pub(super) fn clear_sets(&mut self, _: &[u8], _: &mut Call<'_, '_>) -> Reply {
        if self.sets.values().any(|set| set.enabled) {
            return Err(Status::DISALLOWED);
        }
        self.sets.clear();
        Ok(Vec::new())
    }
}

/// On and off.
impl VirtualController {
    /// Of several sets all are switched, or none.
    pub(super) fn set_extended_enable(&mut self, parameters: &[u8], call: &mut Call<'_, '_>) -> Reply {
        let &[enable, count, ref list @ ..] = parameters else { return Err(Status::INVALID) };
        let (chosen, rest) = list.as_chunks::<4>();
        if enable > 1 || chosen.len() != usize::from(count) || !rest.is_empty() {
            return Err(Status::INVALID);
        }
        if chosen.is_empty() {
            if enable == 1 {
                return Err(Status::INVALID);
            }
            let all: Vec<u8> = self.sets.keys().copied().collect();
            all.into_iter().for_each(|handle| self.stop_set(handle, call.radio));
            return Ok(Vec::new());
        }
        // All are looked at before the first one is switched: a command that fails leaves every set as it was.
        let mut adverts = Vec::new();
        for (n, [handle, ..]) in chosen.iter().enumerate() {
            if chosen[..n].iter().any(|[other, ..]| other == handle) {
                return Err(Status::INVALID);
            }
            let set = self.sets.get(handle).ok_or(Status::UNKNOWN_SET)?;
            if enable == 1 {
                if set.partial {
                    return Err(Status::DISALLOWED);
                }
                adverts.push(set.advert(self.own(set.own_random, set.random)?)?);
            }
        }
        if enable == 0 {
            chosen.iter().for_each(|[handle, ..]| self.stop_set(*handle, call.radio));
            return Ok(Vec::new());
        }
        for ([handle, low, high, events], advert) in chosen.iter().zip(adverts) {
            let Some(set) = self.sets.get_mut(handle) else { continue };
            let limit = (*events != 0).then_some(*events);
            call.radio.start(set.slot, advert, limit, set.interval).map_err(|_| Status::MEMORY)?;
            let duration = u16::from_le_bytes([*low, *high]);
            let span = Duration::from_micros(u64::from(duration) * DURATION_UNIT);
            (set.enabled, set.limit) = (true, limit);
            set.until = (duration != 0).then(|| call.now + span);
        }
        Ok(Vec::new())
    }

    fn stop_set(&mut self, handle: u8, radio: &mut Radio<'_>) {
        if let Some(set) = self.sets.get_mut(&handle).filter(|set| set.enabled) {
            radio.stop(set.slot);
            (set.enabled, set.until) = (false, None);
        }
    }

    /// Ends sets whose time is over, and says so.
    pub(super) fn end_sets(&mut self, now: Instant, radio: &mut Radio<'_>) {
        let mut ended = Vec::new();
        for (handle, set) in &mut self.sets {
            if set.until.is_some_and(|until| until <= now) {
                let events = radio.stop(set.slot);
                (set.enabled, set.until) = (false, None);
                ended.push((*handle, u8::try_from(events).unwrap_or(u8::MAX)));
            }
        }
        for (handle, events) in ended {
            self.terminated(Status::TIMEOUT, handle, events);
        }
    }

    /// All events of a set that were asked for are on the air: says so.
    pub(super) fn set_sent(&mut self, slot: usize) {
        let found = self.sets.iter_mut().find(|(_, set)| set.slot == slot && set.enabled);
        let Some((&handle, set)) = found else { return };
        (set.enabled, set.until) = (false, None);
        let events = set.limit.unwrap_or(0);
        self.terminated(Status::LIMIT, handle, events);
    }

    fn terminated(&mut self, why: Status, handle: u8, events: u8) {
        if self.wants(events::SET_TERMINATED) {
            self.push(events::set_terminated(why, handle, events), EVENTS_MAX);
        }
    }
}

/// What carries an advert of such properties. What the simulated air cannot carry is refused: adverts to one device, without an address,
/// that are heard only by those who ask, or on LE Coded.
fn pdu(properties: u16, primary: u8, secondary: u8, sid: u8) -> Result<AdvPdu, Status> {
    if properties & !PROPERTIES != 0 || !matches!(primary, 1 | 3) || !(1..=3).contains(&secondary) {
        return Err(Status::INVALID);
    }
    if primary == 3 {
        return Err(Status::UNSUPPORTED);
    }
    const LEGACY_CONNECTABLE: u16 = LEGACY | CONNECTABLE | SCANNABLE;
    const LEGACY_SCANNABLE: u16 = LEGACY | SCANNABLE;
    const BOTH: u16 = CONNECTABLE | SCANNABLE;
    match properties {
        LEGACY_CONNECTABLE => Ok(AdvPdu::Connectable),
        LEGACY_SCANNABLE => Ok(AdvPdu::Scannable),
        LEGACY => Ok(AdvPdu::NonConnectable),
        0 | CONNECTABLE => {
            let phy = match secondary {
                1 => Phy::OneM,
                2 => Phy::TwoM,
                _ => return Err(Status::UNSUPPORTED),
            };
            Ok(AdvPdu::Extended { connectable: properties == CONNECTABLE, phy, sid })
        }
        BOTH => Err(Status::INVALID),
        _ => Err(Status::UNSUPPORTED),
    }
}

const fn data_max(pdu: AdvPdu) -> usize {
    if matches!(pdu, AdvPdu::Extended { .. }) { ADV_DATA_MAX } else { LEGACY_ADV_DATA }
}

/// Whether nobody may connect to it.
const fn is_quiet(pdu: AdvPdu) -> bool {
    !matches!(pdu, AdvPdu::Connectable | AdvPdu::Extended { connectable: true, .. })
}
