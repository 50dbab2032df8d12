//! One memory budget for the whole process: how it is shared out, what the parts hold, and what to do when it runs short.
//!
//! The parts report what they hold ([`Account`]); the kernel says what the process really uses ([`resident_bytes`]); and
//! [`pressure`] decides, from plain values.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Stop;

const MIB: u64 = 1 << 20;

/// Least `limits.memory_max`: below it the fixed costs (code, client buffers, one page per shard of the cache) leave
/// nothing to work with.
pub const MEMORY_MIN: u64 = 128 * MIB;

/// A part of the process that holds memory by its own decision: the label `part` of `sluice_memory_bytes`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Part {
    /// Ids of covered data files.
    HotIds,
    /// Arrow rows of the open batch.
    OpenBatch,
    /// Rows and files of the batch whose commit is in flight.
    InFlight,
    /// Fetched records that wait inside the Kafka client or between it and the batch.
    KafkaBuffers,
    /// The id cache's own pages and buffers.
    IdCache,
    /// Encoders of open Parquet files.
    Parquet,
}

impl Part {
    pub const ALL: [Part; 6] =
        [Part::HotIds, Part::OpenBatch, Part::InFlight, Part::KafkaBuffers, Part::IdCache, Part::Parquet];

    pub fn name(self) -> &'static str {
        match self {
            Part::HotIds => "hot_ids",
            Part::OpenBatch => "open_batch",
            Part::InFlight => "in_flight",
            Part::KafkaBuffers => "kafka_buffers",
            Part::IdCache => "id_cache",
            Part::Parquet => "parquet",
        }
    }
}

/// Bytes per part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parts([u64; Part::ALL.len()]);

impl Parts {
    pub fn get(&self, part: Part) -> u64 {
        self.0[part as usize]
    }
    #[must_use]
    pub fn with(mut self, part: Part, bytes: u64) -> Self {
        self.0[part as usize] = bytes;
        self
    }
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
    pub fn iter(&self) -> impl Iterator<Item = (Part, u64)> + '_ {
        Part::ALL.into_iter().map(|part| (part, self.get(part)))
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (part, bytes)) in self.iter().enumerate() {
            write!(f, "{}{} {:.1} MiB", if i == 0 { "" } else { ", " }, part.name(), bytes as f64 / MIB as f64)?;
        }
        Ok(())
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("limits.memory_max is {given} bytes; it must be at least {MEMORY_MIN} (128MiB)")]
pub struct TooSmall {
    pub given: u64,
}

/// `limits.memory_max` shared out: what each part may hold at most, and what is left for everything that isn't counted
/// (code, stacks, TLS, manifests while a commit is built, the allocator's own losses).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    pub memory_max: u64,
    pub shares: Parts,
    pub slack: u64,
}

impl Budget {
    /// Fixed shares in 32nds; the client's buffers and the id cache stop growing where more helps nothing, and the hot ids
    /// get what they leave.
    ///
    /// # Errors
    /// Less than [`MEMORY_MIN`].
    pub fn of(memory_max: u64) -> Result<Budget, TooSmall> {
        if memory_max < MEMORY_MIN {
            return Err(TooSmall { given: memory_max });
        }
        let part = |of_32: u64| memory_max / 32 * of_32;
        let kafka = part(4).min(256 * MIB);
        let cache = part(1).clamp(16 * MIB, 64 * MIB);
        let (batch, parquet, slack) = (part(4), part(3), part(8));
        let hot = memory_max - kafka - cache - 2 * batch - parquet - slack;
        let shares = Parts::default()
            .with(Part::HotIds, hot)
            .with(Part::OpenBatch, batch)
            .with(Part::InFlight, batch)
            .with(Part::KafkaBuffers, kafka)
            .with(Part::IdCache, cache)
            .with(Part::Parquet, parquet);
        assert_eq!(shares.total() + slack, memory_max, "shares of {memory_max} add up");
        Ok(Budget { memory_max, shares, slack })
    }

    /// librdkafka's `queued.max.messages.kbytes`: a quarter of the share, since the process grows by 3 to 3.7 times what
    /// the queue counts.
    pub fn kafka_queue_kbytes(&self) -> u64 {
        self.shares.get(Part::KafkaBuffers) / 4 / 1024
    }
}

/// What the parts hold now. Shared by all threads; each part is set or adjusted by its owner.
#[derive(Debug, Default)]
pub struct Account([AtomicU64; Part::ALL.len()]);

impl Account {
    pub fn set(&self, part: Part, bytes: u64) {
        self.0[part as usize].store(bytes, Ordering::Relaxed);
    }

    pub fn add(&self, part: Part, bytes: u64) {
        self.0[part as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    /// # Panics
    /// When more is given back than the part holds: an owner lost count.
    pub fn sub(&self, part: Part, bytes: u64) {
        let before = self.0[part as usize].fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "{} gave back {bytes} bytes and held {before}", part.name());
    }

    pub fn parts(&self) -> Parts {
        Parts(std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed)))
    }

    /// The first part that holds more than its share, with what it holds and what it may.
    pub fn over_budget(&self, budget: &Budget) -> Option<(Part, u64, u64)> {
        let held = self.parts();
        held.iter().map(|(part, bytes)| (part, bytes, budget.shares.get(part))).find(|(_, bytes, share)| bytes > share)
    }
}

/// What to do about memory, from nothing to the worst. Each asks for those before it as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pressure {
    None,
    /// Take data files out of the hot set, oldest event hour first.
    EvictHot,
    /// Read no further until a commit has set memory free: seal the open batch.
    PausePartitions,
    /// Everything is flushed and evicted, and it is still too much: stop with [`gave_up`].
    GiveUp,
}

/// Decides from what the parts hold, what the kernel counts (none where it can't be read) and the budget.
///
/// Eviction begins at 7/8 of `memory_max`, pausing at 15/16, or where a part is above its share. It gives up only above
/// `memory_max` with nothing left to flush or evict; since freed memory reaches the kernel late, the caller should see
/// that answer on several readings, with [`release_freed`] between them, before it stops.
pub fn pressure(held: &Parts, resident: Option<u64>, budget: &Budget) -> Pressure {
    let over_share = |part| held.get(part) > budget.shares.get(part);
    let used = resident.unwrap_or_else(|| held.total().saturating_add(budget.slack / 2));
    let can_yield = [Part::HotIds, Part::OpenBatch, Part::InFlight, Part::Parquet].iter().any(|p| held.get(*p) > 0);
    if used > budget.memory_max && !can_yield {
        return Pressure::GiveUp;
    }
    let batches_full = over_share(Part::OpenBatch) || over_share(Part::InFlight) || over_share(Part::Parquet);
    if used > budget.memory_max / 16 * 15 || batches_full {
        return Pressure::PausePartitions;
    }
    if used > budget.memory_max / 8 * 7 || over_share(Part::HotIds) {
        return Pressure::EvictHot;
    }
    Pressure::None
}

/// The stop for [`Pressure::GiveUp`].
pub fn gave_up(held: &Parts, resident: Option<u64>, budget: &Budget) -> Stop {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / MIB as f64);
    let used = resident.map_or_else(|| "an unknown amount".into(), mib);
    Stop::gave_up(
        format!(
            "the process holds {used} of limits.memory_max {} with all rows flushed and all ids evicted ({held})",
            mib(budget.memory_max)
        ),
        "raise limits.memory_max, or lower gold.batch_bytes_max and queued.max.messages.kbytes",
    )
}

/// Resident memory of this process in bytes, from the kernel; none where there is no `/proc`.
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    resident_pages(&statm)?.checked_mul(page_size()?)
}

/// The second field of `statm` (proc_pid_statm(5)): resident pages.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn page_size() -> Option<u64> {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok().filter(|size| *size > 0)
}

/// Asks the allocator to give freed memory back to the kernel. Takes milliseconds: under pressure only.
pub fn release_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim only returns free pages; it may be called from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::of(512 * MIB).unwrap()
    }

    #[test]
    fn the_shares_of_any_budget_add_up_and_leave_slack() {
        for memory_max in [MEMORY_MIN, MEMORY_MIN + 1, 512 * MIB, 512 * MIB + 31, 4096 * MIB, 1 << 40] {
            let budget = Budget::of(memory_max).unwrap();
            assert_eq!(budget.shares.total() + budget.slack, memory_max);
            assert!(budget.slack >= memory_max / 32 * 8);
            assert!(budget.shares.iter().all(|(_, bytes)| bytes > 0));
        }
        assert_eq!(Budget::of(MEMORY_MIN - 1), Err(TooSmall { given: MEMORY_MIN - 1 }));
    }

    #[test]
    fn the_default_budget_is_what_the_configuration_page_says() {
        let budget = budget();
        assert_eq!(budget.kafka_queue_kbytes(), 16 * 1024);
        assert_eq!(budget.shares.get(Part::OpenBatch), 64 * MIB);
        assert_eq!(budget.shares.get(Part::HotIds), 128 * MIB);
        assert_eq!(budget.shares.get(Part::IdCache), 16 * MIB);
    }

    #[test]
    fn what_is_left_by_capped_parts_goes_to_the_hot_ids() {
        let budget = Budget::of(32 << 30).unwrap();
        assert_eq!(budget.shares.get(Part::KafkaBuffers), 256 * MIB);
        assert!(budget.shares.get(Part::HotIds) > 8 << 30);
    }

    #[test]
    fn pressure_rises_with_resident_memory_and_never_gives_up_while_something_can_yield() {
        let held = Parts::default().with(Part::HotIds, MIB);
        let at = |resident_mib: u64| pressure(&held, Some(resident_mib * MIB), &budget());
        assert_eq!(at(100), Pressure::None);
        assert_eq!(at(448), Pressure::None);
        assert_eq!(at(449), Pressure::EvictHot);
        assert_eq!(at(481), Pressure::PausePartitions);
        assert_eq!(at(5000), Pressure::PausePartitions);
        assert_eq!(pressure(&Parts::default(), Some(512 * MIB), &budget()), Pressure::PausePartitions);
        assert_eq!(pressure(&Parts::default(), Some(512 * MIB + 1), &budget()), Pressure::GiveUp);
        for part in [Part::OpenBatch, Part::InFlight, Part::Parquet] {
            let held = Parts::default().with(part, 1);
            assert_eq!(pressure(&held, Some(600 * MIB), &budget()), Pressure::PausePartitions, "{part:?}");
        }
    }

    #[test]
    fn a_part_above_its_share_is_answered_also_when_the_kernel_is_content() {
        let budget = budget();
        for (part, expected) in [
            (Part::HotIds, Pressure::EvictHot),
            (Part::OpenBatch, Pressure::PausePartitions),
            (Part::InFlight, Pressure::PausePartitions),
            (Part::Parquet, Pressure::PausePartitions),
        ] {
            let share = budget.shares.get(part);
            assert_eq!(pressure(&Parts::default().with(part, share), Some(0), &budget), Pressure::None, "{part:?}");
            assert_eq!(pressure(&Parts::default().with(part, share + 1), Some(0), &budget), expected, "{part:?}");
        }
    }

    #[test]
    fn without_a_kernel_that_tells_the_parts_are_what_counts() {
        let full = Parts::default().with(Part::KafkaBuffers, 400 * MIB).with(Part::HotIds, MIB);
        assert_eq!(pressure(&full, None, &budget()), Pressure::EvictHot);
        assert_eq!(pressure(&Parts::default(), None, &budget()), Pressure::None);
    }

    #[test]
    fn the_account_names_the_part_that_is_over() {
        let account = Account::default();
        account.add(Part::OpenBatch, 64 * MIB);
        assert_eq!(account.over_budget(&budget()), None);
        account.add(Part::OpenBatch, 2);
        account.sub(Part::OpenBatch, 1);
        assert_eq!(account.over_budget(&budget()), Some((Part::OpenBatch, 64 * MIB + 1, 64 * MIB)));
        account.set(Part::OpenBatch, 0);
        assert_eq!(account.parts(), Parts::default());
    }

    #[test]
    #[should_panic(expected = "parquet gave back 2 bytes and held 1")]
    fn giving_back_more_than_was_taken_is_a_fault() {
        let account = Account::default();
        account.add(Part::Parquet, 1);
        account.sub(Part::Parquet, 2);
    }

    #[test]
    fn resident_memory_grows_with_what_is_touched() {
        assert_eq!(resident_pages("1000 250 30 4 0 100 0\n"), Some(250));
        assert_eq!(resident_pages(""), None);
        let before = resident_bytes().unwrap();
        let block = vec![1u8; 64 << 20];
        let after = resident_bytes().unwrap();
        assert!(after >= before + (32 << 20), "{before} {after} {}", block.len());
    }

    #[test]
    fn the_stop_names_the_parts_and_the_setting() {
        let held = Parts::default().with(Part::KafkaBuffers, 300 * MIB);
        let stop = gave_up(&held, Some(600 * MIB), &budget());
        assert_eq!(stop.exit, crate::error::Exit::GaveUp);
        assert!(stop.what.contains("600.0 MiB") && stop.what.contains("kafka_buffers 300.0 MiB"), "{stop}");
        assert!(stop.remedy.contains("limits.memory_max"));
    }
}
