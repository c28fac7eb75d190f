//! A device that does nothing but be a node: what the linker keeps of it is what the core weighs.
//!
//! Never run. The bytes it handles come from `black_box`, so that nothing can be worked out at compile time.
#![no_std]
#![no_main]

use core::hint::black_box;

use mesh_protocol::{
    Address, Answer, Config, Delivery, Duration, EpochKeys, Event, Host, Instant, Keyring, LEGACY_FRAME,
    LinkId, LinkInfo, MessageId, NetKey, Priority, SmallNode, Verdict,
};

struct Board;

impl Host for Board {
    fn transmit(&mut self, link: LinkId, frame: &[u8]) {
        black_box((link, frame));
    }

    fn event(&mut self, event: Event<'_>) -> Answer {
        match black_box(event) {
            Event::ReserveSeq { .. } => Answer::Reserved,
            Event::Received(_) => Answer::Verdict(black_box(Verdict::Delivered)),
            _ => Answer::None,
        }
    }

    fn load(&mut self, id: MessageId, offset: u32, out: &mut [u8]) -> bool {
        black_box((id, offset, out));
        true
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let key = NetKey::new(black_box([0; 16]));
    let mut node = SmallNode::new(
        Instant::ZERO,
        Config {
            address: Address::new(black_box(1)),
            keys: Keyring::new(EpochKeys::derive(&key, black_box(1))),
            seed: black_box(1),
            ttl: 7,
            relay: black_box(true),
            seq_start: black_box(0),
            seq_block: 1024,
        },
    );
    let info = LinkInfo::advertising(LEGACY_FRAME, Duration::from_millis(20));
    black_box(node.handle_link_up(Instant::ZERO, LinkId(0), info));
    let delivery = Delivery {
        id: MessageId(black_box(1)),
        destination: Address::new(black_box(2)),
        priority: Priority::High,
        deadline: Instant::from_micros(black_box(1_000_000)),
    };
    let message = black_box([0; 100]);
    loop {
        let now = Instant::from_micros(black_box(0));
        let mut frame = black_box([0; LEGACY_FRAME]);
        let _ = black_box(node.handle_frame(now, LinkId(0), &mut frame, black_box(None)));
        let _ = black_box(node.send(now, delivery, message.len(), &message));
        black_box(node.drive(now, &mut Board));
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
