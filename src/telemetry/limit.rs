//! A bound on log lines that a single record can cause: so many a minute for each kind, and then a count.

use std::collections::BTreeMap;

const WINDOW_MS: u64 = 60_000;

/// Kinds remembered at once; beyond that the one whose minute began first makes room.
const KEYS_MAX: usize = 1_000;

/// Counts lines per key in minutes that begin with the first line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limit {
    per_minute: u32,
    windows: BTreeMap<String, Window>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Window {
    began_ms: u64,
    lines: u32,
    suppressed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// Write the line. `suppressed`: how many of its kind were left out since the last one, to be told with it.
    Write { suppressed: u64 },
    /// Leave it out; it is counted.
    Suppress,
}

impl Limit {
    pub fn new(per_minute: u32) -> Limit {
        Limit { per_minute, windows: BTreeMap::new() }
    }

    /// May a line of this kind be written? `now_ms` is monotonic.
    pub fn ask(&mut self, key: &str, now_ms: u64) -> Permit {
        let per_minute = self.per_minute;
        if !self.windows.contains_key(key) {
            self.make_room();
            self.windows.insert(key.into(), Window { began_ms: now_ms, lines: 0, suppressed: 0 });
        }
        let window = self.windows.get_mut(key).expect("inserted above");
        let suppressed = window.suppressed;
        if now_ms.saturating_sub(window.began_ms) >= WINDOW_MS {
            *window = Window { began_ms: now_ms, lines: 0, suppressed };
        }
        if window.lines < per_minute {
            window.lines += 1;
            window.suppressed = 0;
            Permit::Write { suppressed }
        } else {
            window.suppressed += 1;
            Permit::Suppress
        }
    }

    /// Kinds whose minute is over, with what was left out and not yet told; they are forgotten. Ask at leisure and at the
    /// end, so that no count is lost when a kind stops.
    pub fn finished(&mut self, now_ms: u64) -> Vec<(String, u64)> {
        let over = |w: &Window| now_ms.saturating_sub(w.began_ms) >= WINDOW_MS;
        let (done, open) = std::mem::take(&mut self.windows).into_iter().partition(|(_, w)| over(w));
        self.windows = open;
        let done: BTreeMap<String, Window> = done;
        done.into_iter().filter(|(_, w)| w.suppressed > 0).map(|(key, w)| (key, w.suppressed)).collect()
    }

    fn make_room(&mut self) {
        if self.windows.len() < KEYS_MAX {
            return;
        }
        let oldest = self.windows.iter().min_by_key(|(_, w)| w.began_ms).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.windows.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_gets_its_lines_a_minute_and_then_a_count() {
        let mut limit = Limit::new(2);
        assert_eq!(limit.ask("bad magic", 0), Permit::Write { suppressed: 0 });
        assert_eq!(limit.ask("bad magic", 1), Permit::Write { suppressed: 0 });
        for now in 2..100 {
            assert_eq!(limit.ask("bad magic", now), Permit::Suppress);
        }
        assert_eq!(limit.ask("another", 50), Permit::Write { suppressed: 0 });
        assert_eq!(limit.ask("bad magic", 59_999), Permit::Suppress);
        assert_eq!(limit.ask("bad magic", 60_000), Permit::Write { suppressed: 99 });
        assert_eq!(limit.ask("bad magic", 60_001), Permit::Write { suppressed: 0 });
    }

    #[test]
    fn what_was_left_out_is_told_when_a_kind_stops() {
        let mut limit = Limit::new(1);
        limit.ask("a", 0);
        limit.ask("b", 0);
        limit.ask("a", 1);
        assert_eq!(limit.finished(59_999), []);
        assert_eq!(limit.finished(60_000), [("a".to_string(), 1)]);
        assert_eq!(limit.finished(60_000), []);
        assert_eq!(limit.ask("a", 60_001), Permit::Write { suppressed: 0 });
    }

    #[test]
    fn kinds_without_end_do_not_take_memory_without_end() {
        let mut limit = Limit::new(1);
        for i in 0..KEYS_MAX as u64 + 10 {
            limit.ask(&i.to_string(), i);
        }
        assert_eq!(limit.windows.len(), KEYS_MAX);
        assert_eq!(limit.ask("1009", 1010), Permit::Suppress, "the newest are remembered");
    }
}
