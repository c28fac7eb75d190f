//! The Unix socket for agents: a file that only this gateway's user can open, and that goes when the socket closes.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::SockRef;
use tokio::net::{UnixListener, UnixStream};
use tracing::debug;

use super::listen::{BACKLOG, ListenError};

/// A Unix socket, whose file goes when it closes.
#[derive(Debug)]
pub(super) struct UnixSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl UnixSocket {
    pub(super) async fn open(path: PathBuf) -> Result<Self, ListenError> {
        clear_path(&path).await?;
        let failed = |why| ListenError::Unix { path: path.clone(), why };
        // Bound under another name and moved when its mode is right, so that there is no moment in which others can
        // open it. The move also replaces a stale socket at once.
        let mut draft = path.clone().into_os_string();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let listener = UnixListener::bind(&draft).map_err(failed)?;
        SockRef::from(&listener).listen(BACKLOG).map_err(failed)?;
        let placed = std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&draft, &path));
        if let Err(why) = placed {
            let _ = std::fs::remove_file(&draft);
            return Err(failed(why));
        }
        Ok(Self { listener, path })
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if let Err(why) = std::fs::remove_file(&self.path) {
            debug!(path = %self.path.display(), %why, "cannot remove the socket");
        }
    }
}

/// Sees that nobody answers at the socket's place, and that nothing else is there.
async fn clear_path(path: &Path) -> Result<(), ListenError> {
    let failed = |why| ListenError::Unix { path: path.to_owned(), why };
    match std::fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(failed(why)),
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(why) if matches!(why.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(())
        }
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(why) => Err(failed(why)),
    }
}
