//! SIGINT and SIGTERM for commands that finish what is under way first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a command that was interrupted ends with, as a shell reports a process that SIGINT ended.
pub const EXIT_CODE: u8 = 130;

/// SIGINT and SIGTERM, caught from the moment of listening.
pub struct Signals {
    /// None where handlers can't be set: then the signals end the process at once, as they do by default.
    streams: Option<(Signal, Signal)>,
}

impl Signals {
    pub fn listen() -> Self {
        let streams = signal(SignalKind::interrupt()).and_then(|i| Ok((i, signal(SignalKind::terminate())?)));
        Self { streams: streams.ok() }
    }

    /// The next of either.
    pub async fn next(&mut self) {
        let Some((interrupt, terminate)) = &mut self.streams else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// True after the first signal; a second one ends the process at once.
pub fn flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let mut signals = Signals::listen();
    tokio::spawn(async move {
        signals.next().await;
        raised.store(true, Ordering::Relaxed);
        signals.next().await;
        std::process::exit(EXIT_CODE.into());
    });
    flag
}
