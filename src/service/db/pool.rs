//! Connections for reading: WAL lets them go on side by side, and while an entry is committed.

use std::ops::Deref;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

/// How many there are.
const CONNECTIONS: usize = 16;

/// How many of them searches may use at once, which may take long: there is always one soon for a query
/// that does not.
pub const SEARCHES: usize = 12;

/// Connections that nobody uses.
#[derive(Debug)]
pub struct Pool {
    free: Mutex<Vec<Connection>>,
    returned: Condvar,
}

/// A connection, until it is dropped.
pub struct Borrowed<'a> {
    pool: &'a Pool,
    /// Some until the drop.
    connection: Option<Connection>,
}

impl Pool {
    /// All connections, as `connect` makes them.
    pub fn open(connect: impl Fn() -> rusqlite::Result<Connection>) -> rusqlite::Result<Self> {
        let free = (0..CONNECTIONS)
            .map(|_| connect())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            free: Mutex::new(free),
            returned: Condvar::new(),
        })
    }

    /// A connection; waits for one if there is none.
    pub fn get(&self) -> Borrowed<'_> {
        let mut free = self.free.lock();
        self.returned.wait_while(&mut free, |free| free.is_empty());
        Borrowed {
            pool: self,
            connection: free.pop(),
        }
    }
}

impl Deref for Borrowed<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("it is there until the drop")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock();
        free.extend(self.connection.take());
        drop(free);
        self.pool.returned.notify_one();
    }
}
