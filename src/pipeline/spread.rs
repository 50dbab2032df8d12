//! Times of the rows of a batch, for the latency histograms: few enough to keep, spread evenly over all of them.

use crate::types::*;

/// More rows are thinned out. Even, so that every other one can go.
const KEPT_MAX: usize = 1024;

/// When a row happened and when it reached Kafka.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowTimes {
    pub hour: EventHour,
    pub id: MessageId,
    pub event_time: Micros,
    pub broker_ms: Option<i64>,
}

/// The first row and every `every`-th behind it, whatever their number; `every` doubles when there are too many.
pub struct Spread {
    kept: Vec<RowTimes>,
    every: usize,
    rows: usize,
}

impl Default for Spread {
    fn default() -> Self {
        Self { kept: Vec::new(), every: 1, rows: 0 }
    }
}

impl Spread {
    pub fn add(&mut self, row: RowTimes) {
        if self.rows.is_multiple_of(self.every) && self.kept.len() == KEPT_MAX {
            self.kept = self.kept.iter().step_by(2).copied().collect();
            self.every *= 2;
        }
        if self.rows.is_multiple_of(self.every) {
            self.kept.push(row);
        }
        self.rows += 1;
    }

    /// The rows that were kept, each with the number of rows that it stands for: itself and those up to the next one.
    pub fn weighted(&self) -> impl Iterator<Item = (&RowTimes, u64)> {
        self.kept.iter().enumerate().map(|(i, row)| (row, self.every.min(self.rows - i * self.every) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(rows: usize) -> Vec<(i64, u64)> {
        let mut spread = Spread::default();
        for i in 0..rows {
            let event_time = i as i64;
            spread.add(RowTimes { hour: EventHour(0), id: MessageId(i as u128), event_time, broker_ms: None });
        }
        spread.weighted().map(|(row, rows)| (row.event_time, rows)).collect()
    }

    /// The first 512 rows of a batch once stood for all of it: in a batch that is read from the log's beginning those are
    /// the oldest, and the latencies of all others were never seen.
    #[test]
    fn what_is_kept_of_a_batch_stands_for_every_part_of_it() {
        for rows in [0, 1, 2, KEPT_MAX, KEPT_MAX + 1, 3 * KEPT_MAX, 100_000, 131_072, 1_000_003] {
            let kept = spread(rows);
            assert!(kept.len() <= KEPT_MAX && kept.len() >= rows.min(KEPT_MAX / 2), "{rows}: {}", kept.len());
            assert_eq!(kept.iter().map(|(_, rows)| rows).sum::<u64>(), rows as u64, "every row is stood for");
            for tenth in 0..if rows < 1_000 { 0 } else { 10 } {
                let (from, to) = (rows * tenth / 10, rows * (tenth + 1) / 10);
                let of_tenth = kept.iter().filter(|(at, _)| (from..to).contains(&(*at as usize)));
                let share = of_tenth.map(|(_, rows)| rows).sum::<u64>() as f64 / rows as f64;
                assert!((share - 0.1).abs() < 0.005, "tenth {tenth} of {rows} rows has a share of {share}");
            }
        }
    }

    #[test]
    fn a_small_batch_is_kept_whole() {
        assert_eq!(spread(3), [(0, 1), (1, 1), (2, 1)]);
    }
}
