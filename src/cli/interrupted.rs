//! SIGINT and SIGTERM for commands that finish what is under way first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// What a command that was interrupted ends with, as a shell reports a process that SIGINT ended.
pub const EXIT_CODE: u8 = 130;

/// Waits for the first SIGINT or SIGTERM.
pub async fn wait() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        // Without handlers the signals end the process at once, as they do by default.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// True after the first signal; a second one ends the process at once.
pub fn flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    tokio::spawn(async move {
        wait().await;
        raised.store(true, Ordering::Relaxed);
        wait().await;
        std::process::exit(EXIT_CODE.into());
    });
    flag
}
