//! The data directory: where it is, that only one gateway uses it, and writing small files so that they survive a
//! power cut.
//!
//! What stands in the files belongs to others: the network and its key to [`crate::network`], messages to
//! [`crate::store`], the settings file to [`crate::settings`].

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

/// The folder's name below the place where programs keep their state.
const FOLDER: &str = "mesh-gateway";
/// The file whose lock says that a gateway runs here; it holds that gateway's process id.
const LOCK_FILE: &str = "gateway.lock";
/// Longer than any process id, so that a foreign file is not read whole: a guess.
const PID_MAX_LEN: u64 = 32;

/// Why the data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// Neither a service manager nor the environment names a place.
    #[error(
        "choosing the data directory: none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set to an absolute \
         path; name one with --data-dir"
    )]
    NoPlace,
    /// Another gateway runs on the directory.
    #[error(
        "locking the data directory {path}: another mesh-gateway ({holder}) uses it; stop that one, or give \
         this one a directory of its own with --data-dir"
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The other gateway as a person would name it: `process 4711`.
        holder: String,
    },
    /// The path is taken by something that is not a directory.
    #[error(
        "creating the data directory {path}: there is something else of that name; move it, or choose another with \
         --data-dir"
    )]
    NotADirectory {
        /// The data directory.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{doing} {path}: {source}; check that this user may write there")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// The directory a gateway uses when nothing names another.
///
/// `STATE_DIRECTORY` (systemd's `StateDirectory=`, the first of several), else `/var/lib/mesh-gateway` for root, else
/// `$XDG_STATE_HOME/mesh-gateway`, else `~/.local/state/mesh-gateway`.
///
/// # Errors
/// [`DataDirError::NoPlace`] when none of these gives an absolute path.
pub fn default_path() -> Result<PathBuf, DataDirError> {
    choose_path(runs_as_root(), |name| std::env::var_os(name))
}

fn choose_path(root: bool, var: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, DataDirError> {
    let absolute = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd joins several directories with a colon.
    let service = var("STATE_DIRECTORY")
        .and_then(|list| std::env::split_paths(&list).next())
        .filter(|path| path.is_absolute());
    if let Some(path) = service {
        Ok(path)
    } else if root {
        Ok(Path::new("/var/lib").join(FOLDER))
    } else if let Some(state) = absolute("XDG_STATE_HOME") {
        Ok(state.join(FOLDER))
    } else if let Some(home) = absolute("HOME") {
        Ok(home.join(".local/state").join(FOLDER))
    } else {
        Err(DataDirError::NoPlace)
    }
}

/// Whether this process runs as root; `false` where `/proc` does not say.
fn runs_as_root() -> bool {
    // The owner of /proc/self is the effective user; the standard library has no geteuid.
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Makes the directory and its missing parents with mode 0700; an existing one is left as it is.
///
/// # Errors
/// [`DataDirError::NotADirectory`] or [`DataDirError::Io`].
pub fn create(path: &Path) -> Result<(), DataDirError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(_) if path.exists() && !path.is_dir() => {
            Err(DataDirError::NotADirectory { path: path.to_owned() })
        }
        Err(source) => {
            Err(DataDirError::Io { doing: "creating the data directory", path: path.to_owned(), source })
        }
    }
}

/// A data directory that this process alone uses; dropping it lets the next gateway in.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing and takes its lock, without waiting.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] while another gateway holds it, otherwise [`DataDirError::NotADirectory`] or
    /// [`DataDirError::Io`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        create(path)?;
        let lock_path = path.join(LOCK_FILE);
        let io_error = |doing| {
            let path = lock_path.clone();
            move |source| DataDirError::Io { doing, path, source }
        };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io_error("opening the lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::InUse { path: path.to_owned(), holder: holder(&lock) });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("locking")(source)),
        }
        // Only for the message that the next one gets: the lock is what counts, so this need not be synced.
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(io_error("writing the process id into"))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn holder(lock: &File) -> String {
    let mut text = String::new();
    let read = lock.take(PID_MAX_LEN).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        // It has the lock and is about to write its number.
        _ => "one that is just starting".to_owned(),
    }
}

/// Replaces a file's content so that after a power cut either the old or the new content is there, never a mixture.
///
/// On return the new content and its name are on the disk. `mode` holds from the first byte on, less the process's
/// umask.
///
/// # Errors
/// The operating system's; the old file is then still there.
pub fn atomic_write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    // A name of its own, so that two writers cannot mix their bytes.
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let temporary = folder.join(temporary);

    let written = write_synced(&temporary, content, mode).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // It may hold a key; if it cannot be removed either, the first error is the one that helps.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder(folder)
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // Left by a process of the same number that lost its power half way.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Brings a folder's list of names to the disk: without it a new file can be lost with its name.
///
/// # Errors
/// The operating system's.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether group or others may read or change the file; secrets must not stand in such a file.
///
/// # Errors
/// The operating system's, when the file is missing or out of reach.
pub fn open_to_others(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn the_default_place_follows_service_then_root_then_the_users_state_folder() {
        let all = [("STATE_DIRECTORY", "/srv/a:/srv/b"), ("XDG_STATE_HOME", "/x"), ("HOME", "/home/u")];
        let place = |root, set: &[(&str, &str)]| choose_path(root, vars(set)).unwrap();
        assert_eq!(place(true, &all), Path::new("/srv/a"));
        assert_eq!(place(true, &all[1..]), Path::new("/var/lib/mesh-gateway"));
        assert_eq!(place(false, &all[1..]), Path::new("/x/mesh-gateway"));
        assert_eq!(place(false, &all[2..]), Path::new("/home/u/.local/state/mesh-gateway"));
        assert_eq!(
            place(false, &[("XDG_STATE_HOME", "relative"), ("HOME", "/home/u")]),
            Path::new("/home/u/.local/state/mesh-gateway"),
        );
        assert!(matches!(choose_path(false, vars(&[])), Err(DataDirError::NoPlace)));
    }

    #[test]
    fn a_second_gateway_is_refused_by_name_until_the_first_one_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/state");
        let first = DataDir::open(&path).unwrap();
        assert_eq!(first.path(), path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);

        let error = DataDir::open(&path).unwrap_err();
        let holder = format!("process {}", std::process::id());
        assert!(matches!(&error, DataDirError::InUse { holder: found, .. } if *found == holder), "{error}");
        assert!(error.to_string().contains("--data-dir"), "{error}");

        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        fs::write(&path, "").unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::NotADirectory { .. })));
    }

    #[test]
    fn an_atomic_write_replaces_content_and_mode_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        atomic_write(&path, b"first", 0o644).unwrap();
        atomic_write(&path, b"second", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_atomic_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::create_dir(&path).unwrap();
        assert!(atomic_write(&path, b"new", 0o600).is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
