//! Writing to standard output.
//!
//! Owns what a closed pipe means: whoever reads no more has had enough, which is success.

use std::io::{self, Write};

/// Nobody reads standard output any more.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(crate) struct Closed;

/// Writes one line to standard output and sees to it that it is out.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()))
}

/// Writes bytes to standard output as they are.
pub(crate) fn raw(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        Err(why) => anyhow::bail!("writing to standard output: {why}; check where it goes"),
        Ok(()) => Ok(()),
    }
}
