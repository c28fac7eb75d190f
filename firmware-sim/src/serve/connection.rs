//! One host and its controller: bytes in, bytes out.
//!
//! Owns the socket and where packets end. Nothing here holds up the air: what a host does not read is lost in its controller's queue, and
//! of what it sends only what is there is looked at.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ble_bearer::sim::StationId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use super::site::Site;
use super::{News, Shared};
use crate::virtual_controller::h4;

/// Packets that are taken in one go. A guess: a host has one command under way.
const PACKETS: usize = 16;
/// Events that are written in one go. A guess.
const EVENTS: usize = 16;
/// Bytes asked for at once. A guess: some dozens of commands.
const READ: usize = 4_096;
/// How long a host that sent garbage may take to read what is reported of it. A guess.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a host sent is no packet.
struct Garbage;

/// The place of one host: free again when this is dropped, however the connection ends.
struct Occupied {
    shared: Arc<Shared>,
    station: StationId,
    garbage: bool,
}

impl Occupied {
    fn power_cycle(&self) {
        self.shared.pacer.with(|world| {
            world.poke(self.station, |site, _, radio| {
                if let Site::Host(host) = site {
                    host.controller.power_cycle(radio);
                }
            })
        });
    }

    /// The events that wait, as bytes.
    fn events(&self) -> Vec<u8> {
        self.shared.pacer.with(|world| match world.station_mut(self.station) {
            Some(Site::Host(host)) => {
                std::iter::from_fn(|| host.controller.poll_event()).take(EVENTS).flatten().collect()
            }
            _ => Vec::new(),
        })
    }

    /// Hands over the whole packets at the start of `bytes`, at most so many at a time; how long they are, and whether that was all.
    fn packets(&self, bytes: &[u8]) -> Result<(usize, bool), Garbage> {
        self.shared.pacer.with(|world| {
            let mut taken = 0;
            for _ in 0..PACKETS {
                let rest = &bytes[taken..];
                let (packet, wrong) = match h4::length(rest) {
                    Ok(None) => return Ok((taken, true)),
                    Ok(Some(length)) => (&rest[..length], false),
                    Err(_) => (rest, true),
                };
                let fed = world.poke(self.station, |site, now, radio| match site {
                    Site::Host(host) => host.controller.packet(now, packet, radio).is_ok(),
                    Site::Device(_) => false,
                });
                if wrong || fed != Some(true) {
                    return Err(Garbage);
                }
                taken += packet.len();
            }
            Ok((taken, false))
        })
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.power_cycle();
        self.shared.give_back(self.station);
        self.shared.tell(News::Gone { node: self.station.0, garbage: self.garbage });
    }
}

/// Serves one host until it goes or sends what is no packet.
#[expect(clippy::disallowed_methods, reason = "hosts over TCP live in the wall's time")]
pub(super) async fn serve(shared: Arc<Shared>, station: StationId, stream: TcpStream) {
    let mut place = Occupied { shared, station, garbage: false };
    place.power_cycle();
    let waits = place.shared.pacer.with(|world| match world.station(station) {
        Some(Site::Host(host)) => Some(Arc::clone(&host.waits)),
        _ => None,
    });
    let Some(waits) = waits else { return };
    // Small packets that are waited for; without it they only come later.
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let heard = tokio::select! {
        heard = read(&place, &mut reader) => heard,
        // Nothing can be reported to it any more.
        _ = write(&place, &mut writer, &waits) => Ok(()),
    };
    if let Err(Garbage) = heard {
        place.garbage = true;
        let last_words = async {
            loop {
                let events = place.events();
                if events.is_empty() {
                    break;
                }
                writer.write_all(&events).await?;
            }
            writer.shutdown().await?;
            // Closed with bytes unread, a connection forgets what it has not sent yet.
            let mut rest = [0; 256];
            while reader.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // A host that does not read does not learn of it.
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
    }
}

/// Hands over what the host sends, until it goes.
async fn read(place: &Occupied, reader: &mut OwnedReadHalf) -> Result<(), Garbage> {
    let mut bytes: Vec<u8> = Vec::with_capacity(READ + h4::PACKET_MAX);
    let mut buffer = vec![0; READ];
    loop {
        let length = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(length) => length,
        };
        // What is left from before is less than one packet.
        bytes.extend_from_slice(&buffer[..length]);
        loop {
            let (taken, all) = place.packets(&bytes)?;
            bytes.drain(..taken);
            if all {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Writes what the controller says, as it says it.
async fn write(place: &Occupied, writer: &mut OwnedWriteHalf, waits: &Notify) -> io::Result<()> {
    loop {
        let events = place.events();
        if events.is_empty() {
            waits.notified().await;
        } else {
            writer.write_all(&events).await?;
        }
    }
}
