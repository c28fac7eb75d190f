//! Notices what only the mesh can tell: an adapter that receives and no longer sends, or no longer receives; neighbours that no longer take
//! this gateway's frames, and nodes whose frames this gateway refuses.
//!
//! Owns the rules. A radio that heard this network and has not for [`THERE`] hears nobody; that is only said. Neighbours say in their hellos
//! whom they hear; when those that are heard, and that once heard this gateway, have not
//! named it for [`UNHEARD`], its frames do not reach them. What is done about it is the bearer's business.

use std::collections::BTreeMap;

use ble_bearer::Bearer;
use mesh_protocol::{Address, Duration, Instant, NEIGHBOUR_ALIVE_FOR, Neighbour};

/// How often the rule is looked at. A guess.
const EVERY: Duration = Duration::from_secs(60);
/// Each time in a row that a repair did not help the next one waits twice as long, up to this many times: about an hour. A link that
/// works one way only cannot be repaired.
const DOUBLINGS: u32 = 6;
/// A neighbour heard within this is there: for the node as well.
pub(super) const THERE: Duration = NEIGHBOUR_ALIVE_FOR;
/// A hello names two neighbours in turn, so one with 36 neighbours names each once in three minutes. A guess; too
/// short only restarts advertising for nothing.
pub(super) const UNHEARD: Duration = Duration::from_secs(180);

/// Frames in a row that are refused between two looks before that is worth a word: a few are late copies. A guess.
const REFUSED: u16 = 5;
/// A neighbour that heard this share of the hellos, in 255ths, and is heard as well itself, and then says nothing of them: that is more
/// than a link that is getting worse. A guess.
const HEARD_WELL: u8 = 128;
/// Nodes that a line of health names.
const NAMED: usize = 5;

/// See the module.
#[derive(Debug)]
pub(super) struct AirWatch {
    next: Instant,
    /// How often in a row the bearer was suspected.
    suspected: u32,
    /// When a frame of this network came by radio last.
    heard: Option<Instant>,
    next_count: Instant,
    /// Frames refused of each node since one of it was taken, at the last look.
    counted: BTreeMap<Address, u16>,
    /// Nodes of which only such frames came between the last two looks.
    refused: Vec<Address>,
}

impl AirWatch {
    pub(super) fn new(now: Instant) -> Self {
        let (counted, refused) = (BTreeMap::new(), Vec::new());
        Self { next: now + EVERY, suspected: 0, heard: None, next_count: now + EVERY, counted, refused }
    }

    /// A frame of this network came by radio.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// For how long the radio has heard nobody, if it once heard someone and they would have spoken since.
    pub(super) fn deaf(&self, now: Instant) -> Option<Duration> {
        let silent = now.since(self.heard?);
        (silent > THERE).then_some(silent)
    }

    /// Looks, when the time has come, at how many frames of each node were refused since one of it was taken, and when that was.
    pub(super) fn count(
        &mut self,
        now: Instant,
        refusals: impl Iterator<Item = (Address, u16, Option<Instant>)>,
    ) {
        if now < self.next_count {
            return;
        }
        self.next_count = now + EVERY;
        // Only nodes of which nothing was taken meanwhile: replayed frames beside a node's own ones are refused and do no harm.
        let mute = refusals.filter(|(_, _, taken)| taken.is_none_or(|taken| now.since(taken) >= EVERY));
        let counts: BTreeMap<Address, u16> = mute.map(|(node, count, _)| (node, count)).collect();
        let grown = |(node, count): (&Address, &u16)| {
            let before = self.counted.get(node).copied().unwrap_or(0).min(*count);
            let more = *count - before >= REFUSED || *count == u16::MAX;
            more.then_some(*node)
        };
        self.refused = counts.iter().filter_map(grown).collect();
        self.counted = counts;
    }

    /// What is not well, in lines of health.
    pub(super) fn problems(&self, now: Instant, neighbours: &[Neighbour]) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(there) = unheard(now, neighbours.iter()) {
            problems.push(format!(
                "{there} neighbours are heard, and none has heard this gateway for {} s: the radio does not send, or they refuse its \
                 frames as replays (see `status` there)",
                UNHEARD.as_millis() / 1_000
            ));
        } else {
            let deaf: Vec<Address> =
                neighbours.iter().filter(|near| is_deaf(now, near)).map(|near| near.address).collect();
            if !deaf.is_empty() {
                problems.push(format!(
                    "heard well, and for {} s not hearing this gateway, as they did before: {}; they may refuse its frames as replays \
                     (see `status` there)",
                    UNHEARD.as_millis() / 1_000,
                    named(&deaf)
                ));
            }
        }
        if !self.refused.is_empty() {
            problems.push(format!(
                "all frames of these nodes are refused as replays, or as too far ahead of those before: {}; someone repeats old frames, or \
                 forged one with the network's key, or such a node began again without its data directory and needs a new invitation",
                named(&self.refused)
            ));
        }
        problems
    }

    /// Tells the bearer when the time has come and the neighbours do not hear this gateway.
    pub(super) fn look<'a>(
        &mut self,
        now: Instant,
        neighbours: impl Iterator<Item = &'a Neighbour>,
        bearer: &mut impl Bearer,
    ) {
        if now < self.next {
            return;
        }
        let unheard = unheard(now, neighbours);
        self.suspected = if unheard.is_some() { self.suspected } else { 0 };
        self.next = now + EVERY.times(1 << self.suspected.min(DOUBLINGS));
        if let Some(there) = unheard {
            let why = format!(
                "{there} neighbours are heard, and for {} s none has heard this gateway",
                UNHEARD.as_millis() / 1_000
            );
            tracing::warn!(why, "sending seems dead");
            bearer.suspect(&why, self.suspected);
            self.suspected += 1;
        }
    }
}

/// How many neighbours are there that once heard this gateway, if none of them still does.
fn unheard<'a>(now: Instant, neighbours: impl Iterator<Item = &'a Neighbour>) -> Option<usize> {
    let there = neighbours.filter(|neighbour| now.since(neighbour.last_heard) <= THERE);
    let latest: Vec<Instant> = there.filter_map(|neighbour| neighbour.reported_us).collect();
    let last = latest.iter().max()?;
    (now.since(*last) > UNHEARD).then_some(latest.len())
}

/// Whether a neighbour is there and no longer hears this gateway, which it did well.
fn is_deaf(now: Instant, neighbour: &Neighbour) -> bool {
    let well = |share: Option<u8>| share.is_some_and(|share| share >= HEARD_WELL);
    now.since(neighbour.last_heard) <= THERE
        && well(neighbour.delivery_in)
        && well(neighbour.delivery_out)
        && neighbour.reported_us.is_some_and(|told| now.since(told) > UNHEARD)
}

/// The first few of them, and how many more.
fn named(nodes: &[Address]) -> String {
    let mut text: Vec<String> = nodes.iter().take(NAMED).map(Address::to_string).collect();
    if nodes.len() > NAMED {
        text.push(format!("{} more", nodes.len() - NAMED));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_protocol::Address;

    fn neighbour(n: u16, last_heard: u64, reported_us: Option<u64>) -> Neighbour {
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        Neighbour {
            address: Address::new(n),
            last_heard: at(last_heard),
            rssi: None,
            delivery_in: Some(255),
            delivery_out: reported_us.map(|_| 200),
            reported_us: reported_us.map(at),
        }
    }

    /// A bearer that writes down how often it was suspected.
    struct Suspected(Vec<u32>);

    impl Bearer for Suspected {
        async fn next_event(&mut self) -> Result<ble_bearer::BearerEvent, ble_bearer::BearerError> {
            std::future::pending().await
        }

        fn try_send(&mut self, _: mesh_protocol::LinkId, _: &[u8]) -> Result<(), ble_bearer::Full> {
            Ok(())
        }

        fn suspect(&mut self, _: &str, before: u32) {
            self.0.push(before);
        }
    }

    #[test]
    fn a_repair_that_does_not_help_is_followed_by_a_deeper_one_ever_more_rarely_until_someone_hears() {
        let (mut watch, mut bearer) = (AirWatch::new(Instant::ZERO), Suspected(Vec::new()));
        let mut told_at = Vec::new();
        for second in 0..2_000 {
            let now = Instant::ZERO + Duration::from_secs(second);
            watch.look(now, [neighbour(1, second, Some(0))].iter(), &mut bearer);
            if bearer.0.len() > told_at.len() {
                told_at.push(second);
            }
        }
        assert_eq!(told_at, [240, 300, 420, 660, 1_140]);
        assert_eq!(bearer.0, [0, 1, 2, 3, 4]);
        for second in 2_000..10_000 {
            let now = Instant::ZERO + Duration::from_secs(second);
            let heard = if second < 5_000 { second } else { 5_000 };
            watch.look(now, [neighbour(1, second, Some(heard))].iter(), &mut bearer);
        }
        assert_eq!(bearer.0[5..8], [0, 1, 2], "it begins again");
    }

    #[test]
    fn a_radio_that_hears_nobody_any_more_is_deaf_and_one_that_never_did_is_not() {
        let mut watch = AirWatch::new(Instant::ZERO);
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        assert_eq!(watch.deaf(at(1_000)), None, "it may stand alone");
        watch.heard(at(1_000));
        let there = THERE.as_millis() / 1_000;
        assert_eq!(watch.deaf(at(1_000 + there)), None);
        assert_eq!(watch.deaf(at(1_005 + there)), Some(Duration::from_secs(there + 5)));
        watch.heard(at(1_006 + there));
        assert_eq!(watch.deaf(at(1_007 + there)), None);
    }

    #[test]
    fn only_neighbours_that_are_there_and_have_fallen_silent_about_us_count() {
        let now = Instant::ZERO + Duration::from_secs(1_000);
        let rule = |neighbours: &[Neighbour]| unheard(now, neighbours.iter());
        assert_eq!(rule(&[]), None);
        assert_eq!(rule(&[neighbour(1, 999, None)]), None, "it may never have heard this gateway");
        assert_eq!(rule(&[neighbour(1, 999, Some(900))]), None);
        assert_eq!(rule(&[neighbour(1, 999, Some(800))]), Some(1));
        assert_eq!(rule(&[neighbour(1, 999, Some(800)), neighbour(2, 990, Some(990))]), None);
        assert_eq!(rule(&[neighbour(1, 999, Some(800)), neighbour(2, 880, Some(990))]), Some(1), "2 is gone");
    }

    #[test]
    fn a_node_of_which_only_refused_frames_come_is_a_line_until_one_is_taken() {
        let mut watch = AirWatch::new(Instant::ZERO);
        let at = |minutes: u64| Instant::ZERO + EVERY.times(minutes);
        let says = |watch: &AirWatch| watch.problems(at(9), &[]).join("");
        let node = Address::new(7);
        watch.count(at(1), [(node, 4, None)].into_iter());
        assert_eq!(says(&watch), "", "some are late copies");
        watch.count(at(2), [(node, 9, None)].into_iter());
        assert!(
            says(&watch).contains("refused as replays") && says(&watch).contains("0x0007"),
            "{}",
            says(&watch)
        );
        watch.count(at(2), [(node, 500, None)].into_iter());
        watch.count(at(3), [(node, 10, None)].into_iter());
        assert_eq!(says(&watch), "", "they have become few");
        watch.count(at(4), [(node, u16::MAX, None)].into_iter());
        watch.count(at(5), [(node, u16::MAX, None)].into_iter());
        assert_ne!(says(&watch), "", "too many to count");
        watch.count(at(6), [(node, 90, Some(at(6) - Duration::from_secs(50)))].into_iter());
        assert_eq!(says(&watch), "");
        watch.count(at(7), (1..=9).map(|n| (Address::new(n), 5, None)));
        assert!(says(&watch).contains("0x0005, 4 more"), "{}", says(&watch));
    }

    #[test]
    fn a_neighbour_that_heard_well_and_no_longer_does_is_a_line_at_the_one_it_does_not_hear() {
        let watch = AirWatch::new(Instant::ZERO);
        let now = Instant::ZERO + Duration::from_secs(1_000);
        let says = |neighbours: &[Neighbour]| watch.problems(now, neighbours).join("");
        let (hears, deaf) = (neighbour(1, 999, Some(995)), neighbour(2, 999, Some(800)));
        assert_eq!(says(&[hears]), "");
        assert!(says(&[hears, deaf]).contains("0x0002"), "{}", says(&[hears, deaf]));
        assert_eq!(says(&[hears, Neighbour { delivery_out: Some(90), ..deaf }]), "", "it never heard well");
        assert_eq!(says(&[hears, Neighbour { delivery_in: None, ..deaf }]), "");
        assert!(says(&[deaf]).starts_with("1 neighbours are heard, and none has heard"), "{}", says(&[deaf]));
    }
}
