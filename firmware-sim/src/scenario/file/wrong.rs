//! What is wrong in a file, and where.
//!
//! Owns the error of all that reads tables, and the rule that of several kinds exactly one is given.

/// What is wrong, and where: an offset into the text.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) what: String,
}

pub(super) fn wrong<T>(at: usize, what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at, what: what.into() })
}

/// The one kind that is there.
pub(super) fn one_of<T, const N: usize>(
    at: usize,
    of: &str,
    kinds: [(&str, Option<Result<T, Wrong>>); N],
) -> Result<T, Wrong> {
    let names = kinds.each_ref().map(|(name, _)| format!("`{name}`")).join(", ");
    let mut found = kinds.into_iter().filter_map(|(name, kind)| Some((name, kind?)));
    match (found.next(), found.next()) {
        (Some((_, kind)), None) => kind,
        (None, _) => wrong(at, format!("{of} says nothing of its kind; add one of {names}")),
        (Some((first, _)), Some((second, _))) => {
            wrong(at, format!("{of} has both `{first}` and `{second}`; keep one of them"))
        }
    }
}
