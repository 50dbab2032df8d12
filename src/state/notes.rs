//! The state directory behind [`ports::Notes`](crate::ports::Notes): its files are synced, so each call runs beside the loop.

use std::sync::Arc;

use async_trait::async_trait;

use crate::ports::{Known, Notes};
use crate::state::dir::StateDir;

pub struct NotesOnDisk(pub Arc<StateDir>);

impl NotesOnDisk {
    async fn beside<T: Send + 'static>(&self, work: impl FnOnce(&StateDir) -> T + Send + 'static) -> Option<T> {
        let dir = self.0.clone();
        tokio::task::spawn_blocking(move || work(&dir)).await.ok()
    }
}

#[async_trait]
impl Notes for NotesOnDisk {
    async fn known(&self) -> Option<Known> {
        self.beside(StateDir::known).await.flatten()
    }

    async fn remember(&self, known: Known) {
        self.beside(move |dir| dir.remember(&known)).await;
    }

    async fn clear_stop(&self) {
        self.beside(StateDir::clear_stop).await;
    }
}
