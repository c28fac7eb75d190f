//! Signals: which ones stop the gateway in order, which one has it open its logs anew, and that no other one ends it.
//!
//! Owns that list; `docs/operations.md` has it for people. What follows from a signal is the daemon's. A signal that comes before
//! anybody waits for it is kept.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To stop, by the signal of this name.
    Stop(&'static str),
    /// To open the logs anew.
    Reopen,
}

/// Every signal that asks for something.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(Asked, Signal)>);

impl Signals {
    /// Catches every signal that would end the process and can be caught without hiding a fault of the program.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn listen() -> io::Result<Self> {
        let stop = [
            ("SIGTERM", SignalKind::terminate()),
            ("Ctrl-C", SignalKind::interrupt()),
            ("SIGQUIT", SignalKind::quit()),
            ("SIGPWR", SignalKind::from_raw(libc::SIGPWR)),
            // The processor's time that a limit allows is used up; the next one kills.
            ("SIGXCPU", SignalKind::from_raw(libc::SIGXCPU)),
        ]
        .map(|(name, kind)| (Asked::Stop(name), kind));
        let asks = stop.into_iter().chain([(Asked::Reopen, SignalKind::hangup())]);
        let asks = asks.map(|(asked, kind)| Ok((asked, signal(kind)?))).collect::<io::Result<_>>()?;
        // These mean nothing here and are nothing to die of. Once there is a handler, it stays. Behind SIGXFSZ, a file that may not grow
        // is an error of the write, as a full disk is.
        let deaf = [
            libc::SIGUSR1,
            libc::SIGUSR2,
            libc::SIGALRM,
            libc::SIGVTALRM,
            libc::SIGPROF,
            libc::SIGIO,
            libc::SIGSTKFLT,
            libc::SIGXFSZ,
        ];
        for number in deaf.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
            let _ = signal(SignalKind::from_raw(number))?;
        }
        Ok(Self(asks))
    }

    /// The next thing that is asked for. Cancel safe.
    pub(crate) async fn next(&mut self) -> Asked {
        poll_fn(|cx| {
            let told = self
                .0
                .iter_mut()
                .find_map(|(asked, signal)| signal.poll_recv(cx).is_ready().then_some(*asked));
            told.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The name of the next signal that asks to stop. Cancel safe; what else is asked for meanwhile is dropped.
    pub(crate) async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}
