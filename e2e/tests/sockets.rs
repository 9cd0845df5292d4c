//! Who may connect: the gateway's socket is as buildkitd's own would be.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use crate::harness::{Daemon, Lab};

/// Mode, owner and group of a socket and of the directory that was made for it.
#[derive(Debug, PartialEq, Eq)]
struct SocketPermissions {
    socket: (u32, u32, u32),
    directory: (u32, u32, u32),
}

#[test]
fn mode_and_group_are_buildkitds() {
    let lab = Lab::new();
    for (case, group) in [None, Some("4242"), Some("daemon")].into_iter().enumerate() {
        let permissions =
            |kind: &str, start: fn(&std::sync::Arc<Lab>, &str, &[String]) -> Daemon| {
                let name = format!("{kind}{case}");
                let socket = lab.path(format!("{name}.dir/made/daemon.sock"));
                let mut args = vec![format!("--addr=unix://{}", socket.display())];
                args.extend(group.map(|group| format!("--group={group}")));
                let daemon = start(&lab, &name, &args);
                let permissions = look(&socket);
                drop(daemon);
                permissions
            };
        let stock = permissions("stock", |lab, name, args| {
            Daemon::stock_with(lab, name, |daemon| {
                daemon.args(args);
            })
        });
        let ours = permissions("ours", |lab, name, args| {
            Daemon::gateway_with(lab, name, |gateway| {
                gateway.args(args);
            })
        });
        assert_eq!(ours, stock, "--group={group:?}");
        assert_eq!(ours.socket.0, 0o660);
    }
}

fn look(socket: &Path) -> SocketPermissions {
    let of = |path: &Path| {
        let metadata = fs::metadata(path).expect("it is there");
        let mode = metadata.permissions().mode() & 0o7777;
        (mode, metadata.uid(), metadata.gid())
    };
    let kind = fs::metadata(socket).expect("it is there").file_type();
    assert!(kind.is_socket());
    SocketPermissions {
        socket: of(socket),
        directory: of(socket.parent().expect("a directory")),
    }
}
