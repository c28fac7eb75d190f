//! Everything but the merging of ops, which [`super::batch`] tests itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use mesh_protocol::{Address, ContextId, MessageId, Rng};

use super::*;

const AGENT: AgentKey = AgentKey(7);

fn put_inbox(cursor: u64) -> Op {
    Op::PutInbox { agent: AGENT, cursor, record: cursor.to_be_bytes().to_vec() }
}

/// Waits until a ticket is on the disk or never will be.
fn wait(store: &Store, ticket: Ticket) -> Result<(), StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut progress = store.progress();
    let seen = runtime
        .block_on(progress.wait_for(|progress| progress.through >= ticket || progress.failed.is_some()))
        .unwrap();
    if seen.through >= ticket { Ok(()) } else { Err(seen.failed.clone().unwrap()) }
}

/// Waits until a ticket is on the disk, however often that fails before.
fn written(store: &Store, ticket: Ticket) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.progress().wait_for(|progress| progress.through >= ticket)).unwrap();
}

/// Submits and waits.
fn write(store: &Store, ops: Vec<Op>) -> Result<(), StoreError> {
    wait(store, store.submit(ops))
}

/// A store on a disk in memory, with a thread.
fn on(disk: &Disk) -> Result<(Store, Recovered), StoreError> {
    let disk = disk.clone();
    Store::with_thread("disk".into(), move || Ok((disk.clone(), Witness::default())))
}

fn reopened(dir: &Path) -> Recovered {
    let (store, recovered) = Store::open(dir).unwrap();
    store.close().unwrap();
    recovered
}

#[test]
fn everything_put_is_there_after_reopening_in_the_order_of_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (store, empty) = Store::open(dir.path()).unwrap();
    assert_eq!(empty, Recovered::default());
    let mode = fs::metadata(dir.path().join(STORE_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let record = |text: &str| text.as_bytes().to_vec();
    let (near, far) = (Address::new(2), Address::new(0x7FFF));
    let ops = vec![
        Op::PutOutbox { id: MessageId(256), record: record("second") },
        Op::PutOutbox { id: MessageId(1), record: record("first") },
        Op::PutInbox { agent: AgentKey(9), cursor: 1, record: record("other") },
        put_inbox(300),
        put_inbox(2),
        Op::PutAgent { agent: AGENT, record: record("agent") },
        Op::PutKey { agent: AGENT, row: 300, record: record("late") },
        Op::PutKey { agent: AGENT, row: 2, record: record("early") },
        Op::PutDelivered { source: far, id: MessageId(1), record: record("far") },
        Op::PutDelivered { source: near, id: MessageId(5), record: vec![] },
        Op::PutContext { source: far, context: ContextId::new(31), record: record("far") },
        Op::PutContext { source: near, context: ContextId::new(0), record: record("near") },
        Op::PutMeta { key: "seq", value: record("4096") },
    ];
    write(&store, ops).unwrap();
    store.close().unwrap();

    let expected = Recovered {
        outbox: vec![(MessageId(1), record("first")), (MessageId(256), record("second"))],
        inbox: [
            (AGENT, vec![(2, 2_u64.to_be_bytes().to_vec()), (300, 300_u64.to_be_bytes().to_vec())]),
            (AgentKey(9), vec![(1, record("other"))]),
        ]
        .into(),
        agents: vec![(AGENT, record("agent"))],
        keys: [(AGENT, vec![(2, record("early")), (300, record("late"))])].into(),
        delivered: vec![((near, MessageId(5)), vec![]), ((far, MessageId(1)), record("far"))],
        contexts: vec![
            ((near, ContextId::new(0)), record("near")),
            ((far, ContextId::new(31)), record("far")),
        ],
        meta: [("seq".to_owned(), record("4096"))].into(),
        cut: false,
        lost: 0,
    };
    assert_eq!(reopened(dir.path()), expected);
}

#[test]
fn everything_deleted_is_gone_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let (source, id) = (Address::new(2), MessageId(1));
    let other = Op::PutInbox { agent: AgentKey(8), cursor: 1, record: vec![8] };
    let puts = vec![
        Op::PutOutbox { id, record: vec![1] },
        Op::PutDelivered { source, id, record: vec![1] },
        Op::PutContext { source, context: ContextId::new(3), record: vec![1] },
        Op::PutAgent { agent: AGENT, record: vec![1] },
        put_inbox(1),
        Op::PutKey { agent: AGENT, row: 0, record: vec![1] },
        Op::PutKey { agent: AGENT, row: u16::MAX, record: vec![1] },
        other,
        Op::PutKey { agent: AgentKey(8), row: 0, record: vec![8] },
    ];
    write(&store, puts).unwrap();
    let deletes = vec![
        Op::DeleteOutbox { id },
        Op::DeleteDelivered { source, id },
        Op::DeleteContext { source, context: ContextId::new(3) },
        // Takes the inbox and the keys with it.
        Op::DeleteAgent { agent: AGENT },
    ];
    write(&store, deletes).unwrap();
    assert_eq!(store.stats().rows_deleted, 7);
    store.close().unwrap();
    let left = Recovered {
        inbox: [(AgentKey(8), vec![(1, vec![8])])].into(),
        keys: [(AgentKey(8), vec![(0, vec![8])])].into(),
        ..Recovered::default()
    };
    assert_eq!(reopened(dir.path()), left);
}

#[test]
fn an_inbox_is_forgotten_through_a_cursor_and_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    write(&store, (1..=1000).map(put_inbox).collect()).unwrap();
    let neighbours = [AgentKey(6), AgentKey(8)];
    let theirs = neighbours.map(|agent| Op::PutInbox { agent, cursor: 1, record: vec![] });
    write(&store, theirs.to_vec()).unwrap();
    write(&store, vec![Op::DeleteInboxThrough { agent: AGENT, cursor: 990 }]).unwrap();
    assert_eq!(store.stats().rows_deleted, 990);
    store.close().unwrap();

    let recovered = reopened(dir.path());
    let cursors: Vec<_> = recovered.inbox[&AGENT].iter().map(|(cursor, _)| *cursor).collect();
    assert_eq!(cursors, (991..=1000).collect::<Vec<_>>());
    assert!(neighbours.iter().all(|agent| recovered.inbox[agent].len() == 1));
}

#[test]
fn ops_that_cancel_out_cost_no_write() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let before = store.stats();
    let id = MessageId(1);
    let ops = vec![
        Op::PutOutbox { id, record: vec![0; 1000] },
        put_inbox(1),
        put_inbox(2),
        Op::DeleteInboxThrough { agent: AGENT, cursor: 2 },
        Op::DeleteOutbox { id },
    ];
    write(&store, ops).unwrap();
    write(&store, vec![]).unwrap();
    let expected = Stats { submissions: 2, ops: 5, commits_saved: 2, largest_group: 5, ..before };
    assert_eq!(store.stats(), expected);

    // The same ops in two groups have to be written.
    write(&store, vec![Op::PutOutbox { id, record: vec![0; 1000] }]).unwrap();
    write(&store, vec![Op::PutOutbox { id, record: vec![1] }, Op::DeleteOutbox { id }]).unwrap();
    let after = store.stats();
    assert_eq!((after.commits, after.rows_put, after.rows_deleted), (2, 1, 1));
    assert!(after.bytes_written > before.bytes_written);
    store.close().unwrap();
    assert_eq!(reopened(dir.path()), Recovered::default());
}

#[test]
fn closing_writes_what_waits_and_so_does_dropping_but_that_is_known_from_a_stop_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    for cursor in 1..=100 {
        store.submit(vec![put_inbox(cursor)]);
    }
    store.close().unwrap();
    let (store, recovered) = Store::open(dir.path()).unwrap();
    assert_eq!((recovered.inbox[&AGENT].len(), recovered.cut), (100, false));
    store.submit(vec![put_inbox(101)]);
    drop(store);
    let recovered = reopened(dir.path());
    assert_eq!((recovered.inbox[&AGENT].len(), recovered.cut), (101, true));
    assert!(!reopened(dir.path()).cut);
}

#[test]
fn a_second_opening_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = Store::open(dir.path()).unwrap();
    let path = dir.path().join(STORE_FILE);
    assert_eq!(Store::open(dir.path()).unwrap_err(), StoreError::AlreadyOpen { path });
}

#[test]
fn a_foreign_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(STORE_FILE);
    for foreign in ["x", "hello, this is not a database\n", &"z".repeat(100_000)] {
        fs::write(&path, foreign).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let said = error.to_string();
        assert!(
            said.contains("do not put a copy back") && said.contains("mesh-gateway invite NEW-NAME"),
            "{said}"
        );
        assert!(
            error.of_a_fresh_key().to_string().contains("move it away"),
            "no number of a fresh key is used"
        );
        assert_eq!(fs::read(&path).unwrap(), foreign.as_bytes());
    }
}

#[test]
fn a_missing_folder_is_the_operating_systems_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open(&dir.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[test]
fn a_cut_off_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    write(&store, (1..=1000).map(put_inbox).collect()).unwrap();
    store.close().unwrap();
    let path = dir.path().join(STORE_FILE);
    let whole = fs::read(&path).unwrap();
    for keep in [100, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&path, &whole[..keep]).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{keep}: {error}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(reopened(dir.path()).inbox[&AGENT].len(), 1000);
}

#[test]
fn a_file_with_flipped_bits_is_refused_or_read_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    write(&store, (1..=1000).map(put_inbox).collect()).unwrap();
    store.close().unwrap();
    let whole = reopened(dir.path());
    let path = dir.path().join(STORE_FILE);
    let good = fs::read(&path).unwrap();
    let witness = fs::read(witness_of(&path)).unwrap();

    let mut rng = Rng::new(1);
    let mut refused = 0;
    for round in 0..500 {
        // Half of the flips in the first pages, where the database keeps its roots.
        let reach = if round % 2 == 0 { 4096 } else { good.len() };
        let at = usize::try_from(rng.below(reach as u64)).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1 << rng.below(8);
        fs::write(&path, &bad).unwrap();
        fs::write(witness_of(&path), &witness).unwrap();
        match Store::open(dir.path()) {
            // The last commit only noted that the store was closed.
            Ok((_, recovered)) => {
                let (cut, lost) = (recovered.cut, recovered.lost);
                assert!(recovered == Recovered { cut, lost, ..whole.clone() }, "byte {at}: lost {lost}");
            }
            Err(StoreError::Damaged { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_store_half_made_when_the_power_was_cut_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("gateway.new"), "half a header").unwrap();
    let (store, recovered) = Store::open(dir.path()).unwrap();
    assert_eq!(recovered, Recovered::default());
    write(&store, vec![put_inbox(1)]).unwrap();
    store.close().unwrap();
    assert_eq!(reopened(dir.path()).inbox[&AGENT].len(), 1);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() == 2 && names.iter().all(|name| name != "gateway.new"), "{names:?}");
}

#[test]
fn a_file_of_another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(STORE_FILE);
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let about = redb::TableDefinition::<&str, u32>::new("about");
    transaction.open_table(about).unwrap().insert("format", 9).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(Store::open(dir.path()).unwrap_err(), StoreError::Format { path, found: 9, known: 4 });
}

#[test]
fn a_store_from_before_there_were_keys_and_contexts_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(STORE_FILE);
    let (store, _) = Store::open(dir.path()).unwrap();
    write(&store, vec![put_inbox(1)]).unwrap();
    store.close().unwrap();
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let about = redb::TableDefinition::<&str, u32>::new("about");
    transaction.open_table(about).unwrap().insert("format", 1).unwrap();
    transaction.delete_table(redb::TableDefinition::<(u32, u16), &[u8]>::new("keys")).unwrap();
    transaction.delete_table(redb::TableDefinition::<&str, u64>::new("run")).unwrap();
    transaction.delete_table(redb::TableDefinition::<(u16, u8), &[u8]>::new("contexts")).unwrap();
    transaction.commit().unwrap();
    drop(database);

    let (store, recovered) = Store::open(dir.path()).unwrap();
    assert_eq!((recovered.inbox[&AGENT].len(), recovered.keys.len(), recovered.cut), (1, 0, true));
    let (source, context) = (Address::new(2), ContextId::new(31));
    let key = Op::PutKey { agent: AGENT, row: 1, record: vec![1] };
    write(&store, vec![key, Op::PutContext { source, context, record: vec![2] }]).unwrap();
    store.close().unwrap();
    let recovered = reopened(dir.path());
    assert_eq!(recovered.keys[&AGENT], [(1, vec![1])]);
    assert_eq!(recovered.contexts, [((source, context), vec![2])]);
}

#[test]
fn what_cannot_be_written_is_held_and_written_by_itself_once_the_disk_takes_it() {
    let disk = Disk::new();
    let (store, _) = on(&disk).unwrap();
    write(&store, vec![put_inbox(1)]).unwrap();
    disk.fail_after(0);
    let refused = store.submit(vec![put_inbox(2)]);
    let failed = wait(&store, refused).unwrap_err();
    assert!(matches!(failed, StoreError::Failed { .. }), "{failed}");
    assert!(failed.to_string().contains("tried again by itself"), "{failed}");
    // Its sender was told no: it is taken back before anything is written again.
    store.submit(vec![Op::DeleteInbox { agent: AGENT, cursor: 2 }]);
    let later = store.submit(vec![put_inbox(3)]);
    disk.recover();
    store.resume();
    written(&store, later);
    assert_eq!(store.stats().waiting_ops, 0);
    store.close().unwrap();
    let (_store, recovered) = on(&disk).unwrap();
    let cursors: Vec<u64> = recovered.inbox[&AGENT].iter().map(|(cursor, _)| *cursor).collect();
    assert_eq!((cursors, recovered.cut), (vec![1, 3], false));
}

#[test]
fn a_resume_that_comes_late_does_not_have_the_next_failure_tried_again() {
    let disk = Disk::new();
    let (store, _, hand) = Store::open_by_hand(disk.clone()).unwrap();
    // Whether anything reaches the disk.
    let writes = || {
        let before = hand.commits();
        hand.write();
        hand.commits() > before
    };
    let fails = |cursor| {
        disk.fail_after(0);
        store.submit(vec![put_inbox(cursor)]);
        assert!(!writes());
        disk.recover();
    };
    fails(1);
    assert!(!writes(), "its owner has taken nothing back yet");
    store.resume();
    assert!(writes());
    // All is written, and whoever owns the store has not seen that yet.
    store.resume();
    fails(2);
    assert!(!writes(), "its owner does not know of this one");
    store.resume();
    assert!(writes());
}

#[test]
fn a_disk_that_stays_full_costs_what_was_not_accepted_and_closing_says_so() {
    let disk = Disk::new();
    let (store, _) = on(&disk).unwrap();
    write(&store, vec![put_inbox(1)]).unwrap();
    disk.fail_after(0);
    let failed = write(&store, vec![put_inbox(2)]).unwrap_err();
    assert_eq!(store.close().unwrap_err(), failed);
    disk.recover();
    let (_store, recovered) = on(&disk.after_power_cut(&mut Rng::new(1))).unwrap();
    assert!(recovered.cut && recovered.inbox[&AGENT][0].0 == 1, "{recovered:?}");
}

#[test]
fn a_disk_that_fails_again_and_again_loses_nothing_and_keeps_nothing_that_was_taken_back() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let disk = Disk::new();
        let (store, _, hand) = Store::open_by_hand(disk.clone()).unwrap();
        let (mut kept, mut cursor) = (Vec::new(), 0);
        for _ in 0..30 {
            disk.fail_after(rng.below(40));
            let mut waiting = Vec::new();
            for _ in 0..rng.below(4) {
                cursor += 1;
                waiting.push((cursor, store.submit(vec![put_inbox(cursor)])));
            }
            while hand.write() {}
            let Progress { through, failed } = store.progress().borrow().clone();
            let (done, refused): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(_, ticket)| *ticket <= through);
            kept.extend(done.into_iter().map(|(cursor, _)| cursor));
            let back = |(cursor, _)| Op::DeleteInbox { agent: AGENT, cursor };
            store.submit(refused.into_iter().map(back).collect());
            store.resume();
            if failed.is_some() {
                // Also while it is tried again it may fail.
                for _ in 0..rng.below(3) {
                    disk.fail_after(rng.below(60));
                    hand.write();
                }
                disk.recover();
                while hand.write() {}
                assert_eq!(store.progress().borrow().failed, None);
            }
        }
        disk.recover();
        store.close().unwrap();
        let (_store, recovered, _) = Store::open_by_hand(disk).unwrap();
        let found = recovered.inbox.get(&AGENT).cloned().unwrap_or_default();
        assert_eq!(found.iter().map(|(cursor, _)| *cursor).collect::<Vec<_>>(), kept);
    }
}

#[test]
fn by_hand_nothing_is_written_until_someone_says_so_and_a_cut_loses_just_that() {
    let disk = Disk::new();
    let (store, empty, hand) = Store::open_by_hand(disk.clone()).unwrap();
    assert_eq!(empty, Recovered::default());
    let first = [store.submit(vec![put_inbox(1)]), store.submit(vec![put_inbox(2)])];
    assert_eq!((store.progress().borrow().through, store.stats().waiting_ops), (Ticket::default(), 2));
    assert!(hand.write(), "both go in one group");
    assert_eq!((store.progress().borrow().through, store.stats().commits), (first[1], 1));
    assert!(!hand.write(), "nothing waits any more");
    store.submit(vec![put_inbox(3)]);
    let disk = disk.after_power_cut(&mut Rng::new(1));
    drop(store);
    assert!(!hand.write(), "the store is gone");

    let (store, recovered, hand) = Store::open_by_hand(disk.clone()).unwrap();
    assert_eq!(recovered.inbox[&AGENT].iter().map(|(cursor, _)| *cursor).collect::<Vec<_>>(), [1, 2]);
    store.submit(vec![put_inbox(4)]);
    store.close().unwrap();
    assert!(!hand.write());
    let (_store, recovered, _) = Store::open_by_hand(disk.clone()).unwrap();
    assert_eq!(recovered.inbox[&AGENT].len(), 3, "closing writes what waits");
}

#[test]
fn by_hand_a_failed_write_is_told_of_as_well() {
    let disk = Disk::new();
    let (store, _, hand) = Store::open_by_hand(disk.clone()).unwrap();
    store.submit(vec![put_inbox(1)]);
    disk.fail_after(0);
    assert!(hand.write(), "that it failed is news");
    assert!(!hand.write(), "and is none any more");
    let failed = store.progress().borrow().failed.clone().unwrap();
    assert!(matches!(failed, StoreError::Failed { .. }), "{failed}");
    assert_eq!(store.close().unwrap_err(), failed);
}

/// What an endless run of puts and acks has been told is on the disk.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    put: u64,
    acked: u64,
}

/// Puts the next few messages and now and then acks some, as one submission.
fn next_step(rng: &mut Rng, told: Told) -> (Vec<Op>, Told) {
    let mut next = told;
    let mut ops = Vec::new();
    for _ in 0..=rng.below(8) {
        next.put += 1;
        ops.push(put_inbox(next.put));
    }
    if rng.below(3) == 0 {
        next.acked += rng.below(next.put - next.acked + 1);
        ops.push(Op::DeleteInboxThrough { agent: AGENT, cursor: next.acked });
    }
    ops.push(Op::PutMeta { key: "put", value: next.put.to_be_bytes().to_vec() });
    (ops, next)
}

/// Everything told is there, in order and whole; beyond it there may be more, but only whole submissions.
fn assert_nothing_lost(recovered: &Recovered, told: Told, context: &str) -> Told {
    let put = recovered.meta.get("put").map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()));
    let rows = recovered.inbox.get(&AGENT).map_or(&[][..], Vec::as_slice);
    let first = rows.first().map_or(put + 1, |(cursor, _)| *cursor);
    let expected: Vec<_> = (first..=put).map(|cursor| (cursor, cursor.to_be_bytes().to_vec())).collect();
    assert_eq!(rows, expected, "{context}");
    assert!(put >= told.put && first > told.acked, "{context}: {told:?}, found {first}..={put}");
    Told { put, acked: first - 1 }
}

#[test]
fn a_power_cut_at_any_write_loses_nothing_that_was_committed() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut disk = Disk::new();
        let mut told = Told::default();
        // Several cuts on one disk, so that a repaired file is cut again.
        for cut in 0..4 {
            let context = format!("seed {seed}, cut {cut}");
            let (store, recovered) = on(&disk).unwrap();
            told = assert_nothing_lost(&recovered, told, &context);
            disk.fail_after(rng.below(300));
            loop {
                let (ops, next) = next_step(&mut rng, told);
                match write(&store, ops) {
                    Ok(()) => told = next,
                    Err(_) => break,
                }
            }
            drop(store);
            disk = disk.after_power_cut(&mut rng);
        }
    }
}

const CHILD_DIR: &str = "TEST_STORE_DIR";
const CHILD_SEED: &str = "TEST_STORE_SEED";

/// Not a story of its own: the process that the next test starts and kills. Says what is committed, line by line.
#[test]
fn child_process_that_writes_until_killed() {
    let (Some(dir), Ok(seed)) = (std::env::var_os(CHILD_DIR), std::env::var(CHILD_SEED)) else {
        return;
    };
    let mut rng = Rng::new(seed.parse().unwrap());
    let (store, recovered) = Store::open(Path::new(&dir)).unwrap();
    let mut told = assert_nothing_lost(&recovered, Told::default(), "child");
    loop {
        // Several submissions wait at once, so that groups form.
        let mut last = Ticket::default();
        for _ in 0..=rng.below(5) {
            let (ops, next) = next_step(&mut rng, told);
            last = store.submit(ops);
            told = next;
        }
        wait(&store, last).unwrap();
        println!("told {} {}", told.put, told.acked);
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_reported_committed() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::tests::child_process_that_writes_until_killed"])
            .env(CHILD_DIR, dir.path())
            .env(CHILD_SEED, rng.next_u64().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut reports = lines.filter_map(|line| {
            // The test harness may have begun the line.
            let (_, numbers) = line.split_once("told ")?;
            let (put, acked) = numbers.split_once(' ')?;
            Some(Told { put: put.parse().ok()?, acked: acked.parse().ok()? })
        });
        for _ in 0..=rng.below(40) {
            told = reports.next().expect("the child writes until it is killed");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said between the last line read and its death counts as well; a last line may be cut off, and then
        // says a smaller number, which is no less true.
        told = reports.last().filter(|last| last.put >= told.put && last.acked >= told.acked).unwrap_or(told);
        let recovered = reopened(dir.path());
        told = assert_nothing_lost(&recovered, told, &format!("seed {seed}, round {round}"));
    }
}
