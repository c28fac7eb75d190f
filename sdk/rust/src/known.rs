//! The gateways that this user's programs have met over TLS, and what each was known by then.
//!
//! Owns the file: one line for each, `HOST:PORT` and a fingerprint, which the Python client reads and writes too. What a program says to a
//! gateway that is known by another fingerprint is nothing; that is for whoever connects.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{Fingerprint, host_port};

/// Below the place where this user's programs keep their state.
const PLACE: &str = "mesh-gateway/known-gateways";
/// The longest file: a guess, some 10,000 gateways.
const MAX_LEN: u64 = 1 << 20;

const HEAD: &str = "\
# Gateways that this user's programs have met over TLS: HOST:PORT and the SHA-256 of the certificate, as `mesh-gateway peers` there
# prints it. One that shows another certificate is refused: remove its line here once you know why it has changed.
";

/// Why it is not known who a gateway is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KnownError {
    /// The environment names no place for the file.
    #[error(
        "looking for the gateways that are known: neither XDG_STATE_HOME nor HOME is an absolute path; set one, or give the gateway's \
         fingerprint, which `mesh-gateway peers` there prints"
    )]
    NoPlace,
    /// The operating system refused.
    #[error(
        "keeping which gateways are known in {}: {why}; check that this user may write there, or give the gateway's fingerprint, which \
         `mesh-gateway peers` there prints", path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        why: String,
    },
    /// Others may say which gateways are known.
    #[error("reading which gateways are known: others than this user may change {0}; look through it and run `chmod 600 {0}`", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A line cannot be read.
    #[error("reading which gateways are known: line {line} of {} is no HOST:PORT and fingerprint; correct or remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
    },
    /// It is longer than such a file gets.
    #[error("reading which gateways are known: {} has more than {MAX_LEN} bytes; remove lines, or the file", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

/// The file of known gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownGateways(PathBuf);

impl KnownGateways {
    /// That of this user: `mesh-gateway/known-gateways` below `$XDG_STATE_HOME`, else below `~/.local/state`.
    ///
    /// # Errors
    /// [`KnownError::NoPlace`].
    pub fn of_this_user() -> Result<Self, KnownError> {
        choose(|name| std::env::var_os(name)).map(Self)
    }

    /// The one at this path.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What the gateway at this `HOST:PORT` is known by, if it is.
    ///
    /// # Errors
    /// [`KnownError`].
    pub fn find(&self, address: &str) -> Result<Option<Fingerprint>, KnownError> {
        let file = match File::open(&self.0) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|why| self.io(&why))?,
        };
        file.lock_shared().map_err(|why| self.io(&why))?;
        find(&self.read(&file)?, &key(address)).map_err(|line| self.damaged(line))
    }

    /// What the gateway at this `HOST:PORT` is known by; `shown`, from now on, if it was not known. Programs that ask this at a time
    /// get one answer.
    ///
    /// # Errors
    /// [`KnownError`]; then nothing is kept.
    pub fn meet(&self, address: &str, shown: Fingerprint) -> Result<Fingerprint, KnownError> {
        if let Some(folder) = self.0.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|why| self.io(&why))?;
        }
        let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.0);
        let mut file = opened.map_err(|why| self.io(&why))?;
        // Until the file is closed.
        file.lock().map_err(|why| self.io(&why))?;
        let (text, key) = (self.read(&file)?, key(address));
        if let Some(known) = find(&text, &key).map_err(|line| self.damaged(line))? {
            return Ok(known);
        }
        let head = if text.is_empty() { HEAD } else { "" };
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let line = format!("{end}{head}{key} {shown}\n");
        if (text.len() + line.len()) as u64 > MAX_LEN {
            return Err(KnownError::TooLong { path: self.0.clone() });
        }
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|why| self.io(&why))?;
        Ok(shown)
    }

    fn read(&self, file: &File) -> Result<String, KnownError> {
        let about = file.metadata().map_err(|why| self.io(&why))?;
        if about.is_file() && about.permissions().mode() & 0o077 != 0 {
            return Err(KnownError::Exposed { path: self.0.clone() });
        }
        let mut text = String::new();
        file.take(MAX_LEN + 1).read_to_string(&mut text).map_err(|why| self.io(&why))?;
        if text.len() as u64 > MAX_LEN {
            return Err(KnownError::TooLong { path: self.0.clone() });
        }
        Ok(text)
    }

    fn io(&self, why: &io::Error) -> KnownError {
        KnownError::Io { path: self.0.clone(), why: why.to_string() }
    }

    fn damaged(&self, line: usize) -> KnownError {
        KnownError::Damaged { path: self.0.clone(), line }
    }
}

fn choose(var: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, KnownError> {
    let absolute = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Ok(state.ok_or(KnownError::NoPlace)?.join(PLACE))
}

/// How an address stands in the file: names of hosts know no case.
fn key(address: &str) -> String {
    let text = match host_port(address) {
        Some((host, port)) if host.contains(':') => format!("[{host}]:{port}"),
        Some((host, port)) => format!("{host}:{port}"),
        None => address.to_owned(),
    };
    text.to_ascii_lowercase()
}

/// What stands behind that address, or the first line that cannot be read.
fn find(text: &str, key: &str) -> Result<Option<Fingerprint>, usize> {
    let mut found = None;
    for (line, number) in text.lines().zip(1_usize..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (address, print) = line.split_once(char::is_whitespace).ok_or(number)?;
        let print = print.parse().map_err(|_| number)?;
        if self::key(address) == key {
            found = found.or(Some(print));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn print(digits: &str) -> Fingerprint {
        digits.repeat(32).parse().unwrap()
    }

    #[test]
    fn the_first_one_is_kept_and_who_comes_later_is_told_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownGateways::at(folder.path().join("state/known-gateways"));
        assert_eq!(known.find("barn.local:7700"), Ok(None));
        assert_eq!(known.meet("Barn.local:7700", print("ab")), Ok(print("ab")));
        assert_eq!(known.meet("barn.local:7700", print("cd")), Ok(print("ab")), "whatever it shows now");
        assert_eq!(known.meet("barn.local:7701", print("cd")), Ok(print("cd")), "each port is its own");
        assert_eq!(known.meet("[FE80::1%eth0]:7700", print("ef")), Ok(print("ef")));
        assert_eq!(known.find("[fe80::1%eth0]:7700"), Ok(Some(print("ef"))));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(known.path()), mode(known.path().parent().unwrap())), (0o600, 0o700));
        let text = fs::read_to_string(known.path()).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let wanted = ["barn.local:7700", "barn.local:7701", "[fe80::1%eth0]:7700"];
        let prints = [print("ab"), print("cd"), print("ef")];
        assert_eq!(lines, [0, 1, 2].map(|n| format!("{} {}", wanted[n], prints[n])));
    }

    #[test]
    fn what_others_may_have_written_and_what_cannot_be_read_are_errors_and_nothing_is_added() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownGateways::at(folder.path().join("known-gateways"));
        known.meet("barn:7700", print("ab")).unwrap();
        let path = known.path().to_owned();
        let whole = fs::read_to_string(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        let exposed = KnownError::Exposed { path: path.clone() };
        assert_eq!(known.find("barn:7700"), Err(exposed.clone()));
        assert_eq!(known.meet("roof:7700", print("cd")), Err(exposed));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        // As after a power cut in the middle of a line.
        fs::write(&path, format!("{whole}roof:7700 cdcd")).unwrap();
        let damaged = KnownError::Damaged { path: path.clone(), line: 4 };
        assert_eq!(known.meet("barn:7700", print("ab")), Err(damaged));
        fs::write(&path, whole.trim_end()).unwrap();
        assert_eq!(known.meet("roof:7700", print("cd")), Ok(print("cd")), "a line without its end is one");
        assert_eq!(known.find("barn:7700"), Ok(Some(print("ab"))));
        fs::write(&path, "#".repeat(MAX_LEN as usize + 1)).unwrap();
        assert_eq!(known.find("barn:7700"), Err(KnownError::TooLong { path }));
        let nowhere = KnownGateways::at("/dev/null/known-gateways".into());
        assert!(matches!(nowhere.meet("barn:7700", print("ab")), Err(KnownError::Io { .. })));
    }

    #[test]
    fn programs_that_meet_a_gateway_at_a_time_agree() {
        let folder = tempfile::tempdir().unwrap();
        let known = KnownGateways::at(folder.path().join("known-gateways"));
        let met: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0_u8..16)
                .map(|n| {
                    let known = known.clone();
                    scope.spawn(move || known.meet("barn:7700", print(&format!("{n:02x}"))).unwrap())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(met.iter().all(|one| *one == met[0]), "{met:?}");
    }

    #[test]
    fn the_place_is_the_users_state() {
        let of = |vars: &[(&str, &str)]| {
            choose(|name| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        let at = |path: &str| Ok(PathBuf::from(path));
        assert_eq!(of(&[("HOME", "/h")]), at("/h/.local/state/mesh-gateway/known-gateways"));
        assert_eq!(of(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), at("/s/mesh-gateway/known-gateways"));
        assert_eq!(of(&[("XDG_STATE_HOME", "s"), ("HOME", "")]), Err(KnownError::NoPlace));
    }
}
