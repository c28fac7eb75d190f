//! Two gateways on one cable: a bearer that loses nothing, for tests of everything above the air.
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod keys;
pub(crate) mod links;

use std::path::Path;
use std::sync::{Arc, Mutex};

use ble_bearer::{Bearer, BearerError, BearerEvent, FrameBytes, Full, WallClock};
use gateway::agents::{Limits, Listen, TokenCheck};
use gateway::engine::{EngineConfig, Membership};
use gateway::{Gateway, Plan};
use mesh_agent::api::{Hello, Name};
use mesh_agent::{Client, Endpoint};
use mesh_protocol::{Address, Duration, LEGACY_FRAME, LinkId, LinkInfo};
use tokio::sync::mpsc;

/// One end of a cable.
pub(crate) struct Cable {
    up: bool,
    to: Arc<Mutex<mpsc::UnboundedSender<FrameBytes>>>,
    from: mpsc::UnboundedReceiver<FrameBytes>,
}

/// A cable with two ends.
pub(crate) fn cable() -> (Cable, Cable) {
    let (a, b, _) = cable_with_a_plug();
    (a, b)
}

/// The same, and what the second end can be made anew with.
pub(crate) fn cable_with_a_plug() -> (Cable, Cable, Plug) {
    let ((a, from_a), (b, from_b)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let to_b = Arc::new(Mutex::new(a));
    let first = Cable { up: false, to: Arc::clone(&to_b), from: from_b };
    let second = Cable { up: false, to: Arc::new(Mutex::new(b.clone())), from: from_a };
    (first, second, Plug { to_a: b, to_b })
}

/// Where the second end of a cable is plugged in.
pub(crate) struct Plug {
    to_a: mpsc::UnboundedSender<FrameBytes>,
    to_b: Arc<Mutex<mpsc::UnboundedSender<FrameBytes>>>,
}

impl Plug {
    /// A new second end.
    pub(crate) fn again(&self) -> Cable {
        let (to, from) = mpsc::unbounded_channel();
        *self.to_b.lock().unwrap() = to;
        Cable { up: false, to: Arc::new(Mutex::new(self.to_a.clone())), from }
    }
}

impl Bearer for Cable {
    async fn next_event(&mut self) -> Result<BearerEvent, BearerError> {
        let link = LinkId(0);
        if !self.up {
            self.up = true;
            let info = LinkInfo::advertising(LEGACY_FRAME, Duration::ZERO);
            return Ok(BearerEvent::LinkUp { link, info });
        }
        match self.from.recv().await {
            Some(bytes) => Ok(BearerEvent::Frame { link, bytes, rssi: Some(-50) }),
            // The other end is off: silence, as on the air.
            None => std::future::pending().await,
        }
    }

    fn try_send(&mut self, _link: LinkId, frame: &[u8]) -> Result<(), Full> {
        let _ = self.to.lock().unwrap().send(FrameBytes::from_slice(frame).map_err(|_| Full)?);
        Ok(())
    }
}

/// A gateway at `address` over any bearer.
pub(crate) fn plan<B>(address: u16, bearer: B, dir: &Path, membership: Membership) -> Plan<'_, B, WallClock> {
    Plan {
        config: EngineConfig {
            name: format!("gateway-{address}"),
            address: Address::new(address),
            adapter: "cable".into(),
            default_deadline: Duration::from_secs(30),
            max_agents: 100,
            max_credits: 1_024,
            inbox_messages: 1_000,
            inbox_bytes: 16 << 20,
            inbox_total_bytes: 128 << 20,
        },
        membership,
        ttl: 5,
        seed: u64::from(address),
        bearer,
        clock: WallClock::start(),
        data_dir: dir,
        listen: Listen {
            tcp: Some("127.0.0.1:0".parse().unwrap()),
            unix: None,
            token: TokenCheck::open(),
            limits: Limits::default(),
        },
        peers: Vec::new(),
    }
}

/// A gateway on one end of a cable, with the key that all gateways of these tests share.
pub(crate) async fn gateway(address: u16, cable: Cable, dir: &Path) -> Gateway {
    Gateway::start(plan(address, cable, dir, Membership::new([7; 16], 1, true))).await.unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An agent on a gateway.
pub(crate) async fn agent(gateway: &Gateway, text: &str) -> Client {
    let endpoint = Endpoint::from(gateway.tcp_address().unwrap());
    Client::connect(&endpoint, Hello::new(name(text))).await.unwrap()
}
