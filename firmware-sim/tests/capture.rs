//! Captures: the bytes of the file, and what Wireshark makes of them with the project's dissector.
//!
//! The tests with `tshark` say that they are skipped where there is none, unless `MESH_NEEDS_TSHARK=1`: then they fail.

use std::fs;
use std::io::{ErrorKind, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

use firmware_sim::capture::{Capture, Pdu, PduKind};
use mesh_protocol::continuation::retarget_hop;
use mesh_protocol::frame::{Frame, Kind, encode, retarget_ttl};
use mesh_protocol::{Address, Duration, EpochKeys, Instant, MAX_FRAME, Mic, NetKey, Priority};

/// `docs/protocol.md`, golden frame: the frame and its network key. Its epoch is 7.
const GOLDEN: &str = "5bb5c15a1e9d8d848d6157885aa9ce1be8c845389e200dcce6eddb";
/// The same of a continuation frame.
const GOLDEN_CONTINUATION: &str = "db65ca6a63bedecae49c1f454e44f41556259c6c9f33c381f83fea";
const NET_KEY: &str = "000102030405060708090a0b0c0d0e0f";

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// AdvData around a frame, as `docs/protocol.md` has it.
fn adv_data(frame: &[u8]) -> Vec<u8> {
    [&[frame.len() as u8 + 3, 0xff, 0xff, 0xff], frame].concat()
}

fn legacy(at: u64, adv_data: &[u8]) -> Pdu<'_> {
    let at = Instant::from_micros(at);
    Pdu { at, channel: 37, rssi_dbm: -61, sender: 0x0102, adv_data, kind: PduKind::Legacy }
}

fn file_of(pdus: &[Pdu<'_>]) -> Vec<u8> {
    let mut capture = Capture::new(Vec::new()).unwrap();
    for pdu in pdus {
        capture.pdu(pdu).unwrap();
    }
    capture.finish().unwrap()
}

/// Type and body of every block.
fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let number = |at: &[u8]| u32::from_le_bytes(at[..4].try_into().unwrap());
    let mut blocks = Vec::new();
    while !file.is_empty() {
        let len = number(&file[4..]) as usize;
        assert_eq!(len % 4, 0);
        assert_eq!(number(&file[len - 4..]) as usize, len, "the length stands at both ends");
        blocks.push((number(file), file[8..len - 4].to_vec()));
        file = &file[len..];
    }
    blocks
}

/// The packet of the only packet block.
fn packet_of(pdu: &Pdu<'_>) -> Vec<u8> {
    let body = &blocks(&file_of(&[*pdu]))[2].1;
    let len = u32::from_le_bytes(body[12..16].try_into().unwrap()) as usize;
    body[20..20 + len].to_vec()
}

/// Core Specification 5.4, Volume 6, Part B, 3.1.1, bit by bit as its figure has it: position 0 of the register is the
/// lowest bit, and position 23 leaves first, into the lowest bit of the first byte.
fn crc_by_the_figure(pdu: &[u8]) -> [u8; 3] {
    let mut register = 0x55_5555_u32;
    for bit in pdu.iter().flat_map(|byte| (0..8).map(move |n| byte >> n & 1)) {
        let feedback = (register >> 23 & 1) ^ u32::from(bit);
        register = (register << 1) & 0xff_ffff;
        if feedback == 1 {
            // x^10 + x^9 + x^6 + x^4 + x^3 + x + 1
            register ^= 0x00_065b;
        }
    }
    let mut out = [0; 3];
    for n in 0..24 {
        out[n / 8] |= ((register >> (23 - n) & 1) as u8) << (n % 8);
    }
    out
}

// ---- the bytes ----

#[test]
fn an_empty_capture_is_a_section_and_an_interface() {
    let found = blocks(&file_of(&[]));
    let [(section_type, section), (interface_type, interface)] = &found[..] else { panic!("{found:x?}") };
    assert_eq!((*section_type, *interface_type), (0x0a0d_0d0a, 1));
    // Byte order, version 1.0, length unknown, shb_userappl.
    assert_eq!(hex(section), "4d3c2b1a01000000ffffffffffffffff040008006d6573682d73696d00000000");
    // Link type 256, no limit, if_name, if_tsresol 6.
    assert_eq!(
        hex(interface),
        "000100000000000002000d0073696d756c6174656420616972000000090001000600000000000000"
    );
}

#[test]
fn a_legacy_advert_is_byte_for_byte() {
    let data = adv_data(&unhex(GOLDEN));
    // Past 2^32 microseconds.
    let found = blocks(&file_of(&[legacy(0x1_0000_0002, &data)]));
    assert_eq!(found[2].0, 6);
    let body = &found[2].1;
    assert_eq!(hex(&body[..12]), "000000000100000002000000", "interface 0, time");
    assert_eq!(hex(&body[12..20]), "3800000038000000", "56 bytes of 56");
    let packet = packet_of(&legacy(0, &data));
    assert_eq!(hex(&packet[..10]), "00c30000d6be898e130c", "2402 MHz, -61 dBm, flags");
    assert_eq!(hex(&packet[10..14]), "d6be898e");
    assert_eq!(
        hex(&packet[14..22]),
        "42250201000001c0",
        "ADV_NONCONN_IND, random, 37 bytes, c0:01:00:00:01:02"
    );
    assert_eq!(packet[22..53], data);
    assert_eq!(packet[53..], crc_by_the_figure(&packet[14..53]));
}

#[test]
fn the_crc_is_that_of_the_core_specification() {
    // The check value of CRC-24/BLE in the catalogue of parametrised CRC algorithms, c25a56, lowest byte first.
    assert_eq!(crc_by_the_figure(b"123456789"), [0x56, 0x5a, 0xc2]);
    for len in 0..=31 {
        let data = vec![0xa5 ^ len as u8; len];
        let packet = packet_of(&legacy(0, &data));
        let (pdu, crc) = packet[14..].split_at(8 + len);
        assert_eq!(crc, crc_by_the_figure(pdu), "{len} bytes");
    }
}

#[test]
fn an_extended_advert_is_two_packets_with_one_identifier() {
    let data = adv_data(&[0x5b; MAX_FRAME - 4]);
    assert_eq!(data.len(), 245, "the most that leaves room for the address");
    let kind = PduKind::ExtInd { aux_channel: 11, aux_after: Duration::from_micros(1_000) };
    let ext = packet_of(&Pdu { kind, ..legacy(0, &data) });
    let aux = packet_of(&Pdu { kind: PduKind::Aux, channel: 11, ..legacy(1_000, &data) });
    // No address; ADI and AuxPtr. Channel 11, 30 us, 33 of them, LE 1M.
    assert_eq!(hex(&ext[14..18]), "07070618");
    assert_eq!(hex(&ext[20..23]), "0b2100");
    assert_eq!(ext[23..], crc_by_the_figure(&ext[14..23]));
    // 2428 MHz and the flag of an auxiliary packet.
    assert_eq!(hex(&aux[..10]), "0dc30000d6be898e930c");
    // 255 bytes, of which 9 are the extended header: address and ADI.
    assert_eq!(hex(&aux[14..24]), "47ff09090201000001c0");
    assert_eq!(aux[24..26], ext[18..20], "the identifier of the data");
    assert_eq!(aux[26..271], data);
    assert_eq!(aux[271..], crc_by_the_figure(&aux[14..271]));
}

#[test]
fn the_longest_frame_has_its_address_in_the_first_packet() {
    let data = adv_data(&[0x5b; MAX_FRAME]);
    let kind = PduKind::ExtInd { aux_channel: 0, aux_after: Duration::from_micros(300_000) };
    let ext = packet_of(&Pdu { kind, ..legacy(0, &data) });
    let aux = packet_of(&Pdu { kind: PduKind::Aux, channel: 0, ..legacy(0, &data) });
    // 1,000 times 300 us on channel 0.
    assert_eq!(hex(&ext[14..24]), "470d0c190201000001c0");
    assert_eq!(hex(&ext[26..29]), "80e803");
    assert_eq!(hex(&aux[14..18]), "07fd0308");
    assert_eq!(aux[20..269], data);
}

#[test]
fn what_cannot_be_on_the_air_is_refused_and_leaves_no_bytes() {
    let long = [0; 252];
    let ext = |aux_channel, micros| PduKind::ExtInd { aux_channel, aux_after: Duration::from_micros(micros) };
    let base = legacy(0, &long[..20]);
    let refused = [
        (Pdu { channel: 36, ..base }, "legacy adverts are on channels 37 to 39"),
        (Pdu { channel: 40, ..base }, "legacy adverts are on channels 37 to 39"),
        (Pdu { adv_data: &long[..32], ..base }, "a legacy advert has room for 31 bytes"),
        (Pdu { kind: ext(3, 500), channel: 3, ..base }, "ADV_EXT_IND is on channels 37 to 39"),
        (Pdu { kind: ext(37, 500), ..base }, "its auxiliary packet must be on a channel from 0 to 36"),
        (Pdu { kind: ext(3, 29), ..base }, "its auxiliary packet must begin 30 us to 2,457,300 us later"),
        (
            Pdu { kind: ext(3, 2_457_600), ..base },
            "its auxiliary packet must begin 30 us to 2,457,300 us later",
        ),
        (Pdu { kind: PduKind::Aux, ..base }, "AUX_ADV_IND is on channels 0 to 36"),
        (
            Pdu { kind: PduKind::Aux, channel: 3, adv_data: &long, ..base },
            "an extended advert has room for 251 bytes without a chain",
        ),
    ];
    let mut capture = Capture::new(Vec::new()).unwrap();
    for (pdu, why) in refused {
        let error = capture.pdu(&pdu).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with("writing a PDU to the capture: "), "{error}");
        assert!(error.to_string().ends_with(why), "{error}");
    }
    for kind in [ext(36, 30), ext(0, 2_457_300)] {
        packet_of(&Pdu { kind, ..base });
    }
    assert_eq!(capture.finish().unwrap(), file_of(&[]));
}

// ---- Wireshark ----

/// Whether there is a `tshark`. Without one it says so, or fails where one is asked for.
fn has_tshark() -> bool {
    let why = match Command::new("tshark").arg("--version").output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => format!("tshark --version ended with {}", output.status),
        Err(error) => format!("tshark cannot be run ({error})"),
    };
    assert!(
        std::env::var_os("MESH_NEEDS_TSHARK").is_none_or(|value| value != "1"),
        "MESH_NEEDS_TSHARK=1, and {why}"
    );
    // Not with a macro: the harness would keep that to itself, as the test passes.
    let _ = writeln!(stderr(), "skipped: {why}; install it, or run ./ci.sh capture");
    false
}

/// A file below the target folder, where every test has its own name.
fn written(name: &str, pdus: &[Pdu<'_>]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, file_of(pdus)).unwrap();
    path
}

/// The fields of every packet, with the key or without.
fn tshark(file: &Path, key: Option<&str>, fields: &[&str]) -> Vec<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/wireshark/mesh_gateway.lua");
    let mut command = Command::new("tshark");
    // An empty home: no settings of whoever runs the test.
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("home");
    fs::create_dir_all(&home).unwrap();
    command.env("HOME", &home).env("XDG_CONFIG_HOME", &home).arg("-r").arg(file);
    command.arg("-X").arg(format!("lua_script:{}", script.display()));
    if let Some(key) = key {
        command.args(["-o", &format!("mesh_gw.net_key:{key}"), "-o", "mesh_gw.epoch:7"]);
    }
    command.args(["-T", "fields", "-E", "separator=|"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !errors.contains("mesh_gateway.lua"), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer versions write booleans as words.
    let plain = |value: &str| match value {
        "True" => "1".to_owned(),
        "False" => "0".to_owned(),
        other => other.to_owned(),
    };
    text.lines().map(|line| line.split('|').map(plain).collect()).collect()
}

fn keys() -> EpochKeys {
    EpochKeys::derive(&NetKey::new(unhex(NET_KEY).try_into().unwrap()), 7)
}

fn sealed(keys: &EpochKeys, frame: &Frame<'_>) -> Vec<u8> {
    let mut out = [0; MAX_FRAME];
    let len = encode(frame, keys, &mut out).unwrap();
    out[..len].to_vec()
}

/// The golden frame's fields, with another body.
fn frame(kind: Kind, body: &[u8]) -> Frame<'_> {
    let mic = if kind == Kind::Control { Mic::Long } else { Mic::Short };
    Frame {
        ttl: 7,
        ttl0: 7,
        seq: 1,
        src: Address::new(0x0102),
        dst: Address::new(0x0001),
        next: None,
        priority: Priority::High,
        kind,
        mic,
        body,
    }
}

#[test]
fn wireshark_sees_good_packets_of_the_link_layer() {
    if !has_tshark() {
        return;
    }
    let golden = adv_data(&unhex(GOLDEN));
    let long = adv_data(&[0x5b; MAX_FRAME]);
    // A network PDU of Bluetooth Mesh, without its key.
    let sig = [&[0x12, 0x2a][..], &[0x68; 17]].concat();
    let kind = PduKind::ExtInd { aux_channel: 20, aux_after: Duration::from_micros(600) };
    let file = written(
        "link_layer.pcapng",
        &[
            legacy(1_000_001, &golden),
            Pdu { channel: 38, rssi_dbm: -90, sender: 7, ..legacy(1_000_402, &sig) },
            Pdu { channel: 39, kind, ..legacy(1_001_000, &golden) },
            Pdu { channel: 20, kind: PduKind::Aux, ..legacy(1_001_600, &golden) },
            Pdu { channel: 38, kind, ..legacy(1_002_000, &long) },
            Pdu { channel: 20, kind: PduKind::Aux, ..legacy(1_002_600, &long) },
        ],
    );
    let rows = tshark(
        &file,
        None,
        &[
            "frame.time_relative",
            "btle_rf.channel",
            "btle_rf.signal_dbm",
            "btle.access_address",
            "btle.advertising_header.pdu_type",
            "btle.advertising_header.randomized_tx",
            "btle.advertising_address",
            "btcommon.eir_ad.entry.type",
            "btle.crc.incorrect",
            "btle_rf.flags.crc_valid",
            "_ws.malformed",
            "btle.extended_advertising_header.aux_pointer.channel",
            "btle.extended_advertising_header.aux_pointer.aux_offset",
        ],
    );
    let expected = [
        "0.000000000|0|-61|0x8e89bed6|0x02|1|c0:01:00:00:01:02|0xff||1|||",
        "0.000401000|12|-90|0x8e89bed6|0x02|1|c0:01:00:00:00:07|0x2a||1|||",
        "0.000999000|39|-61|0x8e89bed6|0x07|||||1||20|0x0014",
        "0.001599000|22|-61|0x8e89bed6|0x07|1|c0:01:00:00:01:02|0xff||1|||",
        "0.001999000|12|-61|0x8e89bed6|0x07|1|c0:01:00:00:01:02|||1||20|0x0014",
        "0.002599000|22|-61|0x8e89bed6|0x07|||0xff||1|||",
    ];
    let rows: Vec<String> = rows.iter().map(|row| row.join("|")).collect();
    assert_eq!(rows, expected);
}

#[test]
fn wireshark_comes_to_the_same_crc() {
    if !has_tshark() {
        return;
    }
    let golden = adv_data(&unhex(GOLDEN));
    let long = adv_data(&[0x5b; MAX_FRAME]);
    let kind = PduKind::ExtInd { aux_channel: 20, aux_after: Duration::from_micros(600) };
    let pdus = [
        legacy(0, &golden),
        Pdu { kind, ..legacy(0, &golden) },
        Pdu { kind, ..legacy(0, &long) },
        Pdu { channel: 20, kind: PduKind::Aux, ..legacy(0, &golden) },
        Pdu { channel: 20, kind: PduKind::Aux, ..legacy(0, &long) },
    ];
    // It believes the two flags that say "checked" and "valid", and reckons itself only where they are not set.
    let unchecked = |flip: u8| {
        let mut file = file_of(&[]);
        for pdu in &pdus {
            let one = file_of(&[*pdu]);
            let mut block = one[file_of(&[]).len()..].to_vec();
            let len = packet_of(pdu).len();
            // The block's head is 28 bytes, the upper byte of the flags the tenth of the packet.
            block[28 + 9] &= !0x0c;
            // The last byte before the CRC.
            block[28 + len - 4] ^= flip;
            file.extend(block);
        }
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("unchecked_{flip}.pcapng"));
        fs::write(&path, file).unwrap();
        tshark(&path, None, &["btle_rf.flags.crc_checked", "btle.crc.incorrect"])
    };
    assert_eq!(unchecked(0), vec![["0", ""]; 5]);
    assert_eq!(unchecked(1), vec![["0", "1"]; 5], "it would have said so");
}

#[test]
fn the_golden_frame_is_shown_in_the_clear() {
    if !has_tshark() {
        return;
    }
    let golden = unhex(GOLDEN);
    let mut relayed = golden.clone();
    retarget_ttl(&mut relayed, 7, 6);
    let mut forged = golden.clone();
    *forged.last_mut().unwrap() ^= 1;
    let next_keys = EpochKeys::derive(&NetKey::new(unhex(NET_KEY).try_into().unwrap()).ratchet(7), 8);
    let next_epoch = sealed(&next_keys, &frame(Kind::Single, b"hello, mesh!!"));
    // Not ours: too short for the continuation frame that it says to be.
    let mut strange = golden[..12].to_vec();
    strange[0] |= 0x80;
    let frames = [golden, relayed, forged, next_epoch, strange].map(|frame| adv_data(&frame));
    let pdus: Vec<_> = frames.iter().zip(0..).map(|(data, at)| legacy(at, data)).collect();
    let file = written("golden.pcapng", &pdus);

    let outside = ["mesh_gw.version", "mesh_gw.epoch_bit", "mesh_gw.nid", "mesh_gw.masked", "mesh_gw.sealed"];
    let rows = tshark(&file, None, &outside);
    assert_eq!(rows[0], ["0", "1", "0x1b", "b5c15a1e9d8d", "848d6157885aa9ce1be8c845389e200dcce6eddb"]);
    assert_eq!(rows[4], [""; 5]);

    let inside = [
        "mesh_gw.epoch",
        "mesh_gw.ttl",
        "mesh_gw.seq",
        "mesh_gw.src",
        "mesh_gw.next",
        "mesh_gw.dst",
        "mesh_gw.priority",
        "mesh_gw.kind",
        "mesh_gw.ttl0",
        "mesh_gw.hops",
        "mesh_gw.body",
        "mesh_gw.mic",
        "mesh_gw.mic_ok",
    ];
    assert_eq!(tshark(&file, None, &inside)[0], [""; 13], "without the key nothing is claimed");
    let rows: Vec<_> = tshark(&file, Some(NET_KEY), &inside).iter().map(|row| row.join(" ")).collect();
    let body = hex(b"hello, mesh!!");
    let mic = hex(&frames[3][frames[3].len() - 4..]);
    assert_eq!(rows[0], format!("7 7 1 0x0102  0x0001 1 0 7 1 {body} cce6eddb 1"));
    assert_eq!(rows[1], format!("7 6 1 0x0102  0x0001 1 0 7 2 {body} cce6eddb 1"), "relayed");
    assert_eq!(rows[2], "            0", "forged");
    assert_eq!(rows[3], format!("8 7 1 0x0102  0x0001 1 0 7 1 {body} {mic} 1"), "of the next epoch");
    assert_eq!(rows[4], " ".repeat(12), "too short");

    let other_key = "ff".repeat(16);
    let complaints = |key: &str| tshark(&file, Some(key), &["_ws.expert.message"])[0][0].clone();
    assert_eq!(complaints(&other_key), "No key of the preferences opens this frame");
    assert_eq!(complaints("0123"), "The network key in the preferences must be 32 hexadecimal digits");
}

#[test]
fn a_continuation_frame_is_shown_in_the_clear() {
    if !has_tshark() {
        return;
    }
    let golden = unhex(GOLDEN_CONTINUATION);
    let mut relayed = golden.clone();
    retarget_hop(&mut relayed, 0, 3);
    let mut forged = golden.clone();
    *forged.last_mut().unwrap() ^= 1;
    let frames = [golden, relayed, forged].map(|frame| adv_data(&frame));
    let pdus: Vec<_> = frames.iter().zip(0..).map(|(data, at)| legacy(at, data)).collect();
    let file = written("continuation.pcapng", &pdus);
    let inside = ["epoch", "hop", "seq", "src", "transfer", "segment", "segment_data", "mic", "mic_ok"]
        .map(|name| format!("mesh_gw.{name}"));
    let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
    let rows: Vec<_> = tshark(&file, Some(NET_KEY), &inside).iter().map(|row| row.join(" ")).collect();
    let data = hex(b"fifteen  bytes.");
    let mic = &GOLDEN_CONTINUATION[46..];
    let shown = |hop: u8| format!("7 {hop} 2 0x0102 5 1 {data} {mic} 1");
    assert_eq!(rows, [shown(0), shown(3), " ".repeat(8) + "0"]);
}

/// What tshark shows of the fields `names` of each frame, which all have keys and epoch of the golden one; empty ones are left out.
fn shown(name: &str, frames: &[Frame<'_>], names: &[&str]) -> Vec<String> {
    let frames: Vec<_> = frames.iter().map(|frame| adv_data(&sealed(&keys(), frame))).collect();
    let pdus: Vec<_> =
        frames.iter().map(|data| Pdu { kind: PduKind::Aux, channel: 9, ..legacy(0, data) }).collect();
    let file = written(name, &pdus);
    let fields: Vec<String> = names.iter().map(|name| format!("mesh_gw.{name}")).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    tshark(&file, Some(NET_KEY), &fields)
        .iter()
        .map(|row| {
            let filled = names.iter().zip(row).filter(|(_, value)| !value.is_empty());
            filled.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn what_messages_are_made_of_is_told_apart() {
    if !has_tshark() {
        return;
    }
    // Type QUERY with everything, from a to bc, in answer to message 9 of node 3, and a text.
    let whole = [&[0x05, 0xf1, 1][..], b"a", &[2], b"bc", &[3, 9], b"hi"].concat();
    // Context 9: from d to e; used, and used in answer to message 12.
    let defining = [&[0x06, 0x4e, 0x10, 1][..], b"d", &[1], b"e", &[0xaa]].concat();
    // Segment 0 of 0 to 6, of transfer 700, and what comes behind it: here, or in continuation frames.
    let segment = |first: u8, last: u8, len| [&[first, 0xc0, last][..], &[0x11; 226][..len]].concat();
    let [flooded, routed] = [segment(0x2b, 6, 10), segment(0xab, 6, 8)];
    let [too_much, long] = [segment(0x2b, 6, 226), segment(0x2b, 1, 226)];
    let next = Some(Address::new(0x0203));
    let frames = [
        frame(Kind::Single, &whole),
        frame(Kind::Single, &defining),
        frame(Kind::Single, &[0x07, 0x4f, 0xaa, 0xbb]),
        frame(Kind::Single, &[0x88, 0x01, 0x4d, 12, 0xcc]),
        frame(Kind::Single, &[0x09, 0x08]),
        // What gateways keep for each other.
        frame(Kind::Single, &[0x05, 0x08, 3, 60, 0x00, 0xaa]),
        frame(Kind::Single, &[0x06, 0x09, 3, 9, 0x00, 0xaa]),
        frame(Kind::Single, &[0x07, 0x0a, 2, 9, 1, 0]),
        frame(Kind::Single, &[0x08, 0x0a, 2, 9, 9, 9]),
        Frame { next, ..frame(Kind::Single, &[0x05, 0x4f, 0xaa, 0xbb]) },
        // A number without an end.
        frame(Kind::Single, &[0x85]),
        frame(Kind::Segment, &flooded),
        Frame { next, ..frame(Kind::Segment, &routed) },
        // Segment 5, which says that it comes in continuation frames and is none, and one that is too short.
        frame(Kind::Segment, &[0xab, 0xc1, 0x46, 0, 1, 2, 3, 4, 5, 6, 7]),
        frame(Kind::Segment, &[0x2b, 0xc1, 0x46, 0]),
        // Six of seven segments in long frames are more than a block.
        frame(Kind::Segment, &too_much),
        frame(Kind::Segment, &long),
    ];
    let names = [
        "next",
        "message",
        "defines",
        "context",
        "kept",
        "kept_hops",
        "kept_for",
        "kept_seconds",
        "kept_of",
        "kept_message",
        "verdict",
        "type",
        "processed",
        "from",
        "to",
        "reply_node",
        "reply_message",
        "text",
        "content",
        "continued",
        "transfer",
        "segment",
        "last_segment",
        "segment_data",
        "malformed",
    ];
    let [eight, ten, full] = [8, 10, 226].map(|len| "11".repeat(len));
    let expected = [
        "message=5 type=1 processed=1 from=a to=bc reply_node=0x00000003 reply_message=9 text=hi",
        "message=6 defines=9 type=0 processed=0 from=d to=e content=aa",
        "message=7 context=9 content=aabb",
        "message=136 context=9 reply_message=12 content=cc",
        "message=9 kept=8 malformed=1",
        "message=5 kept=8 kept_for=0x00000003 kept_seconds=60 type=0 processed=0 content=aa",
        "message=6 kept=9 kept_of=0x00000003 kept_message=9 type=0 processed=0 content=aa",
        "message=7 kept=10 kept_hops=2 kept_message=9 verdict=0x0100",
        "message=8 kept=10 kept_hops=2 kept_message=9 verdict=0x0909 malformed=1",
        "next=0x0203 message=5 context=9 content=aabb",
        "malformed=1",
        &format!("continued=0 transfer=700 segment=0 last_segment=6 segment_data={ten}"),
        &format!("next=0x0203 continued=1 transfer=700 segment=0 last_segment=6 segment_data={eight}"),
        "continued=1 transfer=700 segment=5 last_segment=6 segment_data=0001020304050607 malformed=1",
        "continued=0 transfer=700 segment=5 last_segment=6 segment_data=00 malformed=1",
        &format!("continued=0 transfer=700 segment=0 last_segment=6 segment_data={full} malformed=1"),
        &format!("continued=0 transfer=700 segment=0 last_segment=1 segment_data={full}"),
    ];
    assert_eq!(shown("messages.pcapng", &frames, &names), expected);
}

/// Each body, and what is shown of it. Every opcode; then those that are malformed.
const CONTROL: [(&[u8], &str); 25] = [
    (
        &[1, 9, 0x57, 0xd2, 0x03, 0x72, 0x04],
        "0x01 hello_count=9 hello_long=1 hello_relays=1 hello_backbone=1 hello_pace=5 neighbour=0x0203,0x0204 delivery=13,7",
    ),
    (&[2, 0xaf, 0x03, 0, 0, 0, 5], "0x02 transfer=700 ack_base=3 ack_behind=00000005"),
    (&[2, 0xaf, 0x3f, 0, 0, 0, 1], "0x02 transfer=700 ack_base=64 ack_behind=00000001"),
    (&[3, 0, 0, 0, 77, 3, 2], "0x03 message=77 verdict=0x0302"),
    (&[4, 1, 2, 3, 4, 5, 6], "0x04 name_hash=010203040506"),
    (&[5, 1, 2, 3, 4, 5, 6], "0x05 name_hash=010203040506"),
    (
        &[6, 0, 5, 0xff, 0xff, 0x01, 0x00, 24, 0x41],
        "0x06 route_to=0x0005 route_target=0xffff route_seqno=256 route_cost=24 route_ttl=4 route_hops=1",
    ),
    (
        &[7, 0, 5, 0, 6, 0x01, 0x00, 24, 3],
        "0x07 route_to=0x0005 route_from=0x0006 route_seqno=256 route_cost=24 reply_hops=3",
    ),
    (&[8, 0, 5, 0x01, 0x00], "0x08 route_to=0x0005 route_seqno=256"),
    (&[9, 0, 5, 0, 1, 0, 0b101], "0x09 hop_src=0x0005 hop_seq=256 hop_before=0x05"),
    (&[10, 0xaf, 0x03, 0, 0, 0, 5], "0x0a transfer=700 nack_base=3 nack_behind=0x00000005"),
    (&[11, 0, 1, 0, 1], "0x0b hop_seq=256 why=1"),
    (&[12, 1, 0], "0x0c probe=256"),
    (&[13, 1, 0], "0x0d probe=256"),
    (&[14, 7], "0x0e probe=7"),
    (&[15, 7, 2, 0, 5, 204], "0x0f probe=7 trace_hop=2 trace_keeps=0 trace_next=0x0005 trace_link=204"),
    (&[15, 7, 0x82, 0, 0, 0], "0x0f probe=7 trace_hop=2 trace_keeps=1 trace_next=0x0000 trace_link=0"),
    (&[16, 0, 5, 0, 0, 0, 77, 0, 3], "0x10 message=77 tally_of=0x0005 tally=3"),
    (&[1, 9], "0x01 malformed=1"),
    (&[2, 0xaf, 0x03, 0, 0, 0, 0, 0, 5], "0x02 malformed=1"),
    (&[4, 1, 2, 3, 4, 5, 6, 7, 8], "0x04 malformed=1"),
    (&[6], "0x06 malformed=1"),
    (&[8, 0x80, 5, 0x01, 0x00], "0x08 route_to=0x8005 route_seqno=256 malformed=1"),
    (&[11, 0, 1, 0, 4], "0x0b hop_seq=256 why=4 malformed=1"),
    (&[17, 0], "0x11 malformed=1"),
];

#[test]
fn every_control_message_is_told_apart() {
    if !has_tshark() {
        return;
    }
    let next = Some(Address::new(0x0203));
    let frames: Vec<_> = CONTROL.map(|(body, _)| Frame { next, ..frame(Kind::Control, body) }).into();
    let names = [
        "next",
        "long_mic",
        "opcode",
        "message",
        "hello_count",
        "hello_long",
        "hello_relays",
        "hello_backbone",
        "hello_pace",
        "neighbour",
        "delivery",
        "transfer",
        "ack_base",
        "ack_behind",
        "verdict",
        "name_hash",
        "route_to",
        "route_from",
        "route_target",
        "route_seqno",
        "route_cost",
        "route_ttl",
        "route_hops",
        "reply_hops",
        "hop_src",
        "hop_seq",
        "hop_before",
        "nack_base",
        "nack_behind",
        "why",
        "probe",
        "trace_hop",
        "trace_keeps",
        "trace_next",
        "trace_link",
        "tally_of",
        "tally",
        "malformed",
    ];
    let expected: Vec<_> =
        CONTROL.iter().map(|(_, shown)| format!("next=0x0203 long_mic=1 opcode={shown}")).collect();
    assert_eq!(shown("control.pcapng", &frames, &names), expected);
}
