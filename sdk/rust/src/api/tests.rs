//! Both codecs carry everything, refuse everything else, and hold no more than they may.

use std::collections::BTreeSet;
use std::fmt::Debug;

use mesh_protocol::{MessageType, Priority};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::codec::{Bounds, Codec, DecodeError, Decoder, encode};
use super::samples::{self, events, requests};
use super::*;

const CODECS: [Codec; 2] = [Codec::Json, Codec::Postcard];

fn encoded<T: Serialize>(values: &[T], codec: Codec) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| encode(value, codec, &mut bytes).unwrap());
    bytes
}

/// Everything a decoder makes of bytes that come in pieces of this size.
fn decoded<T: DeserializeOwned>(bytes: &[u8], piece: usize, bounds: Bounds) -> Vec<Result<T, DecodeError>> {
    let mut decoder = Decoder::new(bounds);
    let mut values = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.space().extend_from_slice(piece);
        while let Some(value) = decoder.decode().transpose() {
            values.push(value);
        }
    }
    values
}

fn carries<T: Serialize + DeserializeOwned + Clone + PartialEq + Debug>(values: &[T], bounds: Bounds) {
    let expected: Vec<Result<T, DecodeError>> = values.iter().cloned().map(Ok).collect();
    for codec in CODECS {
        let bytes = encoded(values, codec);
        for piece in [1, 7, bytes.len()] {
            assert_eq!(decoded::<T>(&bytes, piece, bounds), expected, "{codec:?} in pieces of {piece}");
        }
    }
}

/// The binary number of a variant, which is also the proof that a sample of it exists.
fn variants<T: Serialize>(values: &[T]) -> BTreeSet<u8> {
    values.iter().map(|value| postcard::to_allocvec(value).unwrap()[0]).collect()
}

#[test]
fn both_codecs_carry_every_request() {
    carries(&requests(), Bounds::REQUEST);
    // The last variant: there are no more than these.
    let trace = AskNode { reference: None, node: mesh_protocol::Address::new(3), timeout_ms: 1 };
    let last = postcard::to_allocvec(&Request::TraceNode(trace)).unwrap()[0];
    assert_eq!(variants(&requests()), (0..=last).collect());
}

#[test]
fn both_codecs_carry_every_event() {
    carries(&events(), Bounds::EVENT);
    let is_last = |event: &&Event| matches!(event, Event::Trace(_));
    let last = postcard::to_allocvec(events().iter().find(is_last).unwrap()).unwrap()[0];
    assert_eq!(variants(&events()), (0..=last).collect());
}

#[test]
fn json_looks_as_documented() {
    let send =
        SendRequest { reference: Some(1), deadline_ms: Some(500), ..samples::send("bob@0x0003", "wash up") };
    assert_eq!(
        serde_json::to_value(Request::Send(send)).unwrap(),
        json!({"op": "send", "ref": 1, "to": "bob@0x0003", "type": "TASK", "priority": "MEDIUM", "deadline_ms": 500,
               "durable": true, "receipt": "delivered", "text": "wash up"})
    );
    assert_eq!(
        serde_json::to_string(&Event::Message(samples::message("done"))).unwrap(),
        r#"{"ev":"message","cursor":5,"id":"0x0001/17","from":"bob@0x0003","to":"alice","type":"RESPONSE","#
            .to_owned()
            + r#""priority":"HIGH","reply_to":"0x0001/16","hops":3,"at_us":1234567,"text":"done"}"#
    );
    let lines: Vec<Value> = events().iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    assert_eq!(lines[2], json!({"ev": "accepted", "id": "0x0001/17", "durable": false, "at_us": 8}));
    assert_eq!(
        lines[3],
        json!({"ev": "receipt", "cursor": 6, "ref": 1, "id": "0x0001/17", "outcome": "delivered",
               "where": "0x0003", "hops": 2, "at_us": 9})
    );
    let values = |key: &str| lines.iter().filter_map(|line| line.get(key)).cloned().collect::<Vec<_>>();
    assert!(values("data").contains(&json!("////")));
    assert!(values("code").contains(&json!("unknown_receiver")));
    assert_eq!(values("health"), [json!("ok"), json!(["the disk is full"])]);
    assert!(lines.iter().all(|line| line.as_object().unwrap().values().all(|value| !value.is_null())));
}

#[test]
fn the_least_one_can_write_has_the_defaults() {
    let hello: Request = serde_json::from_str(r#"{"op":"hello","name":"alice"}"#).unwrap();
    assert_eq!(hello, Request::Hello(Hello::new(samples::name("alice"))));
    let send: Request =
        serde_json::from_str(r#"{"to":"bob","text":"hi","type":"TASK","op":"send"}"#).unwrap();
    assert_eq!(send, Request::Send(samples::send("bob", "hi")), "the keys may come in any order");
}

#[test]
fn the_field_that_is_wrong_is_named() {
    let table = [
        (r#"{"op":"send","to":"bob","type":"TASK","deadline_ms":-5,"text":"?"}"#, Some("deadline_ms")),
        (r#"{"op":"send","to":"bob","type":"TASK","deadline_ms":"1s","text":"?"}"#, Some("deadline_ms")),
        (r#"{"op":"send","to":"b b","type":"TASK","text":""}"#, Some("to")),
        (r#"{"op":"send","to":"bob","type":"SONG","text":""}"#, Some("type")),
        (r#"{"op":"send","to":"bob","type":"TASK","data":"a"}"#, Some("data")),
        (r#"{"op":"send","to":"bob","text":""}"#, Some("type")),
        (r#"{"op":"send","to":"bob","type":"TASK"}"#, None),
        (r#"{"op":"hello","name":"alice","colour":"red"}"#, Some("colour")),
        (r#"{"op":"dance","ref":4}"#, Some("op")),
        (r#"{"op":"ack","cursor":1,"cursor":1}"#, None),
        (r#"{"op":"ping""#, None),
        ("hello?", None),
    ];
    for (line, expected) in table {
        let stream = format!("{{\"op\":\"ping\"}}\n{line}\n");
        let values = decoded::<Request>(stream.as_bytes(), 9, Bounds::REQUEST);
        let [Ok(_), Err(error)] = &values[..] else { panic!("{line}: {values:?}") };
        let event = ErrorEvent::from(error);
        assert_eq!(event.field.as_deref(), expected, "{line}");
        if let Some(field) = expected {
            assert!(event.message.contains(&format!("`{field}`")) || field == "op", "{}", event.message);
        }
        assert!(event.hint.is_some() && !event.message.contains("mesh-gateway schema"), "{event:?}");
        assert_eq!(event.to_string(), error.to_string());
    }
    let many: String = (0..20).map(|n| format!(r#","x{n}":1"#)).collect();
    let values = decoded::<Request>(format!("{{\"op\":\"ping\"{many}}}\n").as_bytes(), 9, Bounds::REQUEST);
    let [Err(error)] = &values[..] else { panic!("{values:?}") };
    assert_eq!(ErrorEvent::from(error).field, None, "a line of many fields is not read once for each");
}

#[test]
fn a_wrong_line_is_named_and_the_next_one_is_read() {
    let long_key = format!(r#"{{"op":"bye","{}":1}}"#, "k".repeat(5_000));
    let table = [
        (r#"{"op":"hello","name":"alice","colour":"red"}"#, None, "unknown field `colour`, expected one of"),
        (r#"{"op":"bye","ref":3}"#, Some(3), "unknown field `ref`, there are no fields"),
        (r#"{"op":"dance","ref":4}"#, Some(4), "unknown variant `dance`, expected one of `hello`, `send`"),
        (r#"{"ref":5}"#, Some(5), "missing field `op`"),
        (r#"{"op":"send","ref":6,"to":"bob","type":"TASK"}"#, Some(6), "missing field `text` or `data`"),
        (r#"{"op":"send","to":"bob","type":"TASK","text":"","data":""}"#, None, "both `text` and `data`"),
        (r#"{"op":"send","to":"bob","type":"TASK","data":"a"}"#, None, "`data` is not base64 with padding"),
        (r#"{"op":"send","to":"b b","type":"TASK","text":""}"#, None, "the name has the character ' '"),
        (r#"{"op":"send","to":"bob","type":"SONG","text":""}"#, None, "unknown variant `SONG`"),
        (r#"{"op":"ack","cursor":-1}"#, None, "invalid value: integer `-1`, expected u64"),
        (r#"{"op":"ack","cursor":1,"cursor":1}"#, None, "duplicate field `cursor`"),
        (r#"{"op":"ping""#, None, "EOF while parsing an object, at column 12"),
        ("{\"op\":\"\u{1}\"}", None, "control character"),
        ("hello?", None, "it is not an object"),
        (&long_key, None, "unknown field `kkkkkkkk"),
        (r#"["bye",{}]"#, None, "it is not an object"),
        (&format!(r#"{{"op":"bye","x":{}"#, "[".repeat(5_000)), None, "recursion limit exceeded"),
    ];
    for (line, number, reason) in table {
        // The first line says that this is JSON, whatever the second one is.
        let stream = format!("{{\"op\":\"ping\"}}\r\n\n{line}\n{{\"op\":\"bye\"}}\n");
        let values = decoded::<Request>(stream.as_bytes(), 9, Bounds::REQUEST);
        let [Ok(_), Err(DecodeError::Line { reference, why, .. }), Ok(Request::Bye(_))] = &values[..] else {
            panic!("{line}: {values:?}")
        };
        assert!(why.contains(reason), "{line}: {why}");
        assert!(why.len() < 300, "{why}");
        assert_eq!(*reference, number, "{line}");
    }
}

#[test]
fn the_largest_body_fits_however_it_is_written() {
    let data = SendRequest { body: Body::data(vec![0xFF; MAX_BODY]), ..samples::send("bob", "") };
    // Every control character becomes six letters in JSON.
    let text = samples::send("bob", &"\u{1}".repeat(MAX_BODY));
    carries(&[Request::Send(data), Request::Send(text)], Bounds::REQUEST);
    carries(&[Event::Message(samples::message(&"\u{1}".repeat(MAX_BODY)))], Bounds::EVENT);
}

#[test]
fn an_endless_line_is_cut_off_at_the_bound() {
    let bounds = Bounds { line: 100, frame: 100 };
    let mut line = b"{".to_vec();
    line.extend([b' '; 99]);
    assert_eq!(decoded::<Request>(&line, 10, bounds), [], "a line within the bound may still end well");
    line.push(b' ');
    assert_eq!(decoded::<Request>(&line, 10, bounds), [Err(DecodeError::LongLine(100))]);
    line.extend(b"\n{\"op\":\"bye\"}\n");
    assert_eq!(decoded::<Request>(&line, 1, bounds), [Err(DecodeError::LongLine(100))], "nothing follows");
    assert_eq!(decoded::<Request>(&line, 200, bounds), [Err(DecodeError::LongLine(100))], "nor in one piece");
}

#[test]
fn a_frame_is_refused_by_its_length_alone() {
    let bounds = Bounds { line: 100, frame: 100 };
    let long = DecodeError::LongFrame { length: 101, bound: 100 };
    assert_eq!(decoded::<Request>(&[0, 0, 0, 101], 1, bounds), [Err(long.clone())]);
    assert_eq!(decoded::<Request>(&[0, 0, 0, 100], 1, bounds), []);
    let text = decoded::<Request>(b"GET / HTTP/1.1\r\n", 16, bounds);
    let length = u32::from_be_bytes(*b"GET ");
    assert_eq!(text, [Err(DecodeError::LongFrame { length, bound: 100 })]);
    assert!(long.is_fatal());
}

#[test]
fn a_wrong_frame_ends_the_stream() {
    let bye = encoded(&[Request::Bye(Bye {})], Codec::Postcard);
    for wrong in [&[0, 0, 0, 0][..], &[0, 0, 0, 1, 99], &[0, 0, 0, 2, 11, 0], &[0, 0, 0, 3, 2, 0xFF, 0xFF]] {
        let values = decoded::<Request>(&[wrong, &bye].concat(), 1, Bounds::REQUEST);
        assert!(matches!(&values[..], [Err(DecodeError::Frame(_))]), "{wrong:?}: {values:?}");
    }
}

#[test]
fn half_a_value_is_noticed_and_a_quiet_decoder_holds_no_more() {
    for codec in CODECS {
        let bytes = encoded(&[Request::Bye(Bye {})], codec);
        let mut decoder = Decoder::new(Bounds::REQUEST);
        decoder.space().extend_from_slice(&bytes[..bytes.len() - 1]);
        assert_eq!(decoder.decode::<Request>(), Ok(None));
        assert!(decoder.is_mid_value());
        decoder.space().reserve(10_000);
        decoder.release();
        assert_eq!(decoder.space().capacity(), bytes.len() - 1);
        decoder.space().extend_from_slice(&bytes[bytes.len() - 1..]);
        assert_eq!(decoder.decode(), Ok(Some(Request::Bye(Bye {}))), "releasing keeps what is there");
        assert!(!decoder.is_mid_value());
        decoder.release();
        assert_eq!(decoder.space().capacity(), 0);
    }
}

#[test]
fn lines_that_other_systems_write_are_read_or_named() {
    let read = |bytes: &[u8], piece: usize| {
        let mut decoder = Decoder::new(Bounds::REQUEST);
        let mut values = Vec::new();
        let mut take = |decoder: &mut Decoder| {
            while let Some(value) = decoder.decode::<Request>().transpose() {
                let fatal = value.as_ref().is_err_and(DecodeError::is_fatal);
                values.push(value.map_err(|error| error.to_string()));
                if fatal {
                    break;
                }
            }
        };
        for piece in bytes.chunks(piece) {
            decoder.space().extend_from_slice(piece);
            take(&mut decoder);
        }
        let last = decoder.finish();
        take(&mut decoder);
        assert!(!decoder.is_mid_value());
        (values, last)
    };
    let bye = Ok(Request::Bye(Bye {}));
    let again = "it ends with \\r alone; end each line with \\n or \\r\\n";
    for piece in [1, 2, 5, 1_000] {
        for (ends, last) in [("\n", false), ("\r\n", false), ("", true), ("\r", true)] {
            let text = format!("{{\"op\":\"bye\"}}{ends}");
            assert_eq!(read(text.as_bytes(), piece), (vec![bye.clone()], last), "{text:?} by {piece}");
        }
        // A return between two tokens is a space, as JSON has it.
        assert_eq!(read(b"{\"op\":\r\"bye\"}\r\n", piece).0, std::slice::from_ref(&bye));
        for text in ["{\"op\":\"bye\"}\r{\"op\":\"bye\"}\r", "{\"op\":\"bye\"}\r{\"op\":\"bye\"}\n"] {
            let (values, _) = read(text.as_bytes(), piece);
            assert!(matches!(&values[..], [Err(why)] if why.ends_with(again)), "{values:?} by {piece}");
        }
        let (values, _) = read(b"\xEF\xBB\xBF{\"op\":\"bye\"}\n{\"op\":\"bye\"}\n", piece);
        assert!(matches!(&values[..], [Err(why), next] if why.contains("byte order mark") && *next == bye));
        let wide: Vec<u8> = "\u{FEFF}{\"op\":\"bye\"}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(matches!(&read(&wide, piece).0[..], [Err(why), ..] if why.contains("UTF-16")));
        assert!(matches!(&read(b"{\"op\":\"by", piece).0[..], [Err(_)]), "half a line is answered");
        let frame = encoded(&[Request::Bye(Bye {})], Codec::Postcard);
        let mut decoder = Decoder::new(Bounds::REQUEST);
        decoder.space().extend_from_slice(&frame[..frame.len() - 1]);
        assert!(!decoder.finish(), "half a frame is none");
    }
}

#[test]
fn random_bytes_never_panic_and_never_pile_up() {
    let seed = mesh_seed();
    println!("seed {seed}");
    let mut rng = mesh_protocol::Rng::new(seed);
    let bounds = Bounds { line: 1_000, frame: 1_000 };
    for round in 0..2_000_u32 {
        let mut decoder = Decoder::new(bounds);
        // Half of the rounds start with good requests that are then damaged.
        let codec = CODECS[(round % 2) as usize];
        let mut bytes = if round % 4 < 2 { encoded(&requests(), codec) } else { vec![0; 500] };
        for _ in 0..1 + rng.next_u64() % 20 {
            let place = rng.next_u64() as usize % bytes.len();
            bytes[place] = rng.next_u64() as u8;
        }
        if round % 4 >= 2 {
            bytes.iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
        }
        for piece in bytes.chunks(64) {
            decoder.space().extend_from_slice(piece);
            while let Ok(Some(_)) | Err(DecodeError::Line { .. }) = decoder.decode::<Request>() {}
            assert!(decoder.space().len() <= bounds.line + 64);
        }
    }
}

fn mesh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_nanos() as u64
}

#[test]
fn the_schema_knows_every_word() {
    let schema = schema::schema();
    for (side, key, lines) in [
        ("request", "op", requests().iter().map(|r| serde_json::to_value(r).unwrap()).collect::<Vec<_>>()),
        ("event", "ev", events().iter().map(|e| serde_json::to_value(e).unwrap()).collect()),
    ] {
        let shapes = schema[side]["oneOf"].as_array().unwrap();
        for line in lines {
            let word = &line[key];
            let shape = shapes.iter().find(|shape| shape["properties"][key]["const"] == *word).unwrap();
            for field in line.as_object().unwrap().keys() {
                assert!(shape["properties"].get(field).is_some(), "{word} has no {field} in the schema");
            }
            for field in shape["required"].as_array().unwrap() {
                assert!(line.get(field.as_str().unwrap()).is_some(), "{word} lacks {field}");
            }
        }
    }
    let shapes = schema["request"]["oneOf"].as_array().unwrap();
    let send = shapes.iter().find(|shape| shape["properties"]["op"]["const"] == "send").unwrap();
    let words = |field: &str| -> Vec<Value> {
        send["properties"][field]["enum"].as_array().unwrap_or_else(|| panic!("{send}")).clone()
    };
    assert_eq!(words("type"), MessageType::ALL.map(|kind| json!(kind.name())));
    assert_eq!(words("priority"), Priority::ALL.map(|priority| json!(priority.name())));
}

#[test]
fn an_error_code_shows_itself_as_json_writes_it() {
    for code in
        [ErrorCode::BadRequest, ErrorCode::UnknownReceiver, ErrorCode::ShuttingDown, ErrorCode::NoNetwork]
    {
        assert_eq!(json!(code), json!(code.to_string()));
    }
}
