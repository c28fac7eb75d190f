//! How much memory a gateway needs: idle, and for each agent that is attached and idle.
//!
//! Owns the program that is measured, as users run it, and the questions to the system. The figures are resident pages
//! as Linux counts them; elsewhere it says so and ends. Run it with `cargo bench -p mesh-gateway --bench memory`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use mesh_agent::api::codec::{Bounds, Codec, Decoder, encode};
use mesh_agent::api::{Ask, Event, Hello, Name, Request};

/// Agents that attach; also the most that a gateway keeps by default.
const AGENTS: usize = 1_000;
/// How often memory is asked for until it has stopped growing: agents' hellos reach the disk after their welcome.
const SETTLED: usize = 5;

/// An agent that says hello and then nothing more.
struct Idle {
    stream: TcpStream,
    decoder: Decoder,
}

impl Idle {
    fn attach(address: &str, n: usize) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        let mut agent = Self { stream, decoder: Decoder::with_codec(Bounds::EVENT, Codec::Postcard) };
        let name = Name::new(&format!("agent-{n}")).expect("a name");
        let welcome = agent.ask(&Request::Hello(Hello::new(name)));
        assert!(matches!(welcome, Event::Welcome(_)), "{welcome:?}");
        agent
    }

    fn ask(&mut self, request: &Request) -> Event {
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

/// The program, killed when dropped.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Gateway {
    /// One line of the process's status, in bytes.
    fn memory(&self, what: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1_024)
    }

    /// Resident memory, once some round trips no longer change it.
    fn settled(&self, agent: &mut Idle) -> Option<u64> {
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

fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on the disk");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mesh-gateway"))
        .args([
            "--adapter",
            "sim",
            "--sim-nodes",
            "1",
            "--listen",
            "127.0.0.1:0",
            "--log-level",
            "warn",
            "--json",
        ])
        .arg("--data-dir")
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the gateway starts");
    let mut ready = String::new();
    let output = child.stdout.take().expect("it is piped");
    let gateway = Gateway(child);
    BufReader::new(output).read_line(&mut ready).expect("the gateway says that it is ready");
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("a JSON line");
    let address = ready["tcp"].as_str().expect("its TCP door").to_owned();

    let Some(started) = gateway.memory("VmRSS") else {
        return println!("this system does not say how much memory a process has: nothing was measured");
    };
    let mut first = Idle::attach(&address, 0);
    let idle = gateway.settled(&mut first).expect("it was there before");
    let mut agents: Vec<Idle> = (1..AGENTS).map(|n| Idle::attach(&address, n)).collect();
    let full = gateway.settled(&mut agents[0]).expect("it was there before");
    let each = full.saturating_sub(idle) as f64 / (AGENTS - 1) as f64;
    let peak = gateway.memory("VmHWM").unwrap_or_default();

    println!(
        "gateway with a simulated air of one node, as it says that it is ready: {:.1} MiB",
        mib(started)
    );
    println!("with one agent: {:.1} MiB", mib(idle));
    println!(
        "with {AGENTS} idle agents: {:.1} MiB, {:.2} KiB for each agent; at most {:.1} MiB",
        mib(full),
        each / 1_024.0,
        mib(peak)
    );
    println!(
        "{}",
        serde_json::json!({ "agents": AGENTS, "ready_rss": started, "idle_rss": idle, "full_rss": full, "peak_rss": peak, "per_agent": each.round() })
    );
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
