//! Notices an adapter that receives and no longer sends, or no longer receives: the adapter itself cannot know, the mesh does.
//!
//! Owns the rules. A radio that heard this network and has not for [`THERE`] hears nobody; that is only said. Neighbours say in their hellos whom they hear; when those that are heard, and that once heard this gateway, have not
//! named it for [`UNHEARD`], its frames do not reach them. What is done about it is the bearer's business.

use ble_bearer::Bearer;
use mesh_protocol::{Duration, Instant, Neighbour};

/// How often the rule is looked at. A guess.
const EVERY: Duration = Duration::from_secs(60);
/// Each time in a row that a repair did not help the next one waits twice as long, up to this many times: about an hour. A link that
/// works one way only cannot be repaired.
const DOUBLINGS: u32 = 6;
/// A neighbour heard within this is there: three and a half hellos, as in the core.
pub(super) const THERE: Duration = Duration::from_secs(35);
/// A hello names two neighbours in turn, so one with 36 neighbours names each once in three minutes. A guess; too
/// short only restarts advertising for nothing.
pub(super) const UNHEARD: Duration = Duration::from_secs(180);

/// See the module.
#[derive(Debug)]
pub(super) struct AirWatch {
    next: Instant,
    /// How often in a row the bearer was told.
    told: u32,
    /// When a frame of this network came by radio last.
    heard: Option<Instant>,
}

impl AirWatch {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now + EVERY, told: 0, heard: None }
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
        self.told = if unheard.is_some() { self.told } else { 0 };
        self.next = now + EVERY.times(1 << self.told.min(DOUBLINGS));
        if let Some(there) = unheard {
            let why = format!(
                "{there} neighbours are heard, and for {} s none has heard this gateway",
                UNHEARD.as_millis() / 1_000
            );
            tracing::warn!(why, "sending seems dead");
            bearer.suspect(&why, self.told);
            self.told += 1;
        }
    }
}

/// How many neighbours are there that once heard this gateway, if none of them still does.
fn unheard<'a>(now: Instant, neighbours: impl Iterator<Item = &'a Neighbour>) -> Option<usize> {
    let there = neighbours.filter(|neighbour| now.since(neighbour.last_heard) <= THERE);
    let told: Vec<Instant> = there.filter_map(|neighbour| neighbour.told_of_us).collect();
    let latest = told.iter().max()?;
    (now.since(*latest) > UNHEARD).then_some(told.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_protocol::Address;

    fn neighbour(n: u16, last_heard: u64, told_of_us: Option<u64>) -> Neighbour {
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        Neighbour {
            address: Address::new(n),
            last_heard: at(last_heard),
            rssi: None,
            delivery_in: Some(255),
            delivery_out: told_of_us.map(|_| 200),
            told_of_us: told_of_us.map(at),
        }
    }

    /// A bearer that writes down what it is told.
    struct Told(Vec<u32>);

    impl Bearer for Told {
        async fn next_event(&mut self) -> Result<ble_bearer::BearerEvent, ble_bearer::BearerError> {
            std::future::pending().await
        }

        fn try_send(&mut self, _: mesh_protocol::LinkId, _: &[u8], _: u8) -> Result<(), ble_bearer::Full> {
            Ok(())
        }

        fn suspect(&mut self, _: &str, before: u32) {
            self.0.push(before);
        }
    }

    #[test]
    fn a_repair_that_does_not_help_is_followed_by_a_deeper_one_ever_more_rarely_until_someone_hears() {
        let (mut watch, mut bearer) = (AirWatch::new(Instant::ZERO), Told(Vec::new()));
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
        assert_eq!(bearer.0[5..8], [0, 1, 2], "it begins anew");
    }

    #[test]
    fn a_radio_that_hears_nobody_any_more_is_deaf_and_one_that_never_did_is_not() {
        let mut watch = AirWatch::new(Instant::ZERO);
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        assert_eq!(watch.deaf(at(1_000)), None, "it may stand alone");
        watch.heard(at(1_000));
        assert_eq!(watch.deaf(at(1_035)), None);
        assert_eq!(watch.deaf(at(1_040)), Some(Duration::from_secs(40)));
        watch.heard(at(1_041));
        assert_eq!(watch.deaf(at(1_042)), None);
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
        assert_eq!(rule(&[neighbour(1, 999, Some(800)), neighbour(2, 900, Some(990))]), Some(1), "2 is gone");
    }
}
