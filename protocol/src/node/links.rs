//! The links that a node has: which of them carry a frame, and which lose nothing.

use super::Node;
use crate::air_queue::{LinkSet, link_bit};
use crate::control::HelloFlags;
use crate::shares::Shares;
use crate::{Address, Instant, LEGACY_FRAME, LinkId, LinkInfo, LongFrames, Reach};

#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) info: LinkInfo,
    pub(super) free_at: Instant,
    pub(super) shares: Shares,
}

every_size!(
    /// Links.
    impl Node {
        /// A link is there, or has changed; `false`, and it is not used, when the table of links is full or the link is too
        /// narrow for a legacy frame.
        #[must_use]
        pub fn handle_link_up(&mut self, now: Instant, id: LinkId, info: LinkInfo) -> bool {
            if info.mtu < LEGACY_FRAME {
                return false;
            }
            // What it could not keep to repeat or to pass on it does not send either.
            let info = LinkInfo { mtu: info.mtu.min(FRAME), ..info };
            let link = Link { id, info, free_at: now, shares: Shares::default() };
            match self.links.iter_mut().find(|known| known.id == id) {
                Some(known) => {
                    // The gap behind the last frame stays, and who waited goes on waiting, whatever has changed.
                    known.info = info;
                    // A connection may have another node at its end now.
                    self.neighbours.cut(id);
                    true
                }
                None => {
                    if self.links.is_empty() {
                        self.discovery.begin(now, &mut self.rng);
                    }
                    usize::from(id.0) < LINKS && self.links.push(link).is_ok()
                }
            }
        }

        /// A link is gone; what waited for it alone is dropped.
        pub fn handle_link_down(&mut self, id: LinkId) {
            self.links.retain(|link| link.id != id);
            self.queue.drop_link(id);
            self.neighbours.cut(id);
        }

        /// A link takes the next frame sooner than its `min_gap` says.
        pub fn link_ready(&mut self, now: Instant, id: LinkId) {
            if let Some(link) = self.links.iter_mut().find(|link| link.id == id) {
                link.free_at = link.free_at.min(now);
            }
        }

        /// The link to leave out when relaying: a peer on a connection needs no echo, a broadcast has other listeners.
        pub(super) fn peer_link(&self, link: LinkId) -> Option<LinkId> {
            self.links
                .iter()
                .find(|known| known.id == link && known.info.reach == Reach::Peer)
                .map(|known| known.id)
        }

        /// The links that carry a frame of `len` bytes.
        pub(super) fn links_for(&self, len: usize) -> LinkSet {
            self.links.iter().filter(|link| link.info.mtu >= len).fold(0, |set, link| set | link_bit(link.id))
        }

        /// The longest frame that everyone takes, whichever link they are at.
        pub(super) fn frame_for_all(&self) -> usize {
            let longest = |link: &Link| match link.info.long_frames {
                LongFrames::Everyone => link.info.mtu,
                LongFrames::Named => LEGACY_FRAME,
            };
            self.links.iter().map(longest).min().unwrap_or(LEGACY_FRAME)
        }

        /// The longest frame that the neighbour `to` takes.
        pub(super) fn frame_to(&self, to: Address) -> usize {
            let wire = self.neighbours.wire(to);
            let wire = wire.and_then(|wire| self.links.iter().find(|link| link.id == wire));
            if let Some(link) = wire {
                return link.info.mtu;
            }
            let all = self.frame_for_all();
            if all > LEGACY_FRAME || !self.neighbours.flags(to).has(HelloFlags::LONG_FRAMES) {
                return all;
            }
            // It hears long frames on the air, and says so.
            let on_air = self.links.iter().filter(|link| link.info.reach == Reach::Everyone);
            on_air.map(|link| link.info.mtu).max().unwrap_or(LEGACY_FRAME)
        }

        /// The links that lose nothing.
        pub(super) fn lossless(&self) -> LinkSet {
            let lossless = self.links.iter().filter(|link| !link.info.lossy);
            lossless.fold(0, |set, link| set | link_bit(link.id))
        }
    }
);
