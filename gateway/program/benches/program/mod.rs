//! The program as users run it, for benchmarks that look at it from outside, and agents that need next to nothing
//! themselves.
//!
//! Owns starting it and asking the system for its memory. What is measured is each benchmark's own.
#![allow(dead_code, reason = "each benchmark uses its own part of this")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mesh_agent::api::codec::{Bounds, Codec, Decoder, encode};
use mesh_agent::api::{Ask, Event, Hello, Request};

/// How often memory is asked for until it has stopped growing: agents' hellos reach the disk after their welcome.
const SETTLED: usize = 5;

/// The program on a simulated air with one other node. Killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    /// Its TCP door.
    pub(crate) address: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    /// Starts it, and waits until it says that it is ready.
    pub(crate) fn start(data_dir: &Path, more: &[&OsStr]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"))
            .args(["--adapter", "sim", "--sim-nodes", "1", "--listen", "127.0.0.1:0"])
            .args(["--log-level", "error", "--json"])
            .arg("--data-dir")
            .arg(data_dir)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let mut ready = String::new();
        let output = child.stdout.take().expect("it is piped");
        let mut gateway = Self { child, address: String::new() };
        BufReader::new(output).read_line(&mut ready).expect("the gateway says that it is ready");
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("a JSON line");
        gateway.address = ready["tcp"].as_str().expect("its TCP door").to_owned();
        gateway
    }

    /// One line of the process's status, in bytes; `None` where the system does not say.
    pub(crate) fn memory(&self, what: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1_024)
    }

    /// Resident memory, once some round trips no longer change it.
    pub(crate) fn settled(&self, agent: &mut Idle) -> Option<u64> {
        let (mut last, mut same) = (self.memory("VmRSS")?, 0);
        while same < SETTLED {
            let pong = agent.ask(&Request::Ping(Ask { reference: None }));
            assert!(matches!(pong, Event::Pong(_)), "{pong:?}");
            std::thread::sleep(std::time::Duration::from_millis(100));
            let now = self.memory("VmRSS")?;
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
        Some(last)
    }
}

/// An agent that says hello and then nothing more by itself.
pub(crate) struct Idle {
    pub(crate) stream: TcpStream,
    decoder: Decoder,
}

impl Idle {
    /// Connects and says hello.
    pub(crate) fn attach(address: &str, hello: Hello) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        let mut agent = Self { stream, decoder: Decoder::with_codec(Bounds::EVENT, Codec::Postcard) };
        let welcome = agent.ask(&Request::Hello(hello));
        assert!(matches!(welcome, Event::Welcome(_)), "{welcome:?}");
        agent
    }

    /// Asks, and takes the next thing that comes for the answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Event {
        let mut bytes = Vec::new();
        encode(request, Codec::Postcard, &mut bytes).expect("a value of ours");
        self.stream.write_all(&bytes).expect("the gateway is there");
        loop {
            if let Some(event) = self.decoder.decode().expect("the gateway's own words") {
                return event;
            }
            let mut piece = [0; 4_096];
            let read = self.stream.read(&mut piece).expect("the gateway is there");
            assert!(read > 0, "the gateway closed the connection");
            self.decoder.space().extend_from_slice(&piece[..read]);
        }
    }
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
