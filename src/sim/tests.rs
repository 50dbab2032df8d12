use crate::sim::campaign::{self, Campaign};

fn campaign(seeds: u64, twice: bool) -> campaign::Summary {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    campaign::run(&Campaign { first_seed: 0, seeds, threads, twice, stop_at_first: false }, &|_| {})
}

#[test]
fn the_same_seed_is_the_same_history() {
    let summary = campaign(150, true);
    assert_eq!((summary.seeds, summary.undetermined), (150, vec![]));
}

#[test]
fn the_first_seeds_break_nothing_and_try_everything() {
    let summary = campaign(1_000, false);
    assert!(summary.broken.is_empty(), "{:?}", summary.broken);
    let stats = summary.stats;
    let tried = [stats.crashes, stats.ambiguous, stats.stops, stats.snapshots];
    assert!(tried.iter().all(|count| *count > 200), "{stats:?}");
}
