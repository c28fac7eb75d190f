//! The handshake of a join, held against another implementation of Noise, and against those who have not the secret.
#![cfg(feature = "node")]

use mesh_protocol::{
    HANDSHAKE_OVERHEAD, Handshake, KeyError, NodeKey, NodeSecret, NoiseError, Rng, Side, Transport,
};

const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_SHA256";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn counting(from: u8) -> [u8; 32] {
    core::array::from_fn(|i| from + i as u8)
}

fn bytes<const N: usize>(rng: &mut Rng) -> [u8; N] {
    core::array::from_fn(|_| rng.next_u64() as u8)
}

fn text(rng: &mut Rng, most: u64) -> Vec<u8> {
    (0..rng.below(most + 1)).map(|_| rng.next_u64() as u8).collect()
}

fn write(handshake: &mut Handshake, payload: &[u8]) -> Vec<u8> {
    let mut out = [0; 1_000];
    let len = handshake.write(payload, &mut out).unwrap();
    out[..len].to_vec()
}

/// The published case of this very pattern, from the tests of snow 0.10 (`general.rs`, `test_XXpsk0_expected_value`).
#[test]
fn the_published_case() {
    let secrets = [counting(0), counting(1)].map(NodeSecret::new);
    let mut a = Handshake::new(Side::Initiator, &counting(4), &secrets[0], counting(32), &[1, 2, 3]);
    let mut b = Handshake::new(Side::Responder, &counting(4), &secrets[1], counting(33), &[1, 2, 3]);
    let mut first = write(&mut a, b"abc");
    assert_eq!((first.len(), b.read(&mut first).unwrap()), (51, &b"abc"[..]));
    let mut second = write(&mut b, b"defg");
    assert_eq!((second.len(), a.read(&mut second).unwrap()), (100, &b"defg"[..]));
    let third = write(&mut a, b"");
    let published = "072b7bbd237ac602c4aa938db36998f31ca4750752d1758d59850c627d0bdbc5\
                     1205592c3baa101b4a31f062695b7c1dbee99d5123fbd2ad03052078c570e028";
    assert_eq!(third, hex(published));
}

/// Ours on one side and snow on the other, in both places, with random keys and payloads; then five messages each way.
#[test]
fn it_shakes_hands_with_another_implementation() {
    let seed = 0x15_0001;
    println!("seed {seed:#x}");
    let mut rng = Rng::new(seed);
    for round in 0..100 {
        let (psk, prologue) = (bytes(&mut rng), text(&mut rng, 40));
        let (our_static, our_ephemeral) = (bytes(&mut rng), bytes(&mut rng));
        let (their_static, their_ephemeral) = (bytes::<32>(&mut rng), bytes::<32>(&mut rng));
        let secret = NodeSecret::new(our_static);
        let side = if round % 2 == 0 { Side::Initiator } else { Side::Responder };
        let mut ours = Handshake::new(side, &psk, &secret, our_ephemeral, &prologue);
        let builder = snow::Builder::new(PATTERN.parse().unwrap())
            .local_private_key(&their_static)
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&their_ephemeral)
            .prologue(&prologue)
            .unwrap()
            .psk(0, &psk)
            .unwrap();
        let theirs = match side {
            Side::Initiator => builder.build_responder(),
            Side::Responder => builder.build_initiator(),
        };
        let mut theirs = theirs.unwrap();
        let mut buffer = [0; 1_000];
        for (message, overhead) in HANDSHAKE_OVERHEAD.into_iter().enumerate() {
            let payload = text(&mut rng, 300);
            if (message % 2 == 0) == (side == Side::Initiator) {
                let written = write(&mut ours, &payload);
                assert_eq!(written.len(), overhead + payload.len());
                let len = theirs.read_message(&written, &mut buffer).unwrap();
                assert_eq!(buffer[..len], payload);
            } else {
                let len = theirs.write_message(&payload, &mut buffer).unwrap();
                assert_eq!(ours.read(&mut buffer[..len]).unwrap(), payload);
            }
        }
        assert_eq!(ours.remote(), Some(NodeSecret::new(their_static).public()), "round {round}");
        assert_eq!(theirs.get_remote_static(), Some(&secret.public().0[..]), "round {round}");
        let (mut ours, mut theirs) = (ours.into_transport().unwrap(), theirs.into_transport_mode().unwrap());
        for _ in 0..5 {
            let payload = text(&mut rng, 300);
            let len = ours.write(&payload, &mut buffer).unwrap();
            let sealed = buffer[..len].to_vec();
            let len = theirs.read_message(&sealed, &mut buffer).unwrap();
            assert_eq!(buffer[..len], payload);
            let len = theirs.write_message(&payload, &mut buffer).unwrap();
            assert_eq!(ours.read(&mut buffer[..len]).unwrap(), payload);
        }
    }
}

fn pair() -> [Handshake; 2] {
    let secrets = [NodeSecret::new([1; 32]), NodeSecret::new([2; 32])];
    [
        Handshake::new(Side::Initiator, &[9; 32], &secrets[0], [3; 32], b"test"),
        Handshake::new(Side::Responder, &[9; 32], &secrets[1], [4; 32], b"test"),
    ]
}

fn transports([a, b]: [Handshake; 2]) -> [Transport; 2] {
    [a, b].map(|side| side.into_transport().unwrap())
}

/// Each message with each of its bits turned, cut at each length, and longer by a byte: refused, and the true one is then taken
/// as if nothing had been.
#[test]
fn a_forged_message_is_refused_and_does_not_end_the_handshake() {
    let [mut a, mut b] = pair();
    for message in 0..3 {
        let (writer, reader) = if message == 1 { (&mut b, &mut a) } else { (&mut a, &mut b) };
        let good = write(writer, b"payload");
        for bit in 0..good.len() * 8 {
            let mut bent = good.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let error = reader.read(&mut bent).unwrap_err();
            let in_the_clear = message < 2 && bit / 8 < 32;
            let refused = error == NoiseError::Decrypt
                || (in_the_clear && error == NoiseError::Key(KeyError::NotCanonical));
            assert!(refused, "message {message}, bit {bit}: {error:?}");
        }
        for cut in 0..good.len() {
            let error = reader.read(&mut good[..cut].to_vec()).unwrap_err();
            assert!(matches!(error, NoiseError::Length | NoiseError::Decrypt), "cut at {cut}: {error:?}");
        }
        assert_eq!(reader.read(&mut [&good[..], &[0]].concat()), Err(NoiseError::Decrypt));
        assert_eq!(reader.read(&mut good.clone()).unwrap(), b"payload");
    }
    let [mut a, mut b] = transports([a, b]);
    let mut sealed = [0; 30];
    let len = a.write(b"behind it", &mut sealed).unwrap();
    for bit in 0..len * 8 {
        let mut bent = sealed;
        bent[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(b.read(&mut bent[..len]), Err(NoiseError::Decrypt), "bit {bit}");
    }
    let again = sealed;
    assert_eq!(b.read(&mut sealed[..len]).unwrap(), b"behind it");
    assert_eq!(b.read(&mut { again }[..len]), Err(NoiseError::Decrypt), "no message twice");
    assert_eq!(b.read(&mut [0; 15]), Err(NoiseError::Length));
}

#[test]
fn another_secret_or_prologue_opens_nothing() {
    let node = NodeSecret::new([2; 32]);
    for (psk, prologue) in [([8; 32], &b"test"[..]), ([9; 32], b"tests")] {
        let [mut a, _] = pair();
        let mut b = Handshake::new(Side::Responder, &psk, &node, [4; 32], prologue);
        assert_eq!(b.read(&mut write(&mut a, b"")), Err(NoiseError::Decrypt));
        assert_eq!(b.remote(), None);
    }
}

#[test]
fn keys_that_no_other_node_can_have_are_refused_by_name() {
    let own = NoiseError::Key(KeyError::OwnKey);
    // Reflected: the ephemeral key of who reads, or its static one.
    for key in [NodeSecret::new([4; 32]).public(), NodeSecret::new([2; 32]).public()] {
        let [_, mut b] = pair();
        assert_eq!(b.read(&mut [&key.0[..], &[0; 16]].concat()), Err(own));
    }
    // A whole conversation with oneself ends at the static key.
    let node = NodeSecret::new([1; 32]);
    let mut a = Handshake::new(Side::Initiator, &[9; 32], &node, [3; 32], b"test");
    let mut b = Handshake::new(Side::Responder, &[9; 32], &node, [4; 32], b"test");
    b.read(&mut write(&mut a, b"")).unwrap();
    assert_eq!(a.read(&mut write(&mut b, b"")), Err(own));

    // A responder that has the secret, and shows points of low order: the first agreement refuses them.
    let mut low = [0; 96];
    low[0] = 1;
    let [mut a, _] = pair();
    write(&mut a, b"");
    assert_eq!(a.read(&mut low), Err(NoiseError::Key(KeyError::LowOrder)));
    assert_eq!(a.read(&mut [0xff; 96]), Err(NoiseError::Key(KeyError::NotCanonical)));
    // And an initiator's stops the answer.
    let psk = [9; 32];
    for (key, error) in
        [(NodeKey([0; 32]), KeyError::LowOrder), (NodeKey([0xff; 32]), KeyError::NotCanonical)]
    {
        let mut b = Handshake::new(Side::Responder, &psk, &node, [4; 32], b"test");
        let mut forged = first_message(&psk, &key);
        b.read(&mut forged).unwrap();
        assert_eq!(b.write(b"", &mut [0; 96]), Err(NoiseError::Key(error)), "{key}");
    }
}

/// What somebody with the secret would send who shows `key` without having its secret half.
fn first_message(psk: &[u8; 32], key: &NodeKey) -> Vec<u8> {
    use chacha20poly1305::aead::{AeadInOut, KeyInit};
    use sha2::{Digest, Sha256};
    let derive = |chaining: &[u8; 32], input: &[u8]| {
        let mut okm = [[0; 32]; 3];
        let hkdf = hkdf::Hkdf::<Sha256>::new(Some(chaining), input);
        hkdf.expand(&[], okm.as_flattened_mut()).unwrap();
        okm
    };
    let mix =
        |hash: [u8; 32], bytes: &[u8]| -> [u8; 32] { Sha256::digest([&hash[..], bytes].concat()).into() };
    let chaining: [u8; 32] = Sha256::digest(PATTERN).into();
    let hash = mix(chaining, b"test");
    let [chaining, hashed, _] = derive(&chaining, psk);
    let hash = mix(mix(hash, &hashed), &key.0);
    let [_, cipher, _] = derive(&chaining, &key.0);
    let tag = chacha20poly1305::ChaCha20Poly1305::new(&cipher.into())
        .encrypt_inout_detached(&[0; 12].into(), &hash, (&mut [][..]).into())
        .unwrap();
    [&key.0[..], &tag].concat()
}

#[test]
fn who_is_not_next_may_not_write_and_nothing_is_printed() {
    let [mut a, mut b] = pair();
    let mut out = [0; 200];
    assert_eq!(b.write(b"", &mut out), Err(NoiseError::OutOfOrder));
    assert_eq!(a.read(&mut out), Err(NoiseError::OutOfOrder));
    assert_eq!(a.write(b"", &mut out[..47]), Err(NoiseError::Length));
    let mut first = write(&mut a, b"");
    assert_eq!(a.write(b"", &mut out), Err(NoiseError::OutOfOrder), "once");
    assert!(matches!(a.clone().into_transport(), Err(NoiseError::OutOfOrder)));
    b.read(&mut first).unwrap();
    assert_eq!(format!("{a:?}"), "Handshake { side: Initiator, messages: 1, .. }");
    a.read(&mut write(&mut b, b"")).unwrap();
    b.read(&mut write(&mut a, b"")).unwrap();
    assert_eq!(b.read(&mut out), Err(NoiseError::OutOfOrder), "all is said");
    let [a, _] = transports([a, b]);
    assert_eq!(format!("{a:?}"), "Transport(..)");
}
