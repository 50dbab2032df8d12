//! When a refusal of the store is the operator's mistake, and when it is a fault that passes.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::storage::{ObjectStore, StorageError};

/// A store that refuses before it took its first write is configured wrongly. One that took a write and refuses now, say a
/// volume that was remounted read-only, is down: the configuration was right, and waiting helps once somebody mended it.
#[derive(Debug, Default)]
pub struct ProvenStore<S> {
    store: S,
    proven: AtomicBool,
}

impl<S> ProvenStore<S> {
    pub fn new(store: S) -> Self {
        Self { store, proven: AtomicBool::new(false) }
    }

    fn judged<T>(&self, answer: Result<T, StorageError>) -> Result<T, StorageError> {
        match answer {
            Err(StorageError::Refused { path, reason }) if self.proven.load(Ordering::Relaxed) => {
                Err(StorageError::Unavailable { path, reason })
            }
            answer => answer,
        }
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for ProvenStore<S> {
    async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError> {
        let answer = self.store.put(path, content).await;
        self.proven.fetch_or(answer.is_ok(), Ordering::Relaxed);
        self.judged(answer)
    }

    async fn get(&self, path: &str) -> Result<Bytes, StorageError> {
        self.judged(self.store.get(path).await)
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.judged(self.store.get_range(path, range).await)
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        self.judged(self.store.size(path).await)
    }

    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.judged(self.store.delete(path).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::ports::PortError;

    /// Takes writes and reads while it is not told to refuse.
    #[derive(Default)]
    struct Fickle {
        refuses: AtomicBool,
    }

    impl Fickle {
        fn answer<T>(&self, path: &str, good: T) -> Result<T, StorageError> {
            match self.refuses.load(Ordering::Relaxed) {
                true => Err(StorageError::Refused { path: path.into(), reason: "read-only file system".into() }),
                false => Ok(good),
            }
        }
    }

    #[async_trait]
    impl ObjectStore for Fickle {
        async fn put(&self, path: &str, _: Bytes) -> Result<(), StorageError> {
            self.answer(path, ())
        }
        async fn get(&self, path: &str) -> Result<Bytes, StorageError> {
            self.answer(path, Bytes::new())
        }
        async fn get_range(&self, path: &str, _: Range<u64>) -> Result<Bytes, StorageError> {
            self.answer(path, Bytes::new())
        }
        async fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
            self.answer(path, None)
        }
        async fn delete(&self, path: &str) -> Result<(), StorageError> {
            self.answer(path, ())
        }
    }

    /// A warehouse that was remounted read-only ended the service with exit 2, a full disk did not.
    #[tokio::test]
    async fn a_refusal_is_the_operators_before_the_first_write_and_a_fault_that_passes_after_it() {
        let store = ProvenStore::new(Fickle { refuses: true.into() });
        let early = PortError::from(store.put("/lake/a", Bytes::new()).await.unwrap_err());
        assert!(matches!(&early, PortError::Stop(stop) if stop.exit == Exit::Usage), "{early}");

        store.store.refuses.store(false, Ordering::Relaxed);
        store.get("/lake/a").await.unwrap();
        store.store.refuses.store(true, Ordering::Relaxed);
        let read_only = PortError::from(store.put("/lake/a", Bytes::new()).await.unwrap_err());
        assert!(matches!(read_only, PortError::Stop(_)), "a read proves nothing about writing");

        store.store.refuses.store(false, Ordering::Relaxed);
        store.put("/lake/a", Bytes::new()).await.unwrap();
        store.store.refuses.store(true, Ordering::Relaxed);
        for late in [store.put("/lake/b", Bytes::new()).await, store.size("/lake/b").await.map(|_| ())] {
            let late = PortError::from(late.unwrap_err());
            let PortError::Down(down) = &late else { panic!("{late}") };
            assert_eq!(down.dependency, "object store");
            assert!(down.reason.contains("read-only"), "{down}");
        }
    }
}
