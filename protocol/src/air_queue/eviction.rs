//! What leaves the queue without having been sent as often as it was to be.
//!
//! Full: repeats that are no more urgent than the newcomer give way first, then the newest frame of the least urgent
//! class below the newcomer's, as long as each class keeps a tenth of the places; if there is none, the newcomer is
//! refused.

use super::{AirQueue, Full, Gone, link_bit};
use crate::{Instant, LinkId, PerClass, Priority};

/// Each class keeps a tenth of the queue's places, or its 5 % of the air would find nothing to send. A guess.
const KEPT_SHARE: usize = 10;

impl<const N: usize, const FRAME: usize> AirQueue<N, FRAME> {
    /// Makes room for one entry, if there is none; gives the one that had to give way.
    pub(super) fn make_room(&mut self, newcomer: Priority, repeat: bool) -> Result<Option<Gone>, Full> {
        if !self.entries.is_full() {
            return Ok(None);
        }
        let victim = self.victim(newcomer, repeat).ok_or(Full)?;
        Ok(Some(self.entries.swap_remove(victim).gone()))
    }

    /// Takes out the next that waited too long.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Gone> {
        let at = self.entries.iter().position(|entry| entry.expires <= now)?;
        Some(self.entries.swap_remove(at).gone())
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.entries.iter().map(|entry| entry.expires).min()
    }

    /// Forgets `link`: frames for it alone are dropped.
    pub(crate) fn drop_link(&mut self, link: LinkId) {
        self.entries.retain_mut(|entry| {
            entry.frame.links &= !link_bit(link);
            entry.pending &= !link_bit(link);
            entry.pending != 0 || entry.in_custody()
        });
    }

    /// Who gives way to a newcomer: a repeat that is no more urgent; a frame of a less urgent class; or, for a class
    /// that has next to no place in the queue, one of any other. No class loses its last places to others. For a repeat
    /// only what is less urgent gives way.
    fn victim(&self, newcomer: Priority, repeat: bool) -> Option<usize> {
        let mut held = PerClass::all(0usize);
        for entry in &self.entries {
            held[entry.frame.priority] += 1;
        }
        let kept = (N / KEPT_SHARE).max(1);
        // Without this a flood of urgent frames would keep a lower class out of the queue, and its share of the air unused.
        let starved = !repeat && held[newcomer] < kept;
        (0..self.entries.len())
            .filter(|&at| {
                let entry = &self.entries[at];
                let class = entry.frame.priority;
                let less_urgent = class > newcomer;
                (entry.is_spare() && (less_urgent || class == newcomer && !repeat))
                    || (held[class] > kept && (less_urgent || starved))
            })
            .max_by_key(|&at| {
                let entry = &self.entries[at];
                (entry.is_spare(), entry.frame.priority, entry.order)
            })
    }
}
