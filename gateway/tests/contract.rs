//! Gateways answer as the contract says (`sdk/contract`), in both codecs.

mod common;
#[path = "../../sdk/contract/transcripts.rs"]
mod transcripts;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{cable, gateway};
use mesh_agent::api::codec::{Bounds, Codec, Decoder, encode};
use mesh_agent::api::{Event, Request};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use transcripts::{Contract, Line, Side};

/// How long an answer may take before it counts as missing: far longer than any takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/contract/transcripts.txt")
}

/// An agent's connection.
struct Connection {
    stream: TcpStream,
    codec: Codec,
    decoder: Decoder,
}

impl Connection {
    async fn open(address: SocketAddr, codec: Codec) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, codec, decoder: Decoder::with_codec(Bounds::EVENT, codec) }
    }

    async fn say(&mut self, text: &str) {
        let mut bytes = format!("{text}\n").into_bytes();
        if self.codec == Codec::Postcard {
            bytes.clear();
            encode(&serde_json::from_str::<Request>(text).unwrap(), Codec::Postcard, &mut bytes).unwrap();
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// What the gateway says next, as JSON; `None` at the end.
    async fn hear(&mut self) -> Option<String> {
        loop {
            let said = match self.codec {
                // As it stands there, whatever our types make of it.
                Codec::Json => self.decoder.decode::<Value>().unwrap().map(|value| value.to_string()),
                Codec::Postcard => {
                    let event: Option<Event> = self.decoder.decode().unwrap();
                    event.map(|event| serde_json::to_string(&event).unwrap())
                }
            };
            if said.is_some() {
                return said;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(self.decoder.space())).await;
            if read.expect("nothing came").unwrap() == 0 {
                return None;
            }
        }
    }
}

/// Replays a transcript on two new gateways; what they say where the gateway speaks, by line of the file.
async fn replay(title: &str, lines: &[Line], codec: Codec) -> BTreeMap<usize, String> {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (end_a, end_b) = cable();
    let gateways = [gateway(1, end_a, dirs[0].path()).await, gateway(2, end_b, dirs[1].path()).await];
    let mut connections = BTreeMap::new();
    let mut said = BTreeMap::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        let address = gateways[line.node - 1].tcp_address().unwrap();
        if !connections.contains_key(&line.connection) {
            connections.insert(line.connection.clone(), Connection::open(address, codec).await);
        }
        let connection = connections.get_mut(&line.connection).unwrap();
        match line.side {
            // What is wrong can only be said in JSON, and has one answer.
            Side::Agent if line.wrong && codec == Codec::Postcard => drop(lines.next()),
            Side::Agent => connection.say(&line.text).await,
            Side::Gateway => {
                let text = connection.hear().await;
                let text = text.unwrap_or_else(|| panic!("{title}, line {}: the end", line.number));
                if text.contains(r#""ev":"goodbye""#) {
                    let more = connections.remove(&line.connection).unwrap().hear().await;
                    assert_eq!(more, None, "{title}, line {}: this followed the goodbye", line.number);
                }
                said.insert(line.number, text);
            }
        }
    }
    // Whatever else was said would come before the answer to this.
    for (name, mut connection) in connections {
        connection.say(r#"{"op":"ping","ref":424242}"#).await;
        let pong = connection.hear().await;
        assert_eq!(
            pong.as_deref(),
            Some(r#"{"ev":"pong","ref":424242}"#),
            "{title}: more was said to {name}"
        );
    }
    for gateway in gateways {
        gateway.stop().await.unwrap();
    }
    said
}

#[tokio::test]
async fn gateways_answer_as_the_contract_says() {
    let file = std::fs::read_to_string(path()).unwrap();
    let contract = Contract::read(&file);
    let record = std::env::var("MESH_CONTRACT").as_deref() == Ok("record");
    let mut recorded = BTreeMap::new();
    for codec in [Codec::Postcard, Codec::Json] {
        for (title, lines) in &contract.transcripts {
            let said = replay(title, lines, codec).await;
            if record {
                recorded.extend(said);
                continue;
            }
            for line in lines {
                let Some(here) = said.get(&line.number) else { continue };
                assert_eq!(
                    contract.steady(&line.json()),
                    contract.steady(&serde_json::from_str(here).unwrap()),
                    "{title}, line {}, {codec:?}\nthe contract: {}\nthe gateway:  {here}",
                    line.number,
                    line.text
                );
            }
        }
    }
    if record {
        let event = |said: &String| serde_json::from_str::<Event>(said).unwrap();
        let lines = (1..).zip(file.lines()).map(|(number, line)| match recorded.get(&number) {
            Some(said) => format!("< {}\n", serde_json::to_string(&event(said)).unwrap()),
            None => format!("{line}\n"),
        });
        std::fs::write(path(), lines.collect::<String>()).unwrap();
    }
}
