//! Types and codecs are what the contract says (`sdk/contract`), and it says something about everything.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::codec::{Bounds, Codec, Decoder, encode};
use crate::api::{ErrorCode, ErrorEvent, Event, Outcome, Receipt, Refusal, Request, samples, schema};

#[path = "../../../contract/transcripts.rs"]
mod transcripts;

pub(super) use transcripts::{Contract, Line, Side};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract/transcripts.txt")
}

pub(super) fn contract() -> Contract {
    Contract::read(&std::fs::read_to_string(path()).unwrap())
}

/// A value in the form of the contract.
fn forms<T: Serialize>(value: &T) -> (String, String) {
    let mut bytes = Vec::new();
    encode(value, Codec::Postcard, &mut bytes).unwrap();
    let binary = bytes[4..].iter().map(|byte| format!("{byte:02x}")).collect();
    (serde_json::to_string(value).unwrap(), binary)
}

/// The line means the same in either codec, and is written as it stands there.
fn holds<T: Serialize + DeserializeOwned + PartialEq + Debug>(line: &Line) {
    let read = |codec: Codec, bytes: &[u8]| -> T {
        let mut decoder = Decoder::with_codec(Bounds::EVENT, codec);
        decoder.space().extend_from_slice(bytes);
        let value = decoder.decode().unwrap_or_else(|why| panic!("line {}: {why}", line.number));
        value.unwrap_or_else(|| panic!("line {} is not whole", line.number))
    };
    let value: T = read(Codec::Json, format!("{}\n", line.text).as_bytes());
    // Through text: as a value, a short fraction would be a long one.
    let written: Value = serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap();
    // What was left out has its default; all that stands there must come back.
    for (field, there) in line.json().as_object().unwrap() {
        assert_eq!(written.get(field), Some(there), "line {}, {field}", line.number);
    }
    let mut bytes = Vec::new();
    encode(&value, Codec::Postcard, &mut bytes).unwrap();
    assert_eq!(read(Codec::Postcard, &bytes), value, "line {}", line.number);
    if let Some(binary) = &line.binary {
        assert_eq!((&line.text, binary), (&forms(&value).0, &forms(&value).1), "line {}", line.number);
    }
}

#[test]
fn every_line_means_the_same_in_both_codecs_and_is_written_as_it_stands() {
    let contract = contract();
    let lines = contract.transcripts.iter().flat_map(|(_, lines)| lines).chain(&contract.words);
    for line in lines {
        match (line.side, line.wrong) {
            (Side::Agent, false) => holds::<Request>(line),
            (Side::Agent, true) => assert!(serde_json::from_str::<Request>(&line.text).is_err(), "{line:?}"),
            (Side::Gateway, _) => holds::<Event>(line),
        }
    }
}

/// One of everything: the samples, and every word that they leave out.
fn words() -> (Vec<Request>, Vec<Event>) {
    let codes: Vec<ErrorCode> = vocabulary_of("ErrorCode");
    let outcomes: Vec<Outcome> = vocabulary_of("Outcome");
    let mut events = samples::events();
    events.extend(
        codes.into_iter().map(|code| Event::Error(ErrorEvent::about(None, Refusal::new(code, "no")))),
    );
    events.extend(outcomes.into_iter().map(|outcome| {
        let (id, reference) = (samples::id(17), Some(1));
        let (cursor, at_node, why, hops) = (None, None, None, None);
        Event::Receipt(Receipt { cursor, reference, id, outcome, at_node, why, hops, at_us: 9, detail: None })
    }));
    (samples::requests(), events)
}

/// Every value of a type of words, as its schema lists them.
fn vocabulary_of<T: DeserializeOwned>(what: &str) -> Vec<T> {
    let schema = schema::schema();
    let mut words = BTreeSet::new();
    vocabulary(&schema, &mut words);
    let values: Vec<T> =
        words.into_iter().filter_map(|word| serde_json::from_value(word.into()).ok()).collect();
    assert!(values.len() > 3, "{what} has more values");
    values
}

/// Every word that a schema knows: names of fields, and words with a fixed meaning.
fn vocabulary(schema: &Value, words: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                words.extend(properties.keys().cloned());
            }
            words.extend(object.get("const").and_then(Value::as_str).map(str::to_owned));
            if let Some(Value::Array(values)) = object.get("enum") {
                words.extend(values.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            object.values().for_each(|value| vocabulary(value, words));
        }
        Value::Array(values) => values.iter().for_each(|value| vocabulary(value, words)),
        _ => {}
    }
}

#[test]
fn the_contract_has_one_of_everything() {
    let (requests, events) = words();
    let lines = requests.iter().map(|request| (">", forms(request)));
    let lines: Vec<_> = lines.chain(events.iter().map(|event| ("<", forms(event)))).collect();
    if std::env::var("MESH_CONTRACT").as_deref() == Ok("record") {
        let file = std::fs::read_to_string(path()).unwrap();
        let (before, _) = file.split_once("\n== words\n").unwrap();
        let lines = lines.iter().map(|(mark, (text, binary))| format!("{mark} {text}\n= {binary}\n"));
        std::fs::write(path(), format!("{before}\n== words\n{}", lines.collect::<String>())).unwrap();
    }
    let contract = contract();
    let there: Vec<_> =
        contract.words.iter().map(|line| (&line.text, line.binary.as_ref().unwrap())).collect();
    let here: Vec<_> = lines.iter().map(|(_, (text, binary))| (text, binary)).collect();
    assert_eq!(there, here, "the part \"== words\": record it again");

    let mut words = BTreeSet::new();
    vocabulary(&schema::schema(), &mut words);
    assert!(words.len() > 80, "{words:?}");
    let file = std::fs::read_to_string(path()).unwrap();
    words.retain(|word| !file.contains(&format!("\"{word}\"")));
    assert!(words.is_empty(), "the contract says nothing of {words:?}: add them to the samples");

    // Everything but what only fails, or is only for others than agents, is also said in a transcript.
    let said = |key: &str| -> BTreeSet<String> {
        let lines = contract.transcripts.iter().flat_map(|(_, lines)| lines);
        lines.filter_map(|line| Some(line.json().get(key)?.as_str()?.to_owned())).collect()
    };
    for (key, kinds) in [
        ("op", requests.iter().map(|r| serde_json::to_value(r).unwrap()).collect::<Vec<_>>()),
        ("ev", events.iter().map(|e| serde_json::to_value(e).unwrap()).collect()),
    ] {
        for kind in kinds {
            let word = kind[key].as_str().unwrap();
            assert!(said(key).contains(word), "no transcript has {word}");
        }
    }
}
