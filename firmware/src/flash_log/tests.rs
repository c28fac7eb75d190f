use super::*;

const PAGE: usize = 64;
const HALF: usize = 2 * PAGE;

/// NOR flash of two halves that loses its power after so many bytes.
#[derive(Clone, Debug)]
struct Chip {
    bytes: [u8; 2 * HALF],
    left: usize,
    written: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PowerCut;

impl Chip {
    const fn new() -> Self {
        Self { bytes: [ERASED; 2 * HALF], left: usize::MAX, written: 0 }
    }
}

impl Flash for Chip {
    type Error = PowerCut;

    const WORD: usize = 8;
    const PAGE: usize = PAGE;

    fn capacity(&self) -> usize {
        self.bytes.len()
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), PowerCut> {
        assert!(offset.is_multiple_of(4) && bytes.len().is_multiple_of(4));
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), PowerCut> {
        assert!((offset as usize).is_multiple_of(Self::WORD) && bytes.len().is_multiple_of(Self::WORD));
        for (at, byte) in (offset as usize..).zip(bytes) {
            if self.left == 0 {
                return Err(PowerCut);
            }
            assert_eq!(self.bytes[at], ERASED, "a word is written once");
            self.bytes[at] = *byte;
            self.left -= 1;
            self.written += 1;
        }
        Ok(())
    }

    fn erase(&mut self, from: u32, to: u32) -> Result<(), PowerCut> {
        assert!((from as usize).is_multiple_of(PAGE) && (to as usize).is_multiple_of(PAGE));
        if self.left == 0 {
            return Err(PowerCut);
        }
        self.bytes[from as usize..to as usize].fill(ERASED);
        Ok(())
    }
}

type Log = FlashLog<MarkTable<3>>;

fn open(chip: &mut Chip) -> Result<Log, LogError<PowerCut>> {
    Log::open(chip, MarkTable::new())
}

const fn seq(up_to: u32) -> Change {
    Change::Seq { epoch: 1, up_to }
}

const fn mark(source: u16, seq: u32) -> Change {
    Change::Mark(ReplayMark { src: Address::new(source), epoch: 1, seq })
}

/// Changes as they come in the life of a node: records of one, two and three.
fn life() -> impl Iterator<Item = Vec<Change>> {
    (1..).map(|n| match n % 3 {
        0 => vec![seq(64 * n), mark(1, n), mark(2, 2 * n)],
        1 => vec![Change::Messages(n)],
        _ => vec![mark(1, n), mark(3, n)],
    })
}

#[test]
fn what_was_written_is_found_again_after_each_write_through_many_halves() {
    let mut chip = Chip::new();
    let mut log = open(&mut chip).unwrap();
    assert_eq!(log.kept().seq_start(1), 0);
    for changes in life().take(300) {
        log.write(&mut chip, &changes).unwrap();
        let found = open(&mut chip).unwrap();
        assert_eq!(found.kept(), log.kept());
        assert_eq!((found.generation, found.half, found.end), (log.generation, log.half, log.end));
    }
    assert!(log.generation > 50, "{}", log.generation);
    assert_eq!((log.kept().seq_start(1), log.kept().messages()), (64 * 300, 298));
}

#[test]
fn a_write_that_a_cut_breaks_at_any_byte_leaves_all_of_it_or_nothing_and_all_before() {
    let mut cuts = 0;
    let mut chip = Chip::new();
    let mut log = open(&mut chip).unwrap();
    // The very first one has no older half behind it: see the next test.
    log.write(&mut chip, &[]).unwrap();
    for changes in life().take(60) {
        let before = log.kept().clone();
        let mut whole = chip.clone();
        log.write(&mut whole, &changes).unwrap();
        for left in 0..whole.written - chip.written {
            let mut torn = Chip { left, ..chip.clone() };
            let mut cut = open(&mut torn.clone()).unwrap();
            assert_eq!(cut.write(&mut torn, &changes), Err(LogError::Flash(PowerCut)));
            assert_eq!(*cut.kept(), before, "nobody is told what may not be there");
            torn.left = usize::MAX;
            // A driver that failed without a power cut: the same log goes on.
            let mut same = torn.clone();
            cut.write(&mut same, &changes).unwrap();
            assert_eq!(open(&mut same).unwrap().kept(), log.kept());
            // A power cut: it is opened anew, and can be written to.
            let mut found = open(&mut torn).unwrap();
            assert!(*found.kept() == before || found.kept() == log.kept(), "byte {left} of {changes:?}");
            found.write(&mut torn, &changes).unwrap();
            assert_eq!(found.kept(), log.kept());
            assert_eq!(open(&mut torn).unwrap().kept(), log.kept());
            cuts += 1;
        }
        chip = whole;
    }
    assert!(cuts > 2_000, "{cuts}");
}

#[test]
fn a_cut_in_the_very_first_write_leaves_an_empty_log_or_one_that_must_be_set_up_again() {
    for left in 0..HALF_HEAD + record::length(3) {
        let mut chip = Chip { left, ..Chip::new() };
        open(&mut chip).unwrap().write(&mut chip, &[seq(64)]).unwrap_err();
        chip.left = usize::MAX;
        match open(&mut chip) {
            // The last bytes of a head are ones: without them it is whole.
            Ok(log) if left >= record::length(3) + 12 => assert_eq!(log.kept().seq_start(1), 64),
            Ok(log) => {
                assert_eq!(log.kept().seq_start(1), 0, "{left}: nobody was told that they may be used")
            }
            Err(error) => {
                assert_eq!(error, LogError::Damaged);
                assert!(left > record::length(3), "{left}: only in the middle of the head");
            }
        }
    }
}

#[test]
fn one_bit_that_turned_anywhere_the_last_record_included_is_damage_or_changes_nothing() {
    let mut chip = Chip::new();
    let mut log = open(&mut chip).unwrap();
    // Records of none to three changes, and halves that have just begun.
    let writes = life().take(9).chain([vec![], vec![], vec![], vec![Change::Messages(u32::MAX)]]);
    for changes in writes {
        let begins = log.end;
        log.write(&mut chip, &changes).unwrap();
        let end = log.end.unwrap() as usize;
        // A half that has just begun has its head too.
        let last = begins.filter(|at| (log.half..end as u32).contains(at)).unwrap_or(log.half) as usize;
        for at in 0..chip.bytes.len() {
            for bit in 0..8 {
                let mut damaged = chip.clone();
                damaged.bytes[at] ^= 1 << bit;
                let found = open(&mut damaged);
                let is_intact = found.as_ref().is_ok_and(|found| found.kept() == log.kept());
                assert!(is_intact || matches!(found, Err(LogError::Damaged)), "{at}, bit {bit}: {found:?}");
                // What fills up a record says nothing; all else of it does.
                let filling = chip.bytes[at] == ERASED && is_intact;
                assert!(!(last..end).contains(&at) || filling || !is_intact, "byte {at}, bit {bit}");
            }
        }
    }
    assert!(log.generation > 2);
}

#[test]
fn a_cut_between_the_new_head_and_the_mark_of_the_older_half_is_made_good_at_the_next_start() {
    let mut chip = Chip::new();
    let mut log = open(&mut chip).unwrap();
    while log.generation < 2 {
        log.write(&mut chip, &[seq(64)]).unwrap();
    }
    // The next half, whose last bytes written are the mark.
    let (before, written) = loop {
        let (before, generation) = (chip.clone(), log.generation);
        log.write(&mut chip, &[seq(128)]).unwrap();
        if log.generation > generation {
            let written = chip.written - before.written;
            break (before, written);
        }
    };
    for left in written - HEAD..=written {
        let mut cut = Chip { left, ..before.clone() };
        let _ = open(&mut cut.clone()).unwrap().write(&mut cut, &[seq(128)]);
        // Power is cut again while that is made good.
        for again in 0..=HEAD {
            let mut cut = Chip { left: again, ..cut.clone() };
            match open(&mut cut) {
                Ok(found) => assert_eq!(found.kept(), log.kept()),
                Err(error) => assert_eq!(error, LogError::Flash(PowerCut)),
            }
            cut.left = usize::MAX;
            assert_eq!(open(&mut cut).unwrap().kept(), log.kept());
            // From now on a head that is lost is noticed, and the older half does not count again.
            cut.bytes[log.half as usize] ^= 1;
            assert!(matches!(open(&mut cut), Err(LogError::Damaged)), "{left}, {again}");
        }
    }
}

#[test]
fn a_log_whose_flash_says_that_it_is_at_its_last_generation_takes_nothing_and_keeps_what_it_has() {
    let mut chip = Chip::new();
    let all = [Change::Seq { epoch: u32::MAX, up_to: u32::MAX }, Change::Messages(u32::MAX)];
    write_record(&mut chip, HALF_HEAD as u32, u32::MAX, || all.into_iter()).unwrap();
    chip.write(0, &half_head(u32::MAX)).unwrap();
    let mut log = open(&mut chip).unwrap();
    while log.write(&mut chip, &[mark(1, 7)]).is_ok() {}
    let written = chip.written;
    assert_eq!(log.write(&mut chip, &[mark(1, 8)]), Err(LogError::UsedUp));
    assert_eq!(chip.written, written);
    let found = open(&mut chip).unwrap();
    assert_eq!(found.kept(), log.kept());
    assert_eq!((found.kept().seq_start(u32::MAX), found.kept().messages()), (u32::MAX, u32::MAX));
}

#[test]
fn what_stands_where_no_write_of_this_half_left_it_is_no_record_but_damage() {
    let mut chip = Chip::new();
    let mut log = open(&mut chip).unwrap();
    log.write(&mut chip, &[seq(64)]).unwrap();
    let end = log.end.unwrap() as usize;
    log.write(&mut chip, &[seq(128)]).unwrap();
    let record = chip.bytes[end..log.end.unwrap() as usize].to_vec();
    while log.generation < 3 {
        log.write(&mut chip, &[seq(256)]).unwrap();
    }
    // A record of an older half: this one was erased before its head was written, so flash did not do what it said.
    let end = log.end.unwrap() as usize;
    chip.bytes[end..end + record.len()].copy_from_slice(&record);
    assert!(matches!(open(&mut chip), Err(LogError::Damaged)));
}

#[test]
fn each_epoch_has_its_own_seqs_and_an_older_one_never_begins_again() {
    let mut chip = Chip::new();
    let mut log = open(&mut chip).unwrap();
    log.write(&mut chip, &[seq(5_000)]).unwrap();
    assert_eq!((log.kept().seq_start(1), log.kept().seq_start(2)), (5_000, 0));
    log.write(&mut chip, &[Change::Seq { epoch: 2, up_to: 64 }]).unwrap();
    let written = chip.written;
    let next = Change::Seq { epoch: 3, up_to: 64 };
    for late in [&[seq(9_000)][..], &[mark(1, 1), seq(9_000)], &[next, seq(9_000)]] {
        assert_eq!(log.write(&mut chip, late), Err(LogError::OldEpoch));
    }
    assert_eq!(chip.written, written, "nothing was written");
    for kept in [log.kept(), open(&mut chip).unwrap().kept()] {
        assert_eq!([1, 2, 3].map(|epoch| kept.seq_start(epoch)), [SEQ_MAX + 1, 64, 0]);
    }
    log.write(&mut chip, &[next]).unwrap();
    assert_eq!(open(&mut chip).unwrap().kept().seq_start(3), 64, "after a refusal it goes on");
}

#[test]
fn marks_of_more_sources_than_there_is_room_for_are_refused_before_anything_is_written() {
    let mut chip = Chip::new();
    let mut log = open(&mut chip).unwrap();
    log.write(&mut chip, &[mark(1, 1), mark(1, 2), mark(2, 1)]).unwrap();
    let written = chip.written;
    assert_eq!(log.write(&mut chip, &[seq(64), mark(3, 1), mark(4, 1)]), Err(LogError::Full));
    assert_eq!((chip.written, log.kept().seq_start(1)), (written, 0), "all or nothing");
    log.write(&mut chip, &[mark(3, 1), mark(3, 2), mark(1, 9)]).unwrap();
    assert!(matches!(FlashLog::open(&mut chip, MarkTable::<2>::new()), Err(LogError::Full)));
    let one = ReplayMark { src: Address::new(1), epoch: 1, seq: 9 };
    assert!(log.kept().has(one) && !log.kept().has(ReplayMark { seq: 10, ..one }));
}

#[test]
fn a_half_that_is_too_small_for_all_that_is_kept_is_said_to_be_full() {
    let mut chip = Chip::new();
    let mut log = FlashLog::open(&mut chip, MarkTable::<20>::new()).unwrap();
    let most = (HALF - HALF_HEAD - 2 * HEAD) / CHANGE - 2;
    for n in 0..most as u16 {
        log.write(&mut chip, &[mark(n + 1, 1)]).unwrap();
    }
    while log.end.is_some_and(|end| end as usize + record::length(1) <= log.half as usize + HALF - HEAD) {
        log.write(&mut chip, &[seq(64)]).unwrap();
    }
    assert_eq!(log.write(&mut chip, &[mark(99, 1)]), Err(LogError::Full));
    assert_eq!(FlashLog::open(&mut chip, MarkTable::<20>::new()).unwrap().kept(), log.kept());
}

#[test]
fn an_erase_that_a_cut_breaks_may_leave_anything_in_the_half_that_does_not_count() {
    let mut chip = Chip::new();
    let mut log = open(&mut chip).unwrap();
    for changes in life() {
        log.write(&mut chip, &changes).unwrap();
        if log.generation == 4 {
            break;
        }
    }
    for n in 0..=u8::MAX {
        let mut broken = chip.clone();
        let other = if log.half == 0 { HALF } else { 0 };
        for (at, byte) in broken.bytes[other..other + HALF].iter_mut().enumerate() {
            *byte |= n.rotate_left(at as u32);
        }
        let mut found = open(&mut broken).unwrap();
        assert_eq!(found.kept(), log.kept());
        while found.generation == 4 {
            found.write(&mut broken, &[mark(1, 9_000)]).unwrap();
        }
        assert_eq!(open(&mut broken).unwrap().kept(), found.kept());
    }
}
