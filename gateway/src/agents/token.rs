//! The access token that agents show over TCP.
//!
//! Owns comparing it in constant time. Which listener asks for it is the listener's rule; its form, its file and who may
//! read that are the settings'.

use std::fmt;
use std::path::Path;

use mesh_agent::api::Token;
use subtle::ConstantTimeEq;

use crate::settings::{AccessToken, TokenError};

/// Checks the token of a hello.
#[derive(Clone)]
pub struct TokenCheck(Option<AccessToken>);

impl TokenCheck {
    /// Lets everyone in.
    #[must_use]
    pub const fn open() -> Self {
        Self(None)
    }

    /// Lets in whoever shows this token.
    #[must_use]
    pub const fn new(token: AccessToken) -> Self {
        Self(Some(token))
    }

    /// Lets in whoever shows the token in this file.
    ///
    /// # Errors
    /// As [`AccessToken::read`].
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        AccessToken::read(path).map(Self::new)
    }

    /// Whether a token is asked for at all.
    #[must_use]
    pub const fn is_required(&self) -> bool {
        self.0.is_some()
    }

    /// Whether this is good. The time it takes tells the length of the true token at most.
    #[must_use]
    pub fn admits(&self, shown: Option<&Token>) -> bool {
        match (&self.0, shown) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(token), Some(shown)) => token.as_str().as_bytes().ct_eq(shown.reveal().as_bytes()).into(),
        }
    }
}

impl fmt::Debug for TokenCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_required() { "TokenCheck(required)" } else { "TokenCheck(open)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_let_in() {
        let check = TokenCheck::new(AccessToken::new("0123456789abcdef").unwrap());
        assert!(check.admits(Some(&Token::new("0123456789abcdef"))));
        for wrong in ["", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0"] {
            assert!(!check.admits(Some(&Token::new(wrong))), "{wrong:?}");
        }
        assert!(!check.admits(None));
        assert!(TokenCheck::open().admits(None));
    }

    #[test]
    fn no_token_is_shown() {
        let check = TokenCheck::new(AccessToken::new("0123456789abcdef").unwrap());
        assert_eq!(format!("{check:?}"), "TokenCheck(required)");
        assert_eq!(format!("{:?}", Token::new("0123456789abcdef")), "(a token)");
    }
}
