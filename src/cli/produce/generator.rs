//! Which record comes when: a pure function of the seed and the record's number.

use super::draw::Draw;
use super::trade::Trade;
use crate::types::Micros;

/// What is generated. Shares are of all records and add up to at most 1.
#[derive(Clone, PartialEq, Debug)]
pub struct Spec {
    pub seed: u64,
    /// Never empty, each with at least one partition.
    pub topics: Vec<TopicLayout>,
    /// Event time of the first record.
    pub start: Micros,
    /// Event time from one record to the next, in nanoseconds.
    pub step_nanos: u64,
    pub duplicates: f64,
    pub late: f64,
    pub malformed: f64,
    /// Whether unknown schema ids are among the malformed: each costs a reader the time of asking for it.
    pub unknown_schema_ids: bool,
    /// Greatest distance by which event times are out of order.
    pub out_of_order: Micros,
    /// How far the last partition is behind the others, so that a copy of its trades in another partition is late there
    /// before it is on time here. 0 switches it off.
    pub straggler: Micros,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicLayout {
    pub name: String,
    pub partitions: i32,
}

/// What a record was made to be. Whether it *is* late depends on what its partition holds before it, which the ledger
/// tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A new trade, on time.
    Fresh,
    /// A trade that an earlier record carries already.
    Duplicate,
    /// A new trade from days ago, or a copy of a trade that is still to come in a partition that is behind.
    Late,
    Malformed(Malformed),
}

impl Kind {
    /// In the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Malformed(way) => way.name(),
        }
    }
}

/// The ways in which a record can be no trade.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Malformed {
    /// The first byte is not 0.
    BadMagic,
    /// Cut off somewhere.
    Truncated,
    /// An index beyond the symbols of an enum.
    EnumIndex,
    /// A text that is not UTF-8.
    Utf8,
    /// A length far beyond the record.
    LengthBomb,
    /// A number of more than 64 bits.
    Overflow,
    /// Bytes behind the body.
    Trailing,
    /// A value of no bytes.
    Empty,
    /// No value: a tombstone.
    Null,
    EmptyMessageId,
    /// An event time in the year 2300.
    Future,
    /// Milliseconds taken for microseconds, or a time before 1970.
    Past,
    /// A schema id that no registry gave.
    UnknownSchemaId,
}

impl Malformed {
    pub const ALL: [Self; 13] = [
        Self::BadMagic,
        Self::Truncated,
        Self::EnumIndex,
        Self::Utf8,
        Self::LengthBomb,
        Self::Overflow,
        Self::Trailing,
        Self::Empty,
        Self::Null,
        Self::EmptyMessageId,
        Self::Future,
        Self::Past,
        Self::UnknownSchemaId,
    ];

    /// In the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadMagic => "malformed:bad_magic",
            Self::Truncated => "malformed:truncated",
            Self::EnumIndex => "malformed:enum_index",
            Self::Utf8 => "malformed:utf8",
            Self::LengthBomb => "malformed:length_bomb",
            Self::Overflow => "malformed:overflow",
            Self::Trailing => "malformed:trailing",
            Self::Empty => "malformed:empty",
            Self::Null => "malformed:null",
            Self::EmptyMessageId => "malformed:empty_message_id",
            Self::Future => "malformed:future",
            Self::Past => "malformed:past",
            Self::UnknownSchemaId => "malformed:unknown_schema_id",
        }
    }
}

/// The writer's schema of a record. Which of them a copy has is drawn anew, so that copies differ in their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Version {
    /// `schemas/trade_v2.avsc`.
    Plain,
    /// As the Silver layer writes: other order of fields and enum symbols, three more fields.
    Silver,
    /// Without the fields that have a default, trade_conditions and vendor_data.
    Lean,
}

impl Version {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Silver, Self::Lean];
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GeneratedRecord {
    /// Counted from 0 in the order of sending.
    pub number: u64,
    /// Place in `Spec::topics`.
    pub topic: usize,
    pub partition: i32,
    /// The record's Kafka timestamp: the event time at which it would have been on time, in milliseconds.
    pub timestamp_ms: i64,
    pub kind: Kind,
    /// The record that carries the same trade: an earlier one for a duplicate, a later one for a late copy.
    pub of: Option<u64>,
    /// What is encoded, before it is damaged where the kind is malformed.
    pub trade: Trade,
    pub version: Version,
}

const MICROS_PER_DAY: u64 = 86_400_000_000;
/// 2300-01-01T00:00:00Z.
const YEAR_2300: Micros = 10_413_792_000_000_000;
/// One in so many late records is a copy of a trade that is still to come.
const LATE_COPIES: u64 = 8;
/// How far ahead such a trade is looked for, in records.
const LATE_COPY_AHEAD: u64 = 1_000;
/// And in event time, so that the copy is behind its partition by more than any usual delay.
const LATE_COPY_AHEAD_MICROS: u64 = 300_000_000;

/// Streams of randomness, one a purpose.
const ROLE: u64 = 1;
const CONTENT: u64 = 2;
const TIME: u64 = 3;
const COPY: u64 = 4;

/// What a record is, before its content is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Fresh,
    Late,
    LateCopy { of: u64 },
    Duplicate { of: u64 },
    Malformed(Malformed),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    topic: usize,
    partition: i32,
}

/// Makes any record by its number, in any order.
#[derive(Clone, Debug)]
pub struct Generator {
    spec: Spec,
    straggler: Option<Place>,
}

impl Generator {
    pub fn new(spec: Spec) -> Self {
        assert!(!spec.topics.is_empty() && spec.topics.iter().all(|t| t.partitions > 0), "no partition: {:?}", spec.topics);
        let partitions: i32 = spec.topics.iter().map(|topic| topic.partitions).sum();
        let last = Place { topic: spec.topics.len() - 1, partition: spec.topics[spec.topics.len() - 1].partitions - 1 };
        let straggler = (spec.straggler > 0 && spec.late > 0.0 && partitions > 1).then_some(last);
        Self { spec, straggler }
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    pub fn record(&self, number: u64) -> GeneratedRecord {
        let mut draw = Draw::of(self.spec.seed, COPY, number);
        let version = drawn_version(&mut draw);
        let own = self.place(number);
        let (kind, of, place, version) = match self.role(number) {
            Role::Fresh => (Kind::Fresh, None, own, version),
            Role::Late => (Kind::Late, None, own, version),
            Role::LateCopy { of } => (Kind::Late, Some(of), own, version),
            Role::Malformed(how) => (Kind::Malformed(how), None, own, version),
            Role::Duplicate { of } => {
                let original = drawn_version(&mut Draw::of(self.spec.seed, COPY, of));
                let version = if draw.below(2) == 0 { original } else { version };
                (Kind::Duplicate, Some(of), self.place_of_copy(&mut draw, self.place(of)), version)
            }
        };
        GeneratedRecord {
            number,
            topic: place.topic,
            partition: place.partition,
            timestamp_ms: self.clock(number) / 1_000,
            kind,
            of,
            trade: self.trade(of.unwrap_or(number)),
            version,
        }
    }

    /// When the record `number` is sent if nothing is late.
    fn clock(&self, number: u64) -> Micros {
        let passed = u128::from(number) * u128::from(self.spec.step_nanos) / 1_000;
        self.spec.start + passed as Micros
    }

    fn role(&self, number: u64) -> Role {
        let mut draw = Draw::of(self.spec.seed, ROLE, number);
        let spec = &self.spec;
        let share = draw.unit();
        if share < spec.malformed {
            let kinds = if spec.unknown_schema_ids { Malformed::ALL.len() } else { Malformed::ALL.len() - 1 };
            return Role::Malformed(Malformed::ALL[draw.below(kinds as u64) as usize]);
        }
        if share < spec.malformed + spec.late {
            let copied = draw.one_in(LATE_COPIES).then(|| self.trade_to_come(number)).flatten();
            return copied.map_or(Role::Late, |of| Role::LateCopy { of });
        }
        if share < spec.malformed + spec.late + spec.duplicates {
            return self.earlier_trade(&mut draw, number).map_or(Role::Fresh, |of| Role::Duplicate { of });
        }
        Role::Fresh
    }

    /// The role of a fresh record, judged by its share alone.
    fn is_fresh(&self, number: u64) -> bool {
        let share = Draw::of(self.spec.seed, ROLE, number).unit();
        share >= self.spec.malformed + self.spec.late + self.spec.duplicates
    }

    /// Fresh, or late without being a copy: what duplicates are made of.
    fn brings_a_trade(&self, number: u64) -> bool {
        let mut draw = Draw::of(self.spec.seed, ROLE, number);
        let share = draw.unit();
        let late = (self.spec.malformed..self.spec.malformed + self.spec.late).contains(&share);
        self.is_fresh(number) || late && !draw.one_in(LATE_COPIES)
    }

    /// An earlier record with a trade of its own: mostly a recent one, now and then any.
    fn earlier_trade(&self, draw: &mut Draw, number: u64) -> Option<u64> {
        let reach = match draw.below(10) {
            0..=5 => 1_000,
            6..=8 => 100_000,
            _ => u64::MAX,
        };
        let back = 1 + draw.below(reach.min(number));
        let from = number.checked_sub(back)?;
        (0..=from).rev().take(10_000).find(|earlier| self.brings_a_trade(*earlier))
    }

    /// The next fresh record of the partition that is behind, when it is near.
    fn trade_to_come(&self, number: u64) -> Option<u64> {
        let straggler = self.straggler?;
        if self.place(number) == straggler {
            return None;
        }
        let near = (LATE_COPY_AHEAD_MICROS * 1_000 / self.spec.step_nanos.max(1)).min(LATE_COPY_AHEAD);
        (number + 1..=number + near).find(|later| self.place(*later) == straggler && self.is_fresh(*later))
    }

    fn place(&self, number: u64) -> Place {
        let mut draw = Draw::of(self.spec.seed, TIME, number);
        let topic = draw.below(self.spec.topics.len() as u64) as usize;
        Place { topic, partition: draw.below(self.spec.topics[topic].partitions as u64) as i32 }
    }

    /// A third each: same partition, another partition of the topic, another topic; where there is no other, the same.
    /// Nothing that is ahead goes to the partition that is behind: it would make all that follows there late.
    fn place_of_copy(&self, draw: &mut Draw, original: Place) -> Place {
        let drawn = match draw.below(3) {
            1 => self.other_partition(draw, original),
            2 => self.other_topic(draw, original),
            _ => original,
        };
        if Some(drawn) == self.straggler { original } else { drawn }
    }

    fn other_partition(&self, draw: &mut Draw, Place { topic, partition }: Place) -> Place {
        let partitions = self.spec.topics[topic].partitions;
        let others = partitions as u64 - 1;
        let step = if others == 0 { 0 } else { 1 + draw.below(others) as i32 };
        Place { topic, partition: (partition + step) % partitions }
    }

    fn other_topic(&self, draw: &mut Draw, original: Place) -> Place {
        let topics = self.spec.topics.len();
        if topics == 1 {
            return original;
        }
        let topic = (original.topic + 1 + draw.below(topics as u64 - 1) as usize) % topics;
        Place { topic, partition: draw.below(self.spec.topics[topic].partitions as u64) as i32 }
    }

    /// The trade that the record `number` brings, whoever copies it.
    fn trade(&self, number: u64) -> Trade {
        let place = self.place(number);
        let clock = self.clock(number);
        let mut draw = Draw::of(self.spec.seed, CONTENT, number);
        let timestamp = self.event_time(&mut draw, number, place, clock);
        let received = clock + 1_000 + draw.below(250_000) as Micros;
        let mut trade = Trade::make(&mut draw, number, place.topic, timestamp, received);
        if self.role(number) == Role::Malformed(Malformed::EmptyMessageId) {
            trade.message_id.clear();
        }
        trade
    }

    fn event_time(&self, draw: &mut Draw, number: u64, place: Place, clock: Micros) -> Micros {
        let shuffled = clock - draw.below(self.spec.out_of_order as u64 + 1) as Micros;
        match self.role(number) {
            Role::Late => shuffled - (MICROS_PER_DAY + draw.below(4 * MICROS_PER_DAY)) as Micros,
            Role::Malformed(Malformed::Future) => YEAR_2300 + draw.below(MICROS_PER_DAY) as Micros,
            Role::Malformed(Malformed::Past) => match draw.below(2) {
                0 => shuffled / 1_000,
                _ => -1 - draw.below(MICROS_PER_DAY) as Micros,
            },
            _ if Some(place) == self.straggler => shuffled - self.spec.straggler,
            _ => shuffled,
        }
    }
}

/// Two in five as Silver writes, two plain, one lean.
fn drawn_version(draw: &mut Draw) -> Version {
    draw.pick(&[Version::Silver, Version::Silver, Version::Plain, Version::Plain, Version::Lean])
}

#[cfg(test)]
mod tests;
