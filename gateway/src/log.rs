//! The log on its way to standard error.
//!
//! Owns that nobody waits for standard error, and that nothing ends because of it: whoever logs puts a line into a bounded queue, and
//! one thread writes. A full pipe that nobody reads, a full disk, a closed reader: lines are dropped and counted, and when standard error
//! takes lines again, the log says how many are missing. (`tracing-appender` has such a queue, but writes to standard output itself when
//! its end is not taken in time, and does not say which lines could not be written.)

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that may wait. A guess: some 200 KiB, the log of a bad minute.
const WAITING: usize = 1_024;
/// How long the end waits for the last lines. A guess.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The process's one queue, once it is started.
static QUEUE: OnceLock<Queue> = OnceLock::new();
/// Lines that were not written.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// From now on, what is logged and said goes to standard error through the queue. The first call counts.
///
/// # Errors
/// When the system gives no thread.
pub fn start() -> io::Result<()> {
    let (queue, jobs) = Queue::new(WAITING);
    if QUEUE.set(queue).is_ok() {
        thread::Builder::new().name("log".into()).spawn(move || write_all(&jobs, io::stderr(), &DROPPED))?;
        std::panic::set_hook(Box::new(|panic| {
            let thread = thread::current();
            let what = panic.to_string().replace('\n', " ");
            tracing::error!(thread = thread.name(), "{what}: this is a bug, please report it");
        }));
    }
    Ok(())
}

/// Lines that standard error did not take.
#[must_use]
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Puts words for people on standard error, behind what was logged; nobody is left to tell when that does not work.
pub fn say(text: &str) {
    match QUEUE.get() {
        Some(queue) => queue.put(text.as_bytes().to_vec(), &DROPPED),
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Waits until what was said so far is written, for a bounded time.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.finish();
    }
}

/// Where `tracing` writes its lines. Each call is one line, and always succeeds.
#[derive(Clone, Copy, Debug)]
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(queue) = QUEUE.get() {
            queue.put(line.to_vec(), &DROPPED);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Job {
    Line(Vec<u8>),
    /// Everything before it is to be written; then the answer.
    Flush(SyncSender<()>),
}

struct Queue(SyncSender<Job>);

impl Queue {
    fn new(waiting: usize) -> (Self, Receiver<Job>) {
        let (queue, jobs) = sync_channel(waiting);
        (Self(queue), jobs)
    }

    fn put(&self, line: Vec<u8>, dropped: &AtomicU64) {
        if self.0.try_send(Job::Line(line)).is_err() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn finish(&self) {
        let (done, written) = sync_channel(1);
        // A queue that is full is one that nobody empties.
        if self.0.try_send(Job::Flush(done)).is_ok() {
            let _ = written.recv_timeout(LAST_WORDS);
        }
    }
}

/// Writes what comes until nobody can say anything any more.
fn write_all(jobs: &Receiver<Job>, mut to: impl Write, dropped: &AtomicU64) {
    // What of the dropped lines was told, and whether half a line may stand at the end.
    let (mut told, mut torn) = (0, false);
    loop {
        let job = match jobs.try_recv() {
            Ok(job) => job,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                let lost = dropped.load(Ordering::Relaxed);
                // Only where lines are taken again: to say it would fail as they did.
                if lost > told && !torn {
                    tracing::warn!(
                        lines = lost - told,
                        "log lines are missing here: standard error did not take them"
                    );
                    told = lost;
                }
                let Ok(job) = jobs.recv() else { return };
                job
            }
        };
        match job {
            Job::Line(line) => {
                let begin: &[u8] = if torn { b"\n" } else { b"" };
                torn =
                    to.write_all(begin).and_then(|()| to.write_all(&line)).and_then(|()| to.flush()).is_err();
                dropped.fetch_add(u64::from(torn), Ordering::Relaxed);
            }
            // Whoever waited may have given up.
            Job::Flush(done) => drop(done.try_send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes a line when it is told to, or fails to.
    #[derive(Clone, Default)]
    struct Disk {
        text: Arc<Mutex<Vec<u8>>>,
        full: Arc<Mutex<bool>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut text = self.text.lock().unwrap();
            if *self.full.lock().unwrap() {
                // Half of it fitted.
                text.extend_from_slice(&bytes[..bytes.len() / 2]);
                return Err(io::ErrorKind::StorageFull.into());
            }
            text.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_the_next_line_is_whole() {
        let (queue, jobs) = Queue::new(8);
        let (disk, dropped) = (Disk::default(), AtomicU64::new(0));
        thread::scope(|scope| {
            let (to, counted) = (disk.clone(), &dropped);
            scope.spawn(move || write_all(&jobs, to, counted));
            let put = |line: &str| {
                queue.put(format!("{line}\n").into_bytes(), &dropped);
                queue.finish();
            };
            put("one");
            *disk.full.lock().unwrap() = true;
            put("gone");
            *disk.full.lock().unwrap() = false;
            put("two");
            drop(queue);
        });
        assert_eq!(String::from_utf8(disk.text.lock().unwrap().clone()).unwrap(), "one\ngo\ntwo\n");
        assert_eq!(dropped.into_inner(), 1);
    }

    #[test]
    fn nobody_waits_for_a_writer_that_is_stuck() {
        // Nobody takes from this one.
        let (queue, _jobs) = Queue::new(2);
        let dropped = AtomicU64::new(0);
        for _ in 0..5 {
            queue.put(b"line\n".to_vec(), &dropped);
        }
        queue.finish();
        assert_eq!(dropped.into_inner(), 3);
    }
}
