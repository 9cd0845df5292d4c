//! PostgreSQL for tests: a real server of their own, which ends with the process that has started it.

#![allow(dead_code, reason = "not all who share this use all of it")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// The name of its socket.
pub const SOCKET: &str = ".s.PGSQL.5432";

/// A server on a socket in a directory of its own.
pub struct Postgres {
    dir: PathBuf,
    databases: AtomicU32,
    shell: Mutex<Shell>,
}

struct Shell {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Postgres {
    /// The server of all tests of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Another one.
    pub fn start() -> Self {
        // The script removes it: no drop runs for what is shared.
        let dir = tempfile::tempdir().unwrap().keep();
        let log = File::create(dir.join("script.log")).unwrap();
        let mut child = Command::new("sh")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/postgres/server.sh"
            ))
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let shell = Shell {
            commands: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        let server = Self {
            dir,
            databases: AtomicU32::new(0),
            shell: Mutex::new(shell),
        };
        server.tell("start");
        server
    }

    /// Stops it; its databases stay.
    pub fn stop(&self) {
        self.tell("stop");
    }

    /// Starts it again.
    pub fn restart(&self) {
        self.tell("start");
    }

    fn tell(&self, command: &str) {
        let mut shell = self.shell.lock().unwrap();
        let mut commands = shell.commands.as_ref().unwrap();
        writeln!(commands, "{command}").unwrap();
        let mut answer = String::new();
        shell.answers.read_line(&mut answer).unwrap();
        let log = || std::fs::read_to_string(self.dir.join("script.log"));
        assert_eq!(answer, "done\n", "{:?}", log());
    }

    /// The URL of a new database.
    pub fn database(&self) -> Database<'_> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let database = Database { server: self, name };
        let created = format!("CREATE DATABASE {}", database.name);
        self.query("postgres", &created);
        database
    }

    fn query(&self, database: &str, sql: &str) -> String {
        let output = Command::new("psql")
            .args([
                "--no-psqlrc",
                "--tuples-only",
                "--no-align",
                "--username=postgres",
            ])
            .args([
                "--set=ON_ERROR_STOP=1",
                "--dbname",
                database,
                "--command",
                sql,
            ])
            .arg("--host")
            .arg(&self.dir)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {words}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut shell = self.shell.lock().unwrap();
        drop(shell.commands.take());
        shell.child.wait().unwrap();
    }
}

/// A database of a server.
pub struct Database<'a> {
    server: &'a Postgres,
    name: String,
}

impl Database<'_> {
    /// Where it is.
    pub fn url(&self) -> String {
        self.url_in(&self.server.dir)
    }

    /// The socket of its server.
    pub fn socket(&self) -> PathBuf {
        self.server.dir.join(SOCKET)
    }

    /// Where it is for those who reach it through a socket in `dir`.
    pub fn url_in(&self, dir: &Path) -> String {
        format!(
            "postgres:///{}?host={}&user=postgres",
            self.name,
            dir.display()
        )
    }

    /// What a statement answers.
    pub fn query(&self, sql: &str) -> String {
        self.server.query(&self.name, sql)
    }
}
