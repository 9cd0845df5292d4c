//! Unix sockets of servers that may find there what another process has left.

use std::{io, os::unix::fs::FileTypeExt as _, path::Path};

use tokio::net::{UnixListener, UnixStream};

/// Binds a socket path. A socket that nobody answers is what a killed process left, and is replaced;
/// whatever else stands there stays.
pub async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            _ => return Err(io::Error::other("another process is listening there")),
        }
    }
    UnixListener::bind(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_dead_process_has_left_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        drop(bind_unix(&path).await.unwrap());
        let alive = bind_unix(&path).await.unwrap();
        let error = bind_unix(&path).await.unwrap_err();
        assert_eq!(error.to_string(), "another process is listening there");
        drop(alive);
        let file = dir.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        let error = bind_unix(&file).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    }
}
