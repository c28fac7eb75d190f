//! The body of a message as it is typed, and as it is shown.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use anyhow::Context;
use mesh_agent::api::{Body, MAX_BODY};

use super::output::tame;
use super::values::to_hex;

/// The body of an argument: its bytes, or those of standard input for `-`; text where they are UTF-8.
pub(super) fn read(argument: OsString) -> anyhow::Result<Body> {
    let bytes = if argument == "-" {
        let mut bytes = Vec::new();
        // One more than fits, so that too much is noticed without being read to its end.
        let most = MAX_BODY as u64 + 1;
        io::stdin()
            .lock()
            .take(most)
            .read_to_end(&mut bytes)
            .context("reading the body from standard input")?;
        bytes
    } else {
        argument.into_vec()
    };
    if bytes.len() > MAX_BODY {
        anyhow::bail!("reading the body: it is longer than {MAX_BODY} bytes; send it in parts");
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => Body::text(text),
        Err(not_text) => Body::data(not_text.into_bytes()),
    })
}

/// The body in one line for people.
pub(super) fn show(body: &Body) -> String {
    match body.as_text() {
        Some(text) => tame(text),
        None => format!("({} bytes) {}", body.len(), to_hex(body.bytes())),
    }
}
