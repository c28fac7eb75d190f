//! A scripted controller, and a host on it, in made-up time.
//!
//! Owns answers that a sound controller gives, and the trouble that a test wants instead.

use std::collections::VecDeque;

use mesh_protocol::{Duration, Instant};

use crate::hci::HciOptions;
use crate::hci::host::Host;
use crate::hci::packet::Packet;
use crate::{BearerEvent, Health};

/// What the scripted controller does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trouble {
    #[default]
    None,
    /// Commands are not answered.
    Mute,
    /// Every command but Reset is refused with this.
    Refuse(u8),
    /// Every command of this opcode is refused.
    RefuseOnly(u16, u8),
    /// Commands are answered, and extended sets never end.
    NeverEnds,
    /// Commands are answered with no room for another.
    NoCredit,
    /// Bytes that are no events come as well.
    Garbage(u64),
}

/// A controller that answers at once and records what would be on the air.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) extended: bool,
    pub(super) trouble: Trouble,
    /// Every command's opcode, in order.
    pub(super) commands: Vec<u16>,
    /// Advertising that began: when, the data, and when it ended.
    pub(super) aired: Vec<(Instant, Vec<u8>, Option<Instant>)>,
    data: Vec<Vec<u8>>,
    pub(super) scanning: bool,
    /// Events on their way: when, what.
    events: VecDeque<(Instant, Packet)>,
}

const LATENCY: Duration = Duration::from_micros(500);

impl Script {
    pub(super) fn new(extended: bool) -> Self {
        Self {
            extended,
            trouble: Trouble::None,
            commands: Vec::new(),
            aired: Vec::new(),
            data: vec![Vec::new(); 4],
            scanning: false,
            events: VecDeque::new(),
        }
    }

    fn say(&mut self, at: Instant, bytes: &[u8]) {
        self.events.push_back((at, Packet::from_slice(bytes).unwrap()));
    }

    pub(super) fn complete(&mut self, now: Instant, opcode: u16, returned: &[u8]) {
        let credits = u8::from(self.trouble != Trouble::NoCredit);
        let [low, high] = opcode.to_le_bytes();
        let mut bytes = vec![0x04, 0x0e, 3 + returned.len() as u8, credits, low, high];
        bytes.extend(returned);
        self.say(now + LATENCY, &bytes);
    }

    /// An advert with manufacturer data around these bytes is heard.
    pub(super) fn hear(&mut self, now: Instant, frame: &[u8]) {
        let ad = [&[frame.len() as u8 + 3, 0xff, 0xff, 0xff], frame].concat();
        let head: Vec<u8> = if self.extended {
            let mut head = vec![0x0d, 1, 0x10, 0, 1, 1, 2, 3, 4, 5, 0xc6, 1, 0, 0xff, 127, 0xc8, 0, 0];
            head[15] = 127;
            head[13] = 127;
            head.extend([0, 0, 0, 0, 0, 0, 0]);
            head
        } else {
            vec![0x02, 1, 3, 1, 1, 2, 3, 4, 5, 0xc6]
        };
        let mut params = head;
        params.push(ad.len() as u8);
        params.extend(&ad);
        if !self.extended {
            params.push(0xc8);
        }
        let mut bytes = vec![0x04, 0x3e, params.len() as u8];
        bytes.extend(params);
        self.say(now, &bytes);
    }

    pub(super) fn take(&mut self, now: Instant, packet: &[u8]) {
        let [0x01, low, high, length, params @ ..] = packet else { panic!("no command: {packet:02x?}") };
        assert_eq!(params.len(), usize::from(*length), "{packet:02x?}");
        let opcode = u16::from_le_bytes([*low, *high]);
        self.commands.push(opcode);
        match self.trouble {
            Trouble::Mute => return,
            Trouble::Refuse(status) if opcode != 0x0c03 => return self.complete(now, opcode, &[status]),
            Trouble::RefuseOnly(only, status) if only == opcode => {
                return self.complete(now, opcode, &[status]);
            }
            Trouble::Garbage(seed) => {
                let noise: Vec<u8> = (0..8).map(|n| (seed.rotate_left(n * 8) & 0xff) as u8).collect();
                self.say(now, &[&[0x04, 0x3e, 8][..], &noise].concat());
            }
            _ => {}
        }
        let returned: Vec<u8> = match opcode {
            0x0c03 => {
                self.scanning = false;
                self.end_all(now);
                vec![0]
            }
            0x1001 => vec![0, 9, 0, 0, 9, 0x0f, 0, 0, 0],
            0x1009 => vec![0, 6, 5, 4, 3, 2, 1],
            0x2003 => vec![0, 0, if self.extended { 0x10 } else { 0 }, 0, 0, 0, 0, 0, 0],
            0x203b => vec![0, 2],
            0x203a => vec![0, 251, 0],
            0x2036 => vec![0, 0],
            0x2008 => {
                self.data[0] = params[1..1 + usize::from(params[0])].to_vec();
                vec![0]
            }
            0x2037 => {
                self.data[usize::from(params[0])] = params[4..].to_vec();
                vec![0]
            }
            0x200a if params[0] == 1 => {
                self.aired.push((now, self.data[0].clone(), None));
                vec![0]
            }
            0x200a => {
                self.end_all(now);
                vec![0]
            }
            0x2039 if params[0] == 1 => {
                let (set, events) = (params[2], params[5]);
                let end = now + Duration::from_millis(25).times(u64::from(events));
                self.aired.push((now, self.data[usize::from(set)].clone(), Some(end)));
                self.complete(now, opcode, &[0]);
                if self.trouble != Trouble::NeverEnds {
                    self.say(end, &[0x04, 0x3e, 6, 0x12, 0x43, set, 0, 0, events]);
                }
                return;
            }
            0x200c | 0x2042 => {
                self.scanning = params[0] == 1;
                vec![0]
            }
            _ => vec![0],
        };
        self.complete(now, opcode, &returned);
    }

    fn end_all(&mut self, now: Instant) {
        self.aired.iter_mut().for_each(|aired| {
            aired.2.get_or_insert(now);
        });
    }

    fn next(&mut self, now: Instant) -> Option<Packet> {
        let due = self.events.iter().position(|(at, _)| *at <= now)?;
        self.events.remove(due).map(|(_, packet)| packet)
    }
}

/// A host and its scripted controller.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) now: Instant,
    pub(super) host: Host,
    pub(super) script: Script,
    /// What the host reported, with the time.
    pub(super) reported: Vec<(Instant, BearerEvent)>,
    /// How often the transport had to be opened again.
    pub(super) reopened: u32,
    /// Whether opening works.
    pub(super) opens: bool,
}

impl Rig {
    pub(super) fn new(extended: bool) -> Self {
        Self::with(extended, HciOptions::new(7))
    }

    pub(super) fn with(extended: bool, options: HciOptions) -> Self {
        let mut host = Host::new(options);
        let now = Instant::from_micros(1_000_000);
        host.opened(now);
        let script = Script::new(extended);
        Self { now, host, script, reported: Vec::new(), reopened: 0, opens: true }
    }

    /// Lets time pass, from one thing that is due to the next.
    pub(super) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        for round in 0.. {
            assert!(round < 1_000_000, "the host asks to be woken again and again");
            self.drain();
            let event = self.script.events.iter().map(|(at, _)| *at).min();
            let next = event.into_iter().chain(self.host.poll_timeout()).min();
            match next.filter(|at| *at <= until) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
        }
        self.now = until;
        self.drain();
    }

    fn drain(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "the host never comes to rest");
            if self.host.poll_timeout().is_some_and(|at| at <= self.now) {
                self.host.handle_timeout(self.now);
            }
            let event = self.script.next(self.now);
            if let Some(packet) = &event {
                self.host.handle_packet(self.now, packet);
            }
            let reopen = self.host.poll_reopen();
            if let Some(why) = &reopen {
                self.reopened += 1;
                self.host.closed(why);
                if self.opens {
                    self.script.events.clear();
                    self.host.opened(self.now);
                }
            }
            let packet = self.host.poll_packet(self.now);
            if let Some(packet) = &packet {
                self.script.take(self.now, packet);
            }
            while let Some(event) = self.host.poll_event() {
                self.reported.push((self.now, event));
            }
            if event.is_none() && packet.is_none() && reopen.is_none() {
                return;
            }
        }
    }

    pub(super) fn health(&mut self) -> Health {
        self.host.health().clone()
    }

    /// Sends a frame, waiting for room; false when there is none within a second.
    pub(super) fn send(&mut self, frame: &[u8]) -> bool {
        for _ in 0..1_000 {
            if self.host.send(frame).is_ok() {
                self.run(Duration::ZERO);
                return true;
            }
            self.run(Duration::from_millis(1));
        }
        false
    }
}
