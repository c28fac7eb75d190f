//! Settings whose values are words.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A word that a setting does not know.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{found:?} is not one of {}", known.join(", "))]
pub struct UnknownKeyword {
    found: String,
    known: &'static [&'static str],
}

/// Defines an enum whose variants are written as words.
macro_rules! keywords {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The words, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word as the settings have it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl FromStr for $name {
            type Err = UnknownKeyword;

            fn from_str(text: &str) -> Result<Self, UnknownKeyword> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(UnknownKeyword { found: text.to_owned(), known: Self::WORDS }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

keywords! {
    /// How log lines are written.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

keywords! {
    /// The least urgent log lines to write.
    LogLevel {
        /// What failed.
        Error = "error",
        /// What may fail soon, too.
        Warn = "warn",
        /// What a person running the gateway wants to know, too.
        Info = "info",
        /// What a person changing it wants to know, too.
        Debug = "debug",
        /// Every frame.
        Trace = "trace",
    }
}
