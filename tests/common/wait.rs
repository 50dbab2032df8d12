//! Waiting for a state that another process brings about.

use std::time::{Duration, Instant};

/// Bound of every wait: far more than anything takes on a machine that also compiles.
pub const LONG: Duration = Duration::from_secs(180);

/// Between two questions.
const POLL: Duration = Duration::from_millis(20);

/// Asks until `state` is there, and panics with what was last seen instead of it.
pub fn wait_until<T>(what: &str, bound: Duration, mut state: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + bound;
    loop {
        match state() {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("{what}: not within {bound:?}; last seen: {seen}"),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}
