//! Which stacks there are, and from the name of one to the stack.
//!
//! Owns the table. Whatever differs between stacks is a constant or a function of [`Stack`].

use super::Stack;
use super::mesh::FrameKeys;

/// The stacks by module and type, in the order of tables and reports. What is done with each is up to the macro that is named.
macro_rules! stacks {
    ($each:ident $($of:tt)*) => {
        $each! { ($($of)*)
            mesh::Mesh,
            sig::Sig,
            flood::Flood,
        }
    };
}

macro_rules! kinds {
    (() $($module:ident::$stack:ident,)+) => {
        /// A network stack that can play a scenario, by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum StackKind {
            $(#[doc = concat!("[`", stringify!($stack), "`](super::", stringify!($module), "::", stringify!($stack), ").")] $stack,)+
        }

        impl StackKind {
            /// All of them.
            pub const ALL: [Self; [$(stringify!($stack)),+].len()] = [$(Self::$stack),+];
        }
    };
}

/// An expression with the type that a kind stands for.
macro_rules! with {
    (($kind:expr, $name:ident => $value:expr) $($module:ident::$stack:ident,)+) => {
        match $kind {
            $(StackKind::$stack => {
                type $name = super::$module::$stack;
                $value
            })+
        }
    };
}

stacks!(kinds);

/// What is done with a stack whose name is known only at run time.
pub(crate) trait WithStack {
    /// Its result.
    type Output;

    /// Does it.
    fn with<S: Stack>(self) -> Self::Output;
}

impl StackKind {
    /// The stack with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stack| stack.name() == name)
    }

    /// [`Stack::NAME`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        stacks!(with self, S => S::NAME)
    }

    /// [`Stack::TITLE`].
    #[must_use]
    pub const fn title(self) -> &'static str {
        stacks!(with self, S => S::TITLE)
    }

    pub(crate) fn run<W: WithStack>(self, work: W) -> W::Output {
        stacks!(with self, S => work.with::<S>())
    }

    pub(crate) const fn ad_type(self) -> &'static [u8] {
        stacks!(with self, S => S::AD_TYPE)
    }

    pub(crate) const fn reports_losses(self) -> bool {
        stacks!(with self, S => S::REPORTS_LOSSES)
    }

    pub(crate) fn reports(self, bytes: u32, to_one: bool) -> bool {
        stacks!(with self, S => S::reports(bytes, to_one))
    }

    pub(crate) fn cause(self, keys: &FrameKeys, sender: u32, frame: &[u8]) -> &'static str {
        stacks!(with self, S => S::cause(keys, sender, frame))
    }

    pub(crate) fn origin(self, keys: &FrameKeys, frame: &[u8]) -> Option<(u32, u32)> {
        stacks!(with self, S => S::origin(keys, frame))
    }

    pub(crate) fn route(self, keys: &FrameKeys, frame: &[u8]) -> Option<(u32, u32)> {
        stacks!(with self, S => S::route(keys, frame))
    }
}
