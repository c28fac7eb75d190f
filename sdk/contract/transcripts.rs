//! Reads `transcripts.txt`, for the tests that hold gateways and clients to it. How it is written, `README.md` says.
#![allow(dead_code, reason = "each test uses its own part of this")]

use std::collections::BTreeMap;

use serde_json::Value;

/// Who says a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// `>`: the agent.
    Agent,
    /// `<`: the gateway.
    Gateway,
}

/// A line of JSON.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Its number in the file, from 1.
    pub(crate) number: usize,
    /// The connection it is said on, and the node of the gateway there. Empty among the words.
    pub(crate) connection: String,
    pub(crate) node: usize,
    pub(crate) side: Side,
    pub(crate) text: String,
    /// Whether it is wrong on purpose.
    pub(crate) wrong: bool,
    /// Its binary form in hexadecimal digits, where it stands there.
    pub(crate) binary: Option<String>,
}

impl Line {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("line {}: {why}", self.number))
    }
}

/// The whole file.
#[derive(Debug, Default)]
pub(crate) struct Contract {
    /// Fields whose values differ from run to run, by event.
    pub(crate) varies: BTreeMap<String, Vec<String>>,
    /// Transcripts by their titles, in order.
    pub(crate) transcripts: Vec<(String, Vec<Line>)>,
    /// One of everything, said to nobody.
    pub(crate) words: Vec<Line>,
}

impl Contract {
    pub(crate) fn read(file: &str) -> Self {
        let mut contract = Self::default();
        let (mut connection, mut node, mut wrong) = (String::new(), 0, false);
        for (number, text) in (1..).zip(file.lines()) {
            let Some((mark, rest)) = text.split_once(' ') else {
                assert!(text.is_empty(), "line {number}: {text:?} is no line of a transcript");
                continue;
            };
            let transcript = contract.transcripts.last_mut().map(|(_, lines)| lines);
            match (mark, transcript) {
                ("--", _) => {}
                ("~", None) => {
                    let mut words = rest.split(' ').map(str::to_owned);
                    contract.varies.insert(words.next().unwrap_or_default(), words.collect());
                }
                ("==", _) => contract.transcripts.push((rest.to_owned(), Vec::new())),
                ("#", Some(_)) => {
                    let (name, at) =
                        rest.rsplit_once(", 0x").unwrap_or_else(|| panic!("line {number}: # name, 0x0001"));
                    connection = name.to_owned();
                    node = usize::from_str_radix(at, 16).unwrap_or_else(|why| panic!("line {number}: {why}"));
                }
                ("!", Some(_)) => wrong = true,
                ("=", Some(lines)) => {
                    lines.last_mut().unwrap_or_else(|| panic!("line {number}: of what?")).binary =
                        Some(rest.to_owned());
                }
                (">" | "<", Some(lines)) => {
                    let side = if mark == ">" { Side::Agent } else { Side::Gateway };
                    let (connection, text) = (connection.clone(), rest.to_owned());
                    let wrong = side == Side::Agent && std::mem::take(&mut wrong);
                    lines.push(Line { number, connection, node, side, text, wrong, binary: None });
                }
                _ => panic!("line {number}: {text:?} is no line of a transcript, or stands in no transcript"),
            }
        }
        let at =
            contract.transcripts.iter().position(|(title, _)| title == "words").expect("a part \"== words\"");
        contract.words = contract.transcripts.remove(at).1;
        contract
    }

    /// A value without what differs from run to run.
    pub(crate) fn steady(&self, value: &Value) -> Value {
        let mut steady = value.clone();
        let varies = value.get("ev").and_then(Value::as_str).and_then(|ev| self.varies.get(ev));
        for field in varies.into_iter().flatten() {
            if let Some(value) = steady.get_mut(field) {
                *value = Value::Null;
            }
        }
        steady
    }
}
