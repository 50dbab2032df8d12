//! Brings the ids of live files into memory, one file after the other, beside everything else: from the store where it
//! has them, else from the table's message_id column.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::core::instance::Event;
#[cfg(feature = "planted-bugs")]
use crate::core::planted::{Bug, planted};
use crate::core::table::LiveFile;
use crate::pipeline::effects::Ports;
use crate::pipeline::report::Telemetry;
use crate::ports::{Clock, FileIds, PortError};
use crate::telemetry::metrics::LoadSource;
use crate::types::*;

pub struct Cover {
    wanted: BTreeSet<FilePath>,
    queue: mpsc::UnboundedSender<LiveFile>,
    covered: mpsc::Receiver<(FilePath, Option<FileIds>)>,
    /// What was read since the queue was last empty, and since when.
    files: u64,
    ids: u64,
    since_ms: u64,
    clock: Arc<dyn Clock>,
}

impl Cover {
    pub fn start(ports: Ports, telemetry: Telemetry) -> Self {
        let (queue, mut files) = mpsc::unbounded_channel::<LiveFile>();
        let (covered_to, covered) = mpsc::channel(2);
        let clock = ports.clock.clone();
        tokio::spawn(async move {
            #[cfg(feature = "planted-bugs")]
            let mut first = true;
            while let Some(file) = files.recv().await {
                #[cfg(feature = "planted-bugs")]
                if planted(Bug::SeenBeforeCommit) && std::mem::take(&mut first) {
                    for (path, ids) in everything_stored(&ports).await {
                        let _ = covered_to.send((path, Some(ids))).await;
                    }
                }
                let ids = load(&ports, &telemetry, &file).await;
                if covered_to.send((file.path, ids)).await.is_err() {
                    return;
                }
            }
        });
        Self { wanted: BTreeSet::new(), queue, covered, files: 0, ids: 0, since_ms: 0, clock }
    }

    pub fn want(&mut self, files: Vec<LiveFile>) {
        if self.wanted.is_empty() {
            self.since_ms = self.clock.monotonic_ms();
        }
        for file in files {
            if self.wanted.insert(file.path.clone()) {
                // the worker ends only with this value
                let _ = self.queue.send(file);
            }
        }
    }

    /// The next file that is covered; one that could not be read is asked for again by the core, and probed meanwhile.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let (path, ids) = self.covered.recv().await?;
            self.wanted.remove(&path);
            self.files += u64::from(ids.is_some());
            self.ids += ids.as_ref().map_or(0, Vec::len) as u64;
            if self.wanted.is_empty() {
                let took_ms = self.clock.monotonic_ms() - self.since_ms;
                tracing::info!(
                    event = "dedup.synced",
                    files = self.files,
                    ids = self.ids,
                    took_ms,
                    "ids of live files are in memory"
                );
                (self.files, self.ids) = (0, 0);
            }
            if let Some(ids) = ids {
                let Some(hour) = ids.first().map(|(_, hour)| *hour) else { continue };
                let ids = ids.into_iter().filter(|(_, h)| *h == hour).map(|(id, _)| id).collect();
                return Some(Event::Covered { path, hour, ids });
            }
        }
    }
}

/// For the bug that believes it: whatever the store holds, in the table or not.
#[cfg(feature = "planted-bugs")]
async fn everything_stored(ports: &Ports) -> Vec<(FilePath, FileIds)> {
    let paths = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = paths.clone();
    let note = move |path: &str| {
        seen.lock().expect("nobody panics here").push(FilePath::from(path));
        true
    };
    ports.store.sweep(Box::new(note)).await;
    let paths: Vec<FilePath> = std::mem::take(&mut *paths.lock().expect("nobody panics here"));
    let mut all = Vec::new();
    for path in paths {
        all.extend(ports.store.get(&path).await.map(|ids| (path, ids)));
    }
    all
}

async fn load(ports: &Ports, telemetry: &Telemetry, file: &LiveFile) -> Option<FileIds> {
    if let Some(ids) = ports.store.get(&file.path).await {
        telemetry.file_loaded(LoadSource::Sled);
        return Some(ids);
    }
    match ports.files.read_ids(file).await {
        Ok(ids) => {
            telemetry.file_loaded(LoadSource::Column);
            ports.store.put(&file.path, ids.clone()).await;
            Some(ids)
        }
        Err(PortError::Down(down)) => {
            tracing::warn!(file = %file.path, reason = down.reason, "ids of a data file could not be read; it is probed instead");
            None
        }
        Err(PortError::Stop(stop)) => {
            tracing::warn!(file = %file.path, reason = stop.what, "ids of a data file could not be read; it is probed instead");
            None
        }
    }
}
