//! Known answers for the ciphers: NIST CAVP, RFC 3610, Bluetooth Mesh sample data, and this project's own keys.
//!
//! Owns the reading of the vector files in `tests/vectors`. Lives inside the crate because what it holds against
//! the vectors is private: the very functions that seal and open frames.

use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use ccm::TagSize;
use ccm::aead::array::ArraySize;
use ccm::consts::{U6, U10, U12, U14, U16};

use super::*;

const VTT: &str = include_str!("../tests/vectors/VTT128.rsp");
const VPT: &str = include_str!("../tests/vectors/VPT128.rsp");
const DVPT: &str = include_str!("../tests/vectors/DVPT128.rsp");
const RFC_3610: &str = include_str!("../tests/vectors/rfc3610.rsp");

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "whole bytes: {text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// One case of a vector file.
struct Case {
    /// File and number, for the message when it fails.
    name: String,
    key: Aes128Enc,
    nonce: Vec<u8>,
    aad: Vec<u8>,
    /// Nothing where the case must be refused.
    payload: Option<Vec<u8>>,
    /// Ciphertext and tag.
    sealed: Vec<u8>,
    tag_len: usize,
}

/// The cases with 13-byte nonces. A line `Name = value` holds for all cases after it until it is given again, as
/// does each pair in a line in brackets; a blank line after `CT` ends a case.
fn cases(file: &'static str, text: &'static str) -> Vec<Case> {
    let mut fields = BTreeMap::<&str, String>::new();
    let mut cases = Vec::new();
    for line in text.lines().chain([""]) {
        let line = line.trim();
        if line.is_empty() {
            if let Some(sealed) = fields.remove("CT") {
                let number = |name: &str| fields[name].parse::<usize>().unwrap();
                let bytes = |name: &str, len: &str| {
                    let mut bytes = hex(&fields[name]);
                    // "00" with a length of zero stands for nothing.
                    bytes.truncate(number(len));
                    bytes
                };
                let refused = fields.get("Result").is_some_and(|result| result == "Fail");
                let case = Case {
                    name: std::format!("{file}, count {}", fields["Count"]),
                    key: Aes128Enc::new_from_slice(&hex(&fields["Key"])).unwrap(),
                    nonce: hex(&fields["Nonce"]),
                    aad: bytes("Adata", "Alen"),
                    payload: (!refused).then(|| bytes("Payload", "Plen")),
                    sealed: hex(&sealed),
                    tag_len: number("Tlen"),
                };
                assert_eq!(case.sealed.len(), number("Plen") + case.tag_len, "{}", case.name);
                if number("Nlen") == NONCE_LEN {
                    cases.push(case);
                }
            }
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        for pair in line.trim_matches(['[', ']']).split(", ") {
            let (name, value) = pair.split_once(" = ").expect("Name = value");
            fields.insert(name, value.into());
        }
    }
    cases
}

/// Holds the construction that seals frames, with the tag length `T`, against one case, both ways.
fn check_with<T: TagSize + ArraySize>(case: &Case) {
    let ccm = Ccm::<&Aes128Enc, T, U13>::from(&case.key);
    let nonce = Nonce::<U13>::try_from(&case.nonce[..]).unwrap();
    let (text, tag) = case.sealed.split_at(case.sealed.len() - case.tag_len);
    let tag = Tag::<T>::try_from(tag).unwrap();

    let mut opened = text.to_vec();
    let verifies = ccm.decrypt_inout_detached(&nonce, &case.aad, (&mut opened[..]).into(), &tag).is_ok();
    assert_eq!(verifies, case.payload.is_some(), "{}", case.name);

    if let Some(payload) = &case.payload {
        assert_eq!(&opened, payload, "{}", case.name);
        let mut sealed = payload.clone();
        let made = ccm.encrypt_inout_detached(&nonce, &case.aad, (&mut sealed[..]).into()).unwrap();
        assert_eq!((&sealed[..], made), (text, tag), "{}", case.name);
    }
}

fn check(case: &Case) {
    match case.tag_len {
        4 => check_with::<U4>(case),
        6 => check_with::<U6>(case),
        8 => check_with::<U8>(case),
        10 => check_with::<U10>(case),
        12 => check_with::<U12>(case),
        14 => check_with::<U14>(case),
        16 => check_with::<U16>(case),
        other => panic!("CCM has no tag of {other} bytes: {}", case.name),
    }
}

/// The same through the functions that frames go through: no AAD, a tag of 4 or 8 bytes.
fn check_as_a_frame(key: &Aes128Enc, nonce: &[u8], payload: Option<&[u8]>, sealed: &[u8], mic: Mic) {
    let keys = EpochKeys { epoch: 0, nid: 0, encryption: key.clone(), privacy: key.clone() };
    let nonce: &[u8; NONCE_LEN] = nonce.try_into().unwrap();
    let mut buffer = sealed.to_vec();
    assert_eq!(keys.open(nonce, &mut buffer, mic), payload.is_some());

    let Some(payload) = payload else { return };
    assert_eq!(&buffer[..payload.len()], payload);
    buffer[payload.len()..].fill(0xee);
    keys.seal(nonce, &mut buffer, mic);
    assert_eq!(buffer, sealed);

    for bit in 0..sealed.len() * 8 {
        let mut buffer = sealed.to_vec();
        buffer[bit / 8] ^= 1 << (bit % 8);
        assert!(!keys.open(nonce, &mut buffer, mic), "bit {bit} flipped, and it verified");
    }
}

#[test]
fn nist_tags_of_every_length() {
    let cases = cases("VTT128", VTT);
    assert_eq!(cases.len(), 70, "7 tag lengths of 10 cases");
    cases.iter().for_each(check);
}

#[test]
fn nist_payloads_of_every_length() {
    let cases = cases("VPT128", VPT);
    assert_eq!(cases.len(), 250, "25 payload lengths of 10 cases");
    cases.iter().for_each(check);
}

#[test]
fn nist_decryption_refuses_what_it_must() {
    let cases = cases("DVPT128", DVPT);
    let refused = cases.iter().filter(|case| case.payload.is_none()).count();
    assert_eq!((cases.len(), refused), (120, 80), "8 of 16 groups have 13-byte nonces");
    cases.iter().for_each(check);
}

#[test]
fn nist_cases_that_look_like_a_frame_pass_through_seal_and_open() {
    let cases = cases("DVPT128", DVPT);
    let like_frames = || cases.iter().filter(|case| case.aad.is_empty() && case.tag_len == 4);
    assert_eq!(like_frames().count(), 30, "payloads of 0 and 24 bytes");
    for case in like_frames() {
        let payload = case.payload.as_deref();
        check_as_a_frame(&case.key, &case.nonce, payload, &case.sealed, Mic::Short);
    }
}

#[test]
fn rfc_3610_packets() {
    let cases = cases("RFC 3610", RFC_3610);
    assert_eq!(cases.len(), 24);
    cases.iter().for_each(check);
}

/// Bluetooth Mesh, Mesh Profile 1.0 section 8.3: network PDUs. The nearest public relatives of our frames: the
/// same nonce length, MIC lengths and mask, and no AAD either.
#[test]
fn bluetooth_mesh_network_pdus() {
    /// EncryptionKey and PrivacyKey of section 8.2.2.
    const MASTER: [&str; 2] = ["0953fa93e7caac9638f58820220a398e", "8b84eedec100067d670971dd2aa700cf"];
    /// Those of the friendship, section 8.2.3.
    const FRIENDS: [&str; 2] = ["be635105434859f484fc798e043ce40e", "5d396d4b54d3cbafe943e051fe9a4eb8"];
    // Number, keys, DST, transport PDU, the whole network PDU: IVI and NID, masked CTL to SRC, ciphertext, MIC.
    let pdus = [
        (
            "1",
            MASTER,
            "fffd",
            "034b50057e400000010000",
            "68eca487516765b5e5bfdacbaf6cb7fb6bff871f035444ce83a670df",
        ),
        ("2", MASTER, "1201", "04320308ba072f", "68d4c826296d7979d7dbc0c9b4d43eebec129d20a620d01e"),
        ("3", MASTER, "1201", "04fa0205a6000a", "68da062bc96df253273086b8c5ee00bdd9cfcc62a2ddf572"),
        ("4", FRIENDS, "2345", "0100", "5e84eba092380fb0e5d0ad970d579a4e88051c"),
        ("5", FRIENDS, "1201", "02001234567800", "5eafd6f53c43db5c39da1792b1fee9ec74b786c56d3a9dee"),
        (
            "6, first",
            MASTER,
            "1201",
            "8026ac01ee9dddfd2169326d23f3afdf",
            "68cab5c5348a230afba8c63d4e686364979deaf4fd40961145939cda0e",
        ),
        (
            "6, second",
            MASTER,
            "1201",
            "8026ac21cfdc18c52fdef772e0e17308",
            "681615b5dd4a846cae0c032bf0746f44f1b8cc8ce5edc57e55beed49c0",
        ),
        ("7", MASTER, "0003", "00a6ac00000002", "68e476b5579c980d0d730f94d7f3509df987bb417eb7c05f"),
        (
            "8",
            MASTER,
            "1201",
            "8026ac01ee9dddfd2169326d23f3afdf",
            "684daa6267c2cf0e2f91add6f06e66006844cec97f973105ae2534f958",
        ),
        ("9", MASTER, "0003", "00a6ac00000003", "68aec467ed4901d85d806bbed248614f938067b0d983bb7b"),
        ("10", FRIENDS, "2345", "0101", "5e7b786568759f7777ed355afaf66d899c1e3d"),
        (
            "11",
            FRIENDS,
            "1201",
            "c026ac01ee9dddfd2169326d23f3afdf",
            "5e6ebfc021edf5d5e748a20ecfd98ddfd32de80befb400213d113813b5",
        ),
    ];
    const IV_INDEX: u32 = 0x1234_5678;
    for (number, [encryption, privacy], dst, transport, pdu) in pdus {
        let pdu = hex(pdu);
        let keys = EpochKeys {
            epoch: IV_INDEX,
            nid: 0,
            encryption: Aes128Enc::new_from_slice(&hex(encryption)).unwrap(),
            privacy: Aes128Enc::new_from_slice(&hex(privacy)).unwrap(),
        };
        // Their mask is AES of 00×5 | IV index | 7 bytes, and so is ours, of the epoch.
        let (head, sealed) = pdu.split_at(7);
        let mask = keys.mask(sealed[..7].try_into().unwrap());
        let clear: [u8; 6] = core::array::from_fn(|i| head[1 + i] ^ mask[i]);
        let mic = if clear[0] & 0x80 != 0 { Mic::Long } else { Mic::Short };
        // Their nonce: type 0 | CTL and TTL | SEQ | SRC | 00 00 | IV index.
        let mut nonce = [0; NONCE_LEN];
        nonce[1..7].copy_from_slice(&clear);
        nonce[9..].copy_from_slice(&IV_INDEX.to_be_bytes());
        let plain = [hex(dst), hex(transport)].concat();
        std::println!("message {number}");
        check_as_a_frame(&keys.encryption, &nonce, Some(&plain), sealed, mic);
    }
}

/// The facts that the wire format prints beside its golden frame.
#[test]
fn the_keys_of_an_epoch_are_the_ones_the_wire_format_prints() {
    let keys = EpochKeys::derive(&NetKey::new(core::array::from_fn(|i| i as u8)), 7);
    assert_eq!(keys.nid, 0x1b);
    assert_eq!(keys.nonce(1, Address::new(0x0102))[..], hex("10000001010200000000000700"));
    for (cipher, key) in [
        (&keys.encryption, "e5f853afce56f0871f1741df0627fc59"),
        (&keys.privacy, "077f7fdbdcd48403771430ef099c8abe"),
    ] {
        // A cipher does not give its key back; what it makes of a block shows whether it is the same.
        let expected = Aes128Enc::new_from_slice(&hex(key)).unwrap();
        let [mut made, mut wanted] = [Array([0x5a; 16]); 2];
        cipher.encrypt_block(&mut made);
        expected.encrypt_block(&mut wanted);
        assert_eq!(made, wanted, "{key}");
    }
}

/// Pinned: computed once from the wire format's words with another implementation of HKDF.
#[test]
fn the_ratchet_steps_as_written() {
    let key = NetKey::new(core::array::from_fn(|i| i as u8));
    let [eight, nine] = [key.ratchet(7), key.ratchet(7).ratchet(8)];
    assert_eq!(eight.0[..], hex("d9920ab36e8640e2830e448447736a67"));
    assert_eq!(nine.0[..], hex("0a7b568bd079be31fbdf72ac6cb90efb"));
    assert_ne!(key.ratchet(8).0, eight.0, "the epoch is part of the step");
    assert_eq!(EpochKeys::derive(&eight, 8).first_byte(), 0x3d);
}
