//! A bearer over a stream: reading, writing, being cut off, and opening again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use mesh_protocol::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::hci::{HciBearer, HciOptions, Open, OpenError};
use crate::{AdapterState, Bearer, BearerEvent, Clock, WallClock};

/// Opens one end of a pipe and hands the other one to the test; fails every second time.
struct Pipes {
    others: mpsc::UnboundedSender<DuplexStream>,
    opened: Arc<AtomicU32>,
}

impl Open for Pipes {
    type Stream = DuplexStream;

    async fn open(&self) -> Result<DuplexStream, OpenError> {
        if self.opened.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            return Err(OpenError::Rfkill("pipe".into()));
        }
        let (ours, theirs) = tokio::io::duplex(64);
        let _ = self.others.send(theirs);
        Ok(ours)
    }
}

/// Answers commands as a legacy controller does, a byte at a time, until something else than a command comes or the
/// other end is gone. After `limit` commands it hangs up.
async fn answer(stream: DuplexStream, limit: usize) {
    answer_but(stream, limit, None).await;
}

/// The same, and refuses the command `refused`.
async fn answer_but(mut stream: DuplexStream, limit: usize, refused: Option<u16>) {
    for _ in 0..limit {
        let mut head = [0; 4];
        if stream.read_exact(&mut head).await.is_err() || head[0] != 0x01 {
            return;
        }
        let mut params = vec![0; usize::from(head[3])];
        stream.read_exact(&mut params).await.unwrap();
        let returned: &[u8] = match u16::from_le_bytes([head[1], head[2]]) {
            opcode if Some(opcode) == refused => &[0x0c],
            0x1001 => &[0, 8, 0, 0, 8, 0x0f, 0, 0, 0],
            0x1009 => &[0, 6, 5, 4, 3, 2, 1],
            0x2003 => &[0; 9],
            _ => &[0],
        };
        let mut bytes = vec![0x04, 0x0e, 3 + returned.len() as u8, 1, head[1], head[2]];
        bytes.extend(returned);
        for byte in bytes {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_goes_away_and_comes_back_is_used_again() {
    let (others, mut theirs) = mpsc::unbounded_channel();
    let opened = Arc::new(AtomicU32::new(0));
    let port = Pipes { others, opened: Arc::clone(&opened) };
    let mut bearer = HciBearer::open(port, HciOptions::new(1), WallClock::start()).await.unwrap();
    // Each controller is set up in ten commands, and gone three later.
    tokio::spawn(async move {
        while let Some(stream) = theirs.recv().await {
            answer(stream, 13).await;
        }
    });
    for round in 0..5 {
        assert!(matches!(bearer.next_event().await, Ok(BearerEvent::LinkUp { .. })), "round {round}");
        assert_eq!(bearer.health().state, AdapterState::Up);
        let link = crate::RADIO_LINK;
        bearer.try_send(link, b"frame").unwrap();
        bearer.try_send(link, b"too many").unwrap_err();
        let down = loop {
            match bearer.next_event().await.unwrap() {
                BearerEvent::LinkDown { why, .. } => break why,
                BearerEvent::LinkUp { .. } | BearerEvent::Ready { .. } | BearerEvent::Frame { .. } => {}
            }
            let _ = bearer.try_send(link, b"another");
        };
        assert!(down.starts_with("the adapter is gone:"), "{down}");
        assert_eq!(bearer.health().state, AdapterState::Away);
    }
    assert!(opened.load(Ordering::Relaxed) >= 9, "half of the attempts failed, and it tried again");
}

#[tokio::test(start_paused = true)]
async fn a_stream_out_of_step_is_opened_again() {
    let (others, mut theirs) = mpsc::unbounded_channel();
    let port = Pipes { others, opened: Arc::default() };
    let mut bearer = HciBearer::open(port, HciOptions::new(1), WallClock::start()).await.unwrap();
    let mut stream = theirs.recv().await.unwrap();
    stream.write_all(&[0x77]).await.unwrap();
    let again = tokio::spawn(async move {
        let again = theirs.recv().await.unwrap();
        answer(again, 100).await;
    });
    assert!(matches!(bearer.next_event().await, Ok(BearerEvent::LinkUp { .. })));
    let trouble = bearer.health().trouble.unwrap();
    assert!(trouble.contains("blocked") || trouble.contains("0x77"), "{trouble}");
    again.abort();
}

/// Opened 20 times in 32 s it once was: that it could be set up had shortened the pause each time.
#[tokio::test(start_paused = true)]
async fn a_controller_that_refuses_frames_is_opened_ever_more_rarely_until_one_was_sent() {
    // Data is refused, or to advertise.
    for refused in [0x2008, 0x200a] {
        let (others, mut theirs) = mpsc::unbounded_channel();
        let (opened, refuses) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(true)));
        let port = Pipes { others, opened: Arc::clone(&opened) };
        let clock = WallClock::start();
        let mut bearer = HciBearer::open(port, HciOptions::new(1), clock).await.unwrap();
        let controller = Arc::clone(&refuses);
        tokio::spawn(async move {
            while let Some(stream) = theirs.recv().await {
                let refused = controller.load(Ordering::Relaxed).then_some(refused);
                tokio::spawn(answer_but(stream, usize::MAX, refused));
            }
        });
        let mut often = Vec::new();
        for until in [32, 120, 160] {
            refuses.store(until <= 120, Ordering::Relaxed);
            while clock.now() < Instant::ZERO + Duration::from_secs(until) {
                let _ = bearer.try_send(crate::RADIO_LINK, b"frame");
                let moment = std::time::Duration::from_millis(50);
                let _ = tokio::time::timeout(moment, bearer.next_event()).await;
            }
            often.push(opened.load(Ordering::Relaxed));
        }
        // The pauses are 0.5 s, 1, 2, 4, 8 and then 15.
        assert_eq!(often, [7, 12, 13], "{refused:#06x}");
        assert!(bearer.health().sent > 0);
    }
}
