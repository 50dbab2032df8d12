//! The service as a process of its own: started, killed, stopped.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::error::Stop;

/// Between two looks at a process that is to end.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How many lines of the log are shown when the process ended by itself.
const LOG_LINES_SHOWN: usize = 8;

/// Makes the command that starts the service.
pub type Launch = Box<dyn Fn() -> Command + Send>;

/// One running process. It is killed when it is dropped, so that nothing is left behind when the demo stops early.
pub struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts it with both outputs at the end of `log`.
    pub fn start(launch: &Launch, log: &Path) -> Result<Self, Stop> {
        let unusable = |error: std::io::Error| {
            Stop::internal(format!("the service can't be started with its log at {}: {error}", log.display()))
        };
        let out = OpenOptions::new().create(true).append(true).open(log).map_err(unusable)?;
        let err = out.try_clone().map_err(unusable)?;
        let child = launch().stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(unusable)?;
        Ok(Self { child, log: log.into() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when it has ended, with the end of its log.
    pub fn check(&mut self) -> Result<(), Stop> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(status)),
            Err(error) => Err(Stop::internal(format!("process {} can't be looked at: {error}", self.pid()))),
        }
    }

    /// SIGKILL, as the kernel or a node that goes away would end it.
    pub fn kill(mut self) -> Result<(), Stop> {
        self.check()?;
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(drop).map_err(|error| Stop::internal(format!("process {} can't be killed: {error}", self.pid())))
    }

    /// SIGTERM, and waits for it to commit, leave the group and exit with 0.
    pub async fn stop(mut self, within: Duration) -> Result<(), Stop> {
        self.check()?;
        let pid = libc::pid_t::try_from(self.pid()).expect("a process id is a pid_t");
        // SAFETY: kill(2) takes any pid and signal; the child is ours and not yet waited for, so the pid is still its own.
        if unsafe { libc::kill(pid, libc::SIGTERM) } != 0 {
            return Err(Stop::internal(format!("process {pid} can't be stopped: {}", std::io::Error::last_os_error())));
        }
        let since = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.ended(status)),
                Ok(None) if since.elapsed() < within => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(None) => {
                    return Err(Stop::gave_up(
                        format!("the service has not ended {} s after SIGTERM", within.as_secs()),
                        format!("look at {}", self.log.display()),
                    ));
                }
                Err(error) => return Err(Stop::internal(format!("process {pid} can't be looked at: {error}"))),
            }
        }
    }

    fn ended(&self, status: ExitStatus) -> Stop {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n  ");
        Stop::internal(format!("the service ended by itself ({status}); the end of {}:\n  {shown}", self.log.display()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already ended and waited for: both say so, and there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &'static str) -> Launch {
        Box::new(move || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        })
    }

    #[tokio::test]
    async fn a_process_that_ends_by_itself_is_told_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let mut service = Service::start(&shell("echo port in use >&2; exit 2"), &dir.path().join("run.log")).unwrap();
        service.child.wait().unwrap();
        let stop = service.check().unwrap_err();
        assert!(stop.what.contains("port in use") && stop.what.contains("exit status: 2"), "{stop}");
    }

    #[tokio::test]
    async fn sigterm_lets_it_finish_and_sigkill_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("run.log");
        let launch = shell("trap 'echo finished; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
        let ready = async |lines: usize| {
            while std::fs::read_to_string(&log).unwrap_or_default().matches("ready").count() < lines {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let service = Service::start(&launch, &log).unwrap();
        ready(1).await;
        service.kill().unwrap();
        let service = Service::start(&launch, &log).unwrap();
        ready(2).await;
        service.stop(Duration::from_secs(30)).await.unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "ready\nready\nfinished\n");
    }
}
