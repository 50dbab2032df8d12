//! Ends the poll thread's waits.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use rdkafka::bindings as rdsys;

/// Ends the poll thread's waits, from any thread and at any time.
pub(super) struct Wake {
    queue: Mutex<Option<QueueRef>>,
    thread: OnceLock<Thread>,
}

struct QueueRef(NonNull<rdsys::rd_kafka_queue_t>);
// SAFETY: used only for `rd_kafka_queue_yield`, which may be called from any thread.
unsafe impl Send for QueueRef {}

impl Wake {
    /// # Safety
    /// `queue` is live until `disconnect` has returned.
    pub unsafe fn of(queue: NonNull<rdsys::rd_kafka_queue_t>) -> Self {
        Self { queue: Mutex::new(Some(QueueRef(queue))), thread: OnceLock::new() }
    }

    /// The calling thread is the one that waits.
    pub fn belongs_to_this_thread(&self) {
        self.thread.get_or_init(std::thread::current);
    }

    pub fn now(&self) {
        if let Some(QueueRef(queue)) = &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            // SAFETY: the queue is freed only after `disconnect`, which waits for this lock.
            unsafe { rdsys::rd_kafka_queue_yield(queue.as_ptr()) };
        }
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Before the queue is freed.
    pub fn disconnect(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl std::task::Wake for Wake {
    fn wake(self: Arc<Self>) {
        self.now();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.now();
    }
}
