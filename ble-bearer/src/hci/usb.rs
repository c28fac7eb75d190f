//! A USB dongle that no kernel driver holds: taken from it where there is one.
//!
//! Owns turning USB transfers into a stream of H4 packets: a task carries commands one way and events the other, and ends with the
//! stream.

use std::io::{Error, ErrorKind};

use bt_hci_transport::{PacketKind, PacketToController, PacketToHost, ReadHciError, Transport};
use embedded_io::{Read, Write};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::open::{OpenError, Stream};
use super::packet::{COMMAND, EVENT, MAX_PACKET};

/// Room for a few packets on their way.
const BUFFER: usize = 16 * MAX_PACKET;

/// Takes the first dongle of this vendor and product.
pub(super) async fn open(vendor: u16, product: u16) -> Result<Box<dyn Stream>, OpenError> {
    let name = format!("usb:{vendor:04x}:{product:04x}");
    let failed = |error: nusb::Error| OpenError::Device { name: name.clone(), error: error.into() };
    let mut there = nusb::list_devices().await.map_err(failed)?;
    let found = there.find(|device| (device.vendor_id(), device.product_id()) == (vendor, product));
    let Some(found) = found else {
        let there = "no USB device has these numbers; `lsusb` lists those there are".into();
        return Err(OpenError::NoSuchAdapter { name, there });
    };
    let device = found.open().await.map_err(failed)?;
    let transport = bt_hci_usb::Transport::new(device).await.map_err(failed)?;
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    // A local task would do, but the bearer may move between threads.
    tokio::spawn(carry(transport, theirs));
    Ok(Box::new(ours))
}

/// Carries packets until either side is gone.
async fn carry(transport: bt_hci_usb::Transport, stream: DuplexStream) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let out = async {
        let mut head = [0; 4];
        loop {
            reader.read_exact(&mut head).await?;
            if head[0] != COMMAND {
                return Err(Error::from(ErrorKind::InvalidData));
            }
            let mut command = [&head[1..], &vec![0; usize::from(head[3])]].concat();
            reader.read_exact(&mut command[3..]).await?;
            transport.write(&Raw(&command)).await.map_err(Error::other)?;
        }
    };
    let back = async {
        let mut buffer = [0; MAX_PACKET];
        loop {
            let read: UsbEvent<'_> = transport.read(&mut buffer).await.map_err(Error::other)?;
            if let UsbEvent(Some(event)) = read {
                writer.write_all(&[&[EVENT], event].concat()).await?;
            }
        }
    };
    // Whichever ends, the stream closes, and the bearer says why it opens it again.
    let _: std::io::Result<()> = tokio::select! { ended = out => ended, ended = back => ended };
}

/// A command as bytes.
struct Raw<'a>(&'a [u8]);

impl PacketToController for Raw<'_> {
    const KIND: PacketKind = PacketKind::Cmd;

    fn size(&self) -> usize {
        self.0.len()
    }

    fn write_hci<W: Write>(&self, mut writer: W) -> Result<(), W::Error> {
        writer.write_all(self.0)
    }

    async fn write_hci_async<W: embedded_io_async::Write>(&self, mut writer: W) -> Result<(), W::Error> {
        writer.write_all(self.0).await
    }
}

/// An event as bytes; nothing for packets of other kinds.
struct UsbEvent<'a>(Option<&'a [u8]>);

impl<'a> PacketToHost<'a> for UsbEvent<'a> {
    fn read_hci<R: Read>(
        kind: PacketKind,
        data: &mut R,
        buffer: &'a mut [u8],
    ) -> Result<Self, ReadHciError<R::Error>> {
        if kind != PacketKind::Event {
            return Ok(Self(None));
        }
        let (head, rest) = buffer.split_at_mut_checked(2).ok_or(ReadHciError::BufferTooSmall)?;
        data.read_exact(head)?;
        let length = usize::from(head[1]);
        data.read_exact(rest.get_mut(..length).ok_or(ReadHciError::BufferTooSmall)?)?;
        Ok(Self(Some(&buffer[..2 + length])))
    }

    async fn read_hci_async<R: embedded_io_async::Read>(
        kind: PacketKind,
        data: &mut R,
        buffer: &'a mut [u8],
    ) -> Result<Self, ReadHciError<R::Error>> {
        if kind != PacketKind::Event {
            return Ok(Self(None));
        }
        let (head, rest) = buffer.split_at_mut_checked(2).ok_or(ReadHciError::BufferTooSmall)?;
        data.read_exact(head).await?;
        let length = usize::from(head[1]);
        data.read_exact(rest.get_mut(..length).ok_or(ReadHciError::BufferTooSmall)?).await?;
        Ok(Self(Some(&buffer[..2 + length])))
    }
}
