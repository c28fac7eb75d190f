//! Hosts that share a simulated mesh over TCP.

use std::time::Duration;

use firmware_sim::scenario::Scenario;
use firmware_sim::serve::{Counters, News, Options, ServeError, Server};
use firmware_sim::virtual_controller::ControllerKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything may take before it is wrong: far longer than it does.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many times as fast as the wall.
const SPEED: f64 = 50.0;

/// Two places for hosts and two devices that talk to each other, all in one room.
const ROOM: &str = r#"
settle = "1s"
offered = "1h"
layout.line = { nodes = 4, spacing = 2 }
nodes = [
    { number = 0, name = "west", gateway = true },
    { number = 1, name = "east", gateway = true },
]
traffic = [
    { from = 2, to = 3, periodic.every = "1s" },
    { from = 3, to = 2, ping = { count = 1000, pause = "1s" } },
    { from = 2, to = 0, periodic.every = "10s" },
]
"#;

#[expect(clippy::disallowed_methods, reason = "hosts over TCP live in the wall's time")]
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it never happened")
}

async fn serve(source: &str, controller: ControllerKind) -> Server {
    let scenario = Scenario::parse("room.toml", source).unwrap();
    let options = Options { controller, speed: SPEED, ..Options::default() };
    Server::bind(&scenario, options).await.unwrap()
}

/// Waits until the counters are as they should be.
async fn until(server: &Server, is: impl Fn(&Counters) -> bool) -> Counters {
    in_time(async {
        loop {
            let counters = server.counters();
            if is(&counters) {
                return counters;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// A host, as simple as one can be.
struct Host {
    stream: TcpStream,
    /// LE events that came in between.
    reports: Vec<Vec<u8>>,
}

impl Host {
    async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        Self { stream, reports: Vec::new() }
    }

    /// The next event; `None` when the connection is closed.
    async fn event(&mut self) -> Option<Vec<u8>> {
        in_time(async {
            let mut event = vec![0; 3];
            self.stream.read_exact(&mut event).await.ok()?;
            event.resize(3 + usize::from(event[2]), 0);
            self.stream.read_exact(&mut event[3..]).await.ok()?;
            Some(event)
        })
        .await
    }

    async fn ask(&mut self, opcode: u16, parameters: &[u8]) -> Vec<u8> {
        let [low, high] = opcode.to_le_bytes();
        let packet = [&[1, low, high, parameters.len() as u8], parameters].concat();
        self.stream.write_all(&packet).await.unwrap();
        loop {
            let event = self.event().await.unwrap();
            if event[1] != 0x3e {
                return event;
            }
            self.reports.push(event);
        }
    }

    async fn done(&mut self, opcode: u16, parameters: &[u8]) {
        let [low, high] = opcode.to_le_bytes();
        assert_eq!(self.ask(opcode, parameters).await, [4, 0x0e, 4, 1, low, high, 0]);
    }

    /// Scans all the time by legacy commands.
    async fn listen(&mut self) {
        self.done(0x0c03, &[]).await;
        self.done(0x0c01, &[0xff; 8]).await;
        self.done(0x2001, &[0xff; 8]).await;
        self.done(0x200b, &[0, 0x10, 0, 0x10, 0, 0, 0]).await;
        self.done(0x200c, &[1, 0]).await;
    }

    /// Advertises every 20 ms, not connectable.
    async fn advertise(&mut self, data: &[u8]) {
        let mut parameters = vec![data.len() as u8];
        parameters.extend(data);
        parameters.resize(32, 0);
        self.done(0x2008, &parameters).await;
        self.done(0x2006, &[0x20, 0, 0x20, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0]).await;
        self.done(0x200a, &[1]).await;
    }

    /// Waits for a report with such data.
    async fn hears(&mut self, is: impl Fn(&[u8]) -> bool) {
        loop {
            if self.reports.iter().any(|report| is(data(report))) {
                return;
            }
            self.reports.clear();
            let event = self.event().await.unwrap();
            self.reports.push(event);
        }
    }
}

/// The AD data in a legacy report.
fn data(report: &[u8]) -> &[u8] {
    assert_eq!(report[3..5], [2, 1], "{report:02x?}");
    &report[14..report.len() - 1]
}

#[tokio::test]
async fn hosts_hear_each_other_and_the_devices_between_them() {
    let mut server = serve(ROOM, ControllerKind::Pi4).await;
    assert_eq!(server.places().iter().map(|place| place.node).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(server.left_out(), 360, "what is for a gateway");
    let mut west = Host::connect(&server).await;
    assert!(matches!(in_time(server.next_news()).await, Some(News::Came { node: 0, .. })));
    let mut east = Host::connect(&server).await;
    assert!(matches!(in_time(server.next_news()).await, Some(News::Came { node: 1, .. })));
    west.listen().await;
    east.listen().await;
    west.advertise(&[5, 9, b'w', b'e', b's', b't']).await;
    east.advertise(&[5, 9, b'e', b'a', b's', b't']).await;
    west.hears(|data| data == [5, 9, b'e', b'a', b's', b't']).await;
    east.hears(|data| data == [5, 9, b'w', b'e', b's', b't']).await;
    // A frame of one of the devices.
    east.hears(|data| data.len() > 4 && data[1..4] == [0xff; 3]).await;
    // What they say to each other arrives, and loops go round.
    let counters = until(&server, |counters| counters.arrived >= 10 && counters.posted >= 10).await;
    assert!(counters.places.iter().all(|place| place.taken && place.adverts > 0));
    assert!(counters.places.iter().all(|place| place.controller.reports > place.controller.frames));
    assert_eq!(counters.places[0].controller.refused, 0);
    server.stop().await;
    // What was still on the way is read before the end.
    while west.event().await.is_some() {}
}

#[tokio::test]
async fn a_host_too_many_is_turned_away_until_a_place_is_free() {
    let mut server = serve(ROOM, ControllerKind::Pi4).await;
    let mut hosts = vec![Host::connect(&server).await, Host::connect(&server).await];
    for host in &mut hosts {
        host.done(0x0c03, &[]).await;
    }
    hosts[0].advertise(&[2, 1, 6]).await;
    let mut third = Host::connect(&server).await;
    assert_eq!(third.event().await, None, "closed at once");
    assert_eq!(until(&server, |counters| counters.turned_away > 0).await.turned_away, 1);
    drop(hosts.remove(0));
    loop {
        match in_time(server.next_news()).await.unwrap() {
            News::Gone { node, garbage } => {
                assert_eq!((node, garbage), (0, false));
                break;
            }
            News::Came { .. } | News::Full { .. } => {}
            News::NotTaken => panic!(),
        }
    }
    // Whoever comes now finds it as after a reset, and nothing of the one before is on the air.
    let mut next = Host::connect(&server).await;
    next.done(0x200a, &[0]).await;
    let counters = server.counters();
    assert!(counters.places[0].taken);
    until(&server, |now| now.air.events > counters.air.events + 20).await;
    assert_eq!(server.counters().places[0].adverts, counters.places[0].adverts);
}

#[tokio::test]
async fn garbage_is_answered_with_a_hardware_error_and_the_place_is_free_again() {
    let mut server = serve(ROOM, ControllerKind::Pi4).await;
    // Says nothing and reads nothing: nobody waits for it.
    let _silent = Host::connect(&server).await;
    let mut host = Host::connect(&server).await;
    host.stream.write_all(b"\x01\x03\x0c\x00GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(host.event().await, Some(vec![4, 0x0e, 4, 1, 3, 0x0c, 0]));
    assert_eq!(host.event().await, Some(vec![4, 0x10, 1, 1]));
    assert_eq!(host.event().await, None);
    drop(host);
    loop {
        if let News::Gone { node, garbage } = in_time(server.next_news()).await.unwrap() {
            assert_eq!((node, garbage), (1, true));
            break;
        }
    }
    assert_eq!(server.counters().places[1].controller.garbage, 1);
    let mut again = Host::connect(&server).await;
    again.done(0x0c03, &[]).await;
}

#[tokio::test]
async fn packets_are_put_together_from_whatever_pieces_come() {
    let server = serve(ROOM, ControllerKind::Bt5Dongle).await;
    let mut host = Host::connect(&server).await;
    for byte in [1, 0x03, 0x0c, 0, 1, 0x3b, 0x20, 0] {
        host.stream.write_all(&[byte]).await.unwrap();
        host.stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(host.event().await, Some(vec![4, 0x0e, 4, 1, 3, 0x0c, 0]));
    assert_eq!(host.event().await, Some(vec![4, 0x0e, 5, 1, 0x3b, 0x20, 0, 4]));
    // Many at once, more than are taken in one go.
    host.stream.write_all(&[1, 0x3b, 0x20, 0].repeat(50)).await.unwrap();
    for _ in 0..50 {
        assert_eq!(host.event().await, Some(vec![4, 0x0e, 5, 1, 0x3b, 0x20, 0, 4]));
    }
}

#[tokio::test]
async fn a_foreign_advert_passes_between_hosts_and_never_reaches_a_device() {
    // Nobody here says anything but the hosts.
    let source = "layout.line = { nodes = 3, spacing = 2 }\n\
                  nodes = [{ number = 0, gateway = true }, { number = 1, gateway = true }]\ntraffic = []\n";
    let server = serve(source, ControllerKind::Pi4).await;
    let mut west = Host::connect(&server).await;
    let mut east = Host::connect(&server).await;
    east.listen().await;
    let foreign = [&[2, 1, 6, 7, 0xff, 0x4c, 0][..], b"abcd"].concat();
    west.advertise(&foreign).await;
    for _ in 0..20 {
        east.reports.clear();
        east.hears(|data| data == foreign).await;
    }
    assert_eq!(server.counters().discarded, 0);
    // The same bytes as the protocol's manufacturer data are a frame, and no good one.
    let ours = [&[2, 1, 6, 7, 0xff, 0xff, 0xff][..], b"abcd"].concat();
    west.done(0x200a, &[0]).await;
    west.advertise(&ours).await;
    east.hears(|data| data == ours).await;
    until(&server, |counters| counters.discarded > 0).await;
}

#[tokio::test]
async fn a_scenario_without_gateways_has_no_place_for_a_host() {
    let scenario =
        Scenario::parse("x.toml", "layout.line = { nodes = 2, spacing = 1 }\ntraffic = []\n").unwrap();
    let error = Server::bind(&scenario, Options::default()).await.unwrap_err();
    assert!(matches!(&error, ServeError::NoPlace(_)), "{error}");
    let server = serve(ROOM, ControllerKind::Pi4).await;
    let scenario = Scenario::parse("room.toml", ROOM).unwrap();
    let options = Options { listen: server.local_addr(), ..Options::default() };
    let error = Server::bind(&scenario, options).await.unwrap_err();
    assert!(matches!(error, ServeError::Listen(..)), "{error}");
}
