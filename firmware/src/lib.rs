//! What the firmware of a mesh node decides, apart from the mesh itself.
//!
//! `no_std`, no alloc, no clock, no unsafe: [`mesh_protocol::Node`] does the mesh, a board's HAL does flash, radio and time, and this is what
//! stands between. The simulated devices of `firmware-sim` run the same code over flash that loses its power.
//!
//! | module | decides |
//! |---|---|
//! | [`flash`] | nothing: what a board's flash must be able to do |
//! | [`flash_log`] | what is kept over a power cut, and what is left of a write that one broke |
//! | [`start`] | with which SEQ, marks and routes a node begins |
//! | [`posting`] | which number an own message gets, and when it may go |
//! | [`answers`] | whom a message is for, and what is answered |
//! | [`intake`] | when a message counts as delivered, and its receipt goes |
//! | [`tables`] | nothing: what waits and what is known, in tables that a board gives |
//!
//! # The contract
//! 1. A promise is kept behind the write: no SEQ and no message number is used, no message delivered and no receipt sent, before
//!    [`flash_log::FlashLog::write`] has returned for what it needs.
//! 2. A write is all or nothing, wherever power is cut. What flash has lost is noticed, and the node does not start.
//! 3. Nothing allocates, panics on bytes from the air or from flash, or takes longer than a pass over its tables.
//! 4. Time, randomness and names come from whoever calls. Nothing here waits: whoever runs it sleeps until the node's
//!    [`poll_timeout`](mesh_protocol::Node::poll_timeout).
//!
//! # Example
//! A board: flash in RAM here, a node, and a host between the two. A message of another node comes in, is kept, and answered.
//! ```
//! use heapless::{Deque, Vec};
//! use mesh_firmware::answers::{ANSWER_WITHIN, ANSWERS, Decision, decide, is_wanted, original};
//! use mesh_firmware::flash::Flash;
//! use mesh_firmware::intake::{Arrival, Intake, Receipt};
//! use mesh_firmware::flash_log::{Change, FlashLog, MarkTable};
//! use mesh_firmware::posting::{Posting, Postings, Waiting};
//! use mesh_firmware::start::{SEQ_BLOCK, Setup, TTL};
//! use mesh_firmware::tables::RecentMessages;
//! use mesh_protocol::*;
//!
//! /// A real one calls its driver's `NorFlash`.
//! struct Ram {
//!     bytes: [u8; 8192],
//!     /// So many writes fail.
//!     failures: u8,
//! }
//!
//! #[derive(Debug)]
//! struct WriteFailed;
//!
//! impl Flash for Ram {
//!     type Error = WriteFailed;
//!     const WORD: usize = 4;
//!     const PAGE: usize = 4096;
//!     fn capacity(&self) -> usize {
//!         self.bytes.len()
//!     }
//!     fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
//!         bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
//!         Ok(())
//!     }
//!     fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
//!         if let Some(left) = self.failures.checked_sub(1) {
//!             self.failures = left;
//!             return Err(WriteFailed);
//!         }
//!         self.bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
//!         Ok(())
//!     }
//!     fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
//!         self.bytes[from as usize..to as usize].fill(0xff);
//!         Ok(())
//!     }
//! }
//!
//! const NAMES: [&str; 1] = ["lamp"];
//! type Bytes = Vec<u8, 96>;
//! /// A write that failed is tried again after this.
//! const AGAIN: Duration = Duration::from_millis(100);
//!
//! struct Board {
//!     flash: Ram,
//!     log: FlashLog<MarkTable<128>>,
//!     postings: Postings<Deque<Waiting<Bytes>, ANSWERS>>,
//!     intake: Intake<Bytes, RecentMessages<64>, Deque<Receipt, 8>>,
//!     /// A reservation of SEQs that is still to be written: the node asks once.
//!     seqs: Option<u32>,
//!     wanted: Option<(Address, NameHash)>,
//!     /// What the clock shows, once around its loop.
//!     now: Instant,
//!     lamp: bool,
//!     air: Vec<Vec<u8, MAX_FRAME>, 8>,
//! }
//!
//! impl Host for Board {
//!     fn transmit(&mut self, _link: LinkId, frame: &[u8]) {
//!         let _ = self.air.push(frame.iter().copied().collect());
//!     }
//!     fn event(&mut self, event: Event<'_>) -> Answer {
//!         match event {
//!             // Written first, used then.
//!             Event::ReserveSeq { up_to } => {
//!                 self.seqs = Some(up_to);
//!                 self.reserve_seqs().map_or(Answer::None, |_| Answer::Reserved)
//!             }
//!             Event::NameWanted { source, name } if is_wanted(NAMES.iter(), name) => {
//!                 self.wanted = Some((source, name));
//!                 Answer::None
//!             }
//!             Event::Received(received) => {
//!                 // Of a message to many nobody hears a verdict; with one that refuses, the node is not counted.
//!                 self.received(&received).map_or(Answer::None, Answer::Verdict)
//!             }
//!             _ => Answer::None,
//!         }
//!     }
//!     fn load(&mut self, _id: MessageId, _offset: u32, _out: &mut [u8]) -> bool {
//!         false // every message here fits one block
//!     }
//! }
//!
//! impl Board {
//!     /// Writes the reservation of SEQs, if there is one to write: up to where they may be used now.
//!     fn reserve_seqs(&mut self) -> Option<u32> {
//!         let up_to = self.seqs?;
//!         self.log.write(&mut self.flash, &[Change::Seq { epoch: 1, up_to }]).ok()?;
//!         self.seqs.take()
//!     }
//!     fn received(&mut self, received: &Received<'_>) -> Option<Verdict> {
//!         if received.part.is_some() {
//!             return Some(Verdict::Rejected(Reason::TooLarge)); // no room to put the parts together
//!         }
//!         let (name, envelope) = match original(received) {
//!             Ok(opened) => opened,
//!             Err(reason) => return Some(Verdict::Rejected(reason)),
//!         };
//!         match self.intake.arrival(name) {
//!             Arrival::New => {}
//!             Arrival::Waits => return None,
//!             Arrival::Verdict(verdict) => return Some(verdict),
//!         }
//!         let answer = match decide(name, envelope, NAMES.iter(), self.postings.waiting()) {
//!             Decision::Refuse(reason) => return Some(Verdict::Rejected(reason)),
//!             Decision::Deliver(_) => None,
//!             Decision::Answer { answer, .. } => {
//!                 let mut envelope = Bytes::from_array([0; 96]);
//!                 let Ok(len) = answer.write(&mut envelope) else {
//!                     return Some(Verdict::Rejected(Reason::TooLarge));
//!                 };
//!                 envelope.truncate(len);
//!                 let (to, priority) = (name.0, received.priority);
//!                 let Ok(id) = self.postings.number() else {
//!                     return Some(Verdict::Rejected(Reason::InboxFull));
//!                 };
//!                 Some((id, Posting { to, priority, within: ANSWER_WITHIN, envelope }))
//!             }
//!         };
//!         // The mark first: without it, the same frames would do all that follows once more after a power cut.
//!         if let Some(mark) = received.mark
//!             && self.log.write(&mut self.flash, &[Change::Mark(mark)]).is_err()
//!         {
//!             return Some(Verdict::Rejected(Reason::Storage));
//!         }
//!         match answer {
//!             None => self.lamp = !self.lamp,
//!             Some((id, posting)) => {
//!                 // The queue has room for as many as `decide` lets wait.
//!                 if !self.postings.push(self.now, id, posting) {
//!                     return Some(Verdict::Rejected(Reason::InboxFull));
//!                 }
//!             }
//!         }
//!         self.intake.delivered(name);
//!         Some(Verdict::Delivered)
//!     }
//!     /// Once around the loop of a board.
//!     fn run(&mut self, now: Instant, node: &mut SmallNode) -> Option<Instant> {
//!         self.now = now;
//!         if let Some(up_to) = self.reserve_seqs() {
//!             node.seq_reserved(up_to);
//!         }
//!         if let Some(up_to) = self.postings.reservation()
//!             && self.log.write(&mut self.flash, &[Change::Messages(up_to)]).is_ok()
//!         {
//!             self.postings.asked(up_to);
//!         }
//!         while node.has_room()
//!             && let Some(Waiting { id, deadline, posting }) = self.postings.pop_ready(self.log.kept().messages())
//!         {
//!             let delivery = Delivery { id, destination: posting.to, priority: posting.priority, deadline };
//!             // There was room: one that is refused all the same is refused for ever.
//!             let _ = node.send(now, delivery, posting.envelope.len(), &posting.envelope);
//!         }
//!         let next = node.drive(now, self);
//!         let again = (self.seqs.is_some() || self.postings.reservation().is_some()).then(|| now + AGAIN);
//!         [next, again].into_iter().flatten().min()
//!     }
//! }
//!
//! let keys = EpochKeys::derive(&NetKey::new([7; 16]), 1);
//! let boot = |address: u16, flash: Ram| {
//!     let mut flash = flash;
//!     let log = FlashLog::open(&mut flash, MarkTable::new()).expect("flash that is whole");
//!     let setup = Setup {
//!         address: Address::new(address),
//!         keys: &keys,
//!         ttl: TTL,
//!         relay: true,
//!         seq_block: SEQ_BLOCK,
//!         routes: &[],
//!     };
//!     let mut node = SmallNode::new(Instant::ZERO, setup.config(log.kept(), address.into()));
//!     setup.restore(Instant::ZERO, &mut node, log.kept());
//!     let info = LinkInfo::advertising(LEGACY_FRAME, Duration::from_millis(12));
//!     assert!(node.handle_link_up(Instant::ZERO, LinkId(0), info));
//!     let mut postings = Postings::new(Deque::new());
//!     postings.start(log.kept().messages(), None);
//!     let intake = Intake::new(RecentMessages::new(), RecentMessages::new(), Deque::new());
//!     (node, Board { flash, log, postings, intake, seqs: None, wanted: None, now: Instant::ZERO, lamp: false, air: Vec::new() })
//! };
//! let erased = |failures| Ram { bytes: [0xff; 8192], failures };
//! // The first writes of each fail: of message numbers, and of SEQs. They come again.
//! let (mut lamp, mut lamp_board) = boot(1, erased(2));
//! let (mut switch, mut switch_board) = boot(2, erased(2));
//!
//! let question = Envelope {
//!     kind: MessageType::Query,
//!     from: "",
//!     to: "lamp",
//!     processed: false,
//!     reply_to: None,
//!     text: true,
//!     body: b"on?",
//! };
//! let mut envelope = Bytes::from_array([0; 96]);
//! let len = question.write(&mut envelope).unwrap();
//! envelope.truncate(len);
//! let id = switch_board.postings.number().unwrap();
//! let (to, priority) = (Address::new(1), Priority::High);
//! switch_board.postings.push(Instant::ZERO, id, Posting { to, priority, within: Duration::from_secs(5), envelope });
//!
//! let mut now = Instant::ZERO;
//! let answered = (switch.address(), MessageId(1));
//! while switch_board.intake.arrival((lamp.address(), MessageId(1))) == Arrival::New {
//!     let next = [lamp_board.run(now, &mut lamp), switch_board.run(now, &mut switch)];
//!     for mut frame in core::mem::take(&mut lamp_board.air) {
//!         let _ = switch.handle_frame(now, LinkId(0), &mut frame, None);
//!     }
//!     for mut frame in core::mem::take(&mut switch_board.air) {
//!         let _ = lamp.handle_frame(now, LinkId(0), &mut frame, None);
//!     }
//!     now = next.into_iter().flatten().min().unwrap().max(now) + Duration::from_millis(1);
//! }
//! assert_eq!(lamp_board.intake.arrival(answered), Arrival::Verdict(Verdict::Delivered));
//!
//! // A message that flips the lamp: not while flash does not take the mark, and not if it is the first part of a longer one.
//! let command = Envelope { kind: MessageType::Task, ..question };
//! let mut bytes = [0; 96];
//! let len = command.write(&mut bytes).unwrap();
//! let mark = Some(ReplayMark { src: Address::new(2), epoch: 1, seq: 5_000 });
//! let (source, destination, id) = (Address::new(2), Address::new(1), MessageId(77));
//! let whole =
//!     Received { source, destination, id, priority: Priority::High, hops: 1, part: None, mark, bytes: &bytes[..len] };
//! let part = Received { part: Some(Part { total: 4_000, offset: 0 }), ..whole };
//! lamp_board.flash.failures = 1;
//! let refused = [&part, &whole].map(|received| lamp_board.received(received));
//! assert_eq!(refused, [Reason::TooLarge, Reason::Storage].map(|reason| Some(Verdict::Rejected(reason))));
//! assert!(!lamp_board.lamp);
//! assert_eq!(lamp_board.received(&whole), Some(Verdict::Delivered));
//! assert_eq!(lamp_board.received(&whole), Some(Verdict::Delivered));
//! assert!(lamp_board.lamp, "once, though it came twice");
//!
//! // Power is cut: flash is all that is left, and the node goes on behind what it may have used.
//! let (again, board) = boot(1, lamp_board.flash);
//! assert!(again.next_seq() >= lamp.next_seq());
//! assert!(board.log.kept().marks() == lamp_board.log.kept().marks());
//! ```
#![cfg_attr(not(test), no_std)]

pub mod answers;
pub mod flash;
pub mod flash_log;
pub mod intake;
pub mod posting;
pub mod start;
pub mod tables;
