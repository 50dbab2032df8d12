//! Events on their way to the pipeline, over a bounded channel that never blocks the poll thread.
//!
//! Control events (assigned, revoked, down, …) overtake records: a revoke must not wait behind what a slow pipeline
//! hasn't taken. That is safe because a record only follows the answer to its `Assigned`, and records of a partition are
//! dropped here when its `Revoked` goes in, or when it is repositioned.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};

use super::chunks::chunk_bytes;
use crate::ports::SourceEvent;
use crate::types::*;

/// Events in the channel; a record event is a chunk of up to a megabyte.
pub(super) const CHANNEL_EVENTS: usize = 16;

type Permit = mpsc::OwnedPermit<SourceEvent>;
type Reserving = Pin<Box<dyn Future<Output = Result<Permit, SendError<()>>> + Send>>;

pub(super) struct Outbox {
    sender: mpsc::Sender<SourceEvent>,
    /// The wait for room in the channel, while it is full.
    reserving: Option<Reserving>,
    control: VecDeque<SourceEvent>,
    data: VecDeque<(SourceEvent, u64)>,
    data_bytes: u64,
    /// Sizes of the events in the channel, oldest first; never fewer than are really there.
    sent: VecDeque<u64>,
    sent_bytes: u64,
    /// What the outside sees.
    buffered: Arc<AtomicU64>,
}

impl Outbox {
    pub fn new(buffered: Arc<AtomicU64>) -> (Self, mpsc::Receiver<SourceEvent>) {
        let (sender, receiver) = mpsc::channel(CHANNEL_EVENTS);
        let outbox = Self {
            sender,
            reserving: None,
            control: VecDeque::new(),
            data: VecDeque::new(),
            data_bytes: 0,
            sent: VecDeque::new(),
            sent_bytes: 0,
            buffered,
        };
        (outbox, receiver)
    }

    /// For the last words of a thread that dies.
    pub fn sender(&self) -> mpsc::WeakSender<SourceEvent> {
        self.sender.downgrade()
    }

    pub fn push_control(&mut self, event: SourceEvent) {
        self.control.push_back(event);
    }

    /// Records, log ends and what else belongs to one partition's sequence.
    pub fn push_data(&mut self, event: SourceEvent) {
        let bytes = match &event {
            SourceEvent::Records { chunk, .. } => chunk_bytes(chunk),
            _ => 0,
        };
        self.data_bytes += bytes;
        self.data.push_back((event, bytes));
        self.publish();
    }

    /// Keeps the partition events that `keep` accepts.
    pub fn retain_data(&mut self, keep: impl Fn(&TopicPartition, Epoch) -> bool) {
        self.data.retain(|(event, _)| match event {
            SourceEvent::Records { partition, epoch, .. }
            | SourceEvent::EndOfPartition { partition, epoch, .. }
            | SourceEvent::OutOfRange { partition, epoch, .. } => keep(partition, *epoch),
            _ => true,
        });
        self.data_bytes = self.data.iter().map(|(_, bytes)| bytes).sum();
        self.publish();
    }

    /// Bytes of records that the pipeline hasn't taken, in the channel and before it.
    pub fn bytes(&mut self) -> u64 {
        let in_channel = self.sender.max_capacity() - self.sender.capacity();
        while self.sent.len() > in_channel {
            self.sent_bytes -= self.sent.pop_front().expect("longer than in_channel, so not empty");
        }
        self.publish();
        self.sent_bytes + self.data_bytes
    }

    /// Sends what the channel takes; where it is full, `waker` is called when there is room again.
    pub fn flush(&mut self, waker: &Waker) {
        while !self.is_empty() {
            let Some(permit) = self.permit(waker) else { return };
            let (event, bytes) = match self.control.pop_front() {
                Some(event) => (event, 0),
                None => self.data.pop_front().expect("not empty, and without control events"),
            };
            self.data_bytes -= bytes;
            self.sent_bytes += bytes;
            self.sent.push_back(bytes);
            permit.send(event);
        }
        self.bytes();
    }

    pub fn is_empty(&self) -> bool {
        self.control.is_empty() && self.data.is_empty()
    }

    /// Nobody receives any more.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    fn permit(&mut self, waker: &Waker) -> Option<Permit> {
        if self.reserving.is_none() {
            match self.sender.clone().try_reserve_owned() {
                Ok(permit) => return Some(permit),
                Err(TrySendError::Closed(_)) => return None,
                Err(TrySendError::Full(sender)) => self.reserving = Some(Box::pin(sender.reserve_owned())),
            }
        }
        let reserving = self.reserving.as_mut()?;
        match reserving.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Pending => None,
            Poll::Ready(permit) => {
                self.reserving = None;
                permit.ok()
            }
        }
    }

    fn publish(&self) {
        self.buffered.store(self.sent_bytes + self.data_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::RecordChunk;

    fn records(partition: i32, epoch: u64, bytes: usize) -> SourceEvent {
        let chunk = RecordChunk { data: vec![0; bytes], ..RecordChunk::default() };
        SourceEvent::Records { partition: TopicPartition::new("t", partition), epoch: Epoch(epoch), chunk }
    }
    fn shown(event: &SourceEvent) -> String {
        match event {
            SourceEvent::Records { partition, epoch, .. } => format!("{partition}@{}", epoch.0),
            other => format!("{other:?}").split([' ', '{']).next().unwrap_or_default().to_owned(),
        }
    }
    fn outbox() -> (Outbox, mpsc::Receiver<SourceEvent>, Arc<AtomicU64>) {
        let buffered = Arc::new(AtomicU64::new(0));
        let (outbox, receiver) = Outbox::new(buffered.clone());
        (outbox, receiver, buffered)
    }
    fn drain(receiver: &mut mpsc::Receiver<SourceEvent>) -> Vec<String> {
        std::iter::from_fn(|| receiver.try_recv().ok()).map(|event| shown(&event)).collect()
    }

    #[test]
    fn a_revoke_overtakes_records_that_a_slow_pipeline_has_not_taken() {
        let (mut outbox, mut receiver, _) = outbox();
        outbox.push_data(records(0, 1, 1));
        outbox.push_data(records(1, 1, 1));
        outbox.push_control(SourceEvent::Up);
        outbox.flush(Waker::noop());
        assert_eq!(drain(&mut receiver), ["Up", "t:0@1", "t:1@1"]);
    }

    #[test]
    fn bytes_count_until_the_pipeline_takes_them() {
        let (mut outbox, mut receiver, buffered) = outbox();
        for _ in 0..CHANNEL_EVENTS + 3 {
            outbox.push_data(records(0, 1, 100));
        }
        outbox.flush(Waker::noop());
        let all = 100 * (CHANNEL_EVENTS as u64 + 3);
        assert_eq!((outbox.bytes(), buffered.load(Ordering::Relaxed)), (all, all));
        assert!(!outbox.is_empty(), "the channel holds {CHANNEL_EVENTS}");
        drain(&mut receiver);
        outbox.flush(Waker::noop());
        assert_eq!(outbox.bytes(), 300);
        drain(&mut receiver);
        assert_eq!((outbox.bytes(), buffered.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn what_was_repositioned_is_no_longer_sent() {
        let (mut outbox, mut receiver, _) = outbox();
        for (partition, epoch) in [(0, 1), (1, 1), (0, 2)] {
            outbox.push_data(records(partition, epoch, 10));
        }
        outbox.retain_data(|partition, epoch| partition.partition == 1 || epoch == Epoch(2));
        assert_eq!(outbox.bytes(), 20);
        outbox.flush(Waker::noop());
        assert_eq!(drain(&mut receiver), ["t:1@1", "t:0@2"]);
    }

    #[test]
    fn room_in_the_channel_wakes_the_sender() {
        struct Flag(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let flag = Arc::new(Flag(false.into()));
        let waker = Waker::from(flag.clone());
        let (mut outbox, mut receiver, _) = outbox();
        for _ in 0..=CHANNEL_EVENTS {
            outbox.push_data(records(0, 1, 1));
        }
        outbox.flush(&waker);
        assert!(!flag.0.load(Ordering::SeqCst));
        receiver.try_recv().unwrap();
        assert!(flag.0.load(Ordering::SeqCst));
        outbox.flush(&waker);
        assert!(outbox.is_empty());
    }

    #[test]
    fn an_abandoned_channel_is_noticed() {
        let (mut outbox, receiver, _) = outbox();
        drop(receiver);
        outbox.push_data(records(0, 1, 1));
        outbox.flush(Waker::noop());
        assert!(outbox.is_abandoned());
    }
}
