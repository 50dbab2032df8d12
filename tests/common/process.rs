//! The built binary as a process: its events, its signals, its end.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::config::Config;
use super::registry;
use super::wait::{LONG, wait_until};

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Instant,
    /// The JSON object; a string for a line that is none.
    pub body: Value,
}

impl Event {
    /// The stable name of the event, "" where a line has none.
    pub fn name(&self) -> &str {
        self.body["event"].as_str().unwrap_or("")
    }
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Event>>,
    grown: Condvar,
}

/// A running `sluice run`. Dropping it kills it.
pub struct Instance {
    pub name: String,
    child: Child,
    log: Arc<Log>,
    log_file: PathBuf,
    /// Ends with the process, once its last line is in the log.
    reader: Option<JoinHandle<()>>,
    http: String,
    ended: Option<ExitStatus>,
}

impl Instance {
    /// Starts `sluice --config … ARGS` in `dir`; `name` names its files.
    pub fn start(dir: &Path, name: &str, config: &Config, args: &[&str]) -> Self {
        Self::start_with(dir, name, config, args, &[])
    }

    /// The same with these variables.
    pub fn start_with(dir: &Path, name: &str, config: &Config, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let file = dir.join(format!("{name}.toml"));
        config.write(&file);
        let mut command = command(dir, &file, args);
        command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("sluice starts");
        let log = Arc::new(Log::default());
        let log_file = dir.join(format!("{name}.log"));
        let reader = Some(follow(child.stderr.take().expect("piped"), log.clone(), &log_file));
        let http = format!("http://{}", config.get("http.listen"));
        Self { name: name.to_owned(), child, log, log_file, reader, http, ended: None }
    }

    /// The first event of this name among those from line `from` on, and the number of the line behind it.
    pub fn wait_event_from(&mut self, from: usize, name: &str) -> (Event, usize) {
        let deadline = Instant::now() + LONG;
        let log = self.log.clone();
        let mut lines = log.lines.lock().unwrap();
        loop {
            if let Some(at) = lines.iter().skip(from).position(|e| e.name() == name) {
                return (lines[from + at].clone(), from + at + 1);
            }
            assert!(Instant::now() < deadline, "{}: no event {name} within {LONG:?}", self.name);
            if lines.last().is_none_or(|e| e.at.elapsed() > Duration::from_secs(1)) {
                drop(lines);
                self.assert_alive();
                lines = log.lines.lock().unwrap();
            }
            lines = log.grown.wait_timeout(lines, Duration::from_millis(200)).unwrap().0;
        }
    }

    /// How many lines the log has.
    pub fn position(&self) -> usize {
        self.log.lines.lock().unwrap().len()
    }

    /// The whole log so far.
    pub fn lines(&self) -> Vec<Event> {
        self.log.lines.lock().unwrap().clone()
    }

    pub fn last_event(&self) -> Option<Event> {
        self.log.lines.lock().unwrap().iter().rev().find(|e| !e.name().is_empty()).cloned()
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, number: i32) {
        signal(self.pid(), number);
    }

    /// SIGKILL, and the process is gone.
    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        self.wait();
    }

    /// SIGTERM, once the process has said that it starts; the exit code must be 0.
    pub fn terminate(&mut self) {
        self.wait_event_from(0, "service.start");
        self.signal(libc::SIGTERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{} after SIGTERM: {status}\n{}", self.name, self.tail());
    }

    /// Waits for the end of the process and of its log.
    pub fn wait(&mut self) -> ExitStatus {
        wait_until(&format!("{} ends", self.name), LONG, || self.try_wait().ok_or_else(|| "still running".to_owned()))
    }

    /// None while it runs.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        // What it said last is read after it has ended: a stop would otherwise be looked for before it is there.
        if self.ended.is_some()
            && let Some(reader) = self.reader.take()
        {
            reader.join().expect("the log is read");
        }
        self.ended
    }

    /// Waits for a typed stop: the exit code, and what the log says last.
    pub fn wait_stop(&mut self, code: i32) -> String {
        let status = self.wait();
        let tail = self.tail();
        assert_eq!(status.code(), Some(code), "{} should stop with {code}: {status}\n{tail}", self.name);
        tail
    }

    pub fn assert_alive(&mut self) {
        if let Some(status) = self.try_wait() {
            panic!("{} ended by itself: {status} (signal {:?})\n{}", self.name, status.signal(), self.tail());
        }
    }

    /// The last lines of the log.
    pub fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log_file).unwrap_or_default();
        let mut last: VecDeque<&str> = VecDeque::new();
        for line in text.lines() {
            last.push_back(line);
            if last.len() > 12 {
                last.pop_front();
            }
        }
        format!("{}\n(whole log: {})", Vec::from(last).join("\n"), self.log_file.display())
    }

    /// Status of `GET path` and its body; none while nobody listens.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        registry::get(&format!("{}{path}", self.http))
    }

    pub fn wait_ready(&mut self) {
        wait_until(&format!("{} is ready", self.name), LONG, || {
            self.assert_alive();
            match self.get("/readyz?verbose") {
                Some((200, _)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// Waits until it is alive, not ready, and says why.
    pub fn wait_not_ready(&mut self, because: &str) {
        wait_until(&format!("{} is not ready, with the reason", self.name), LONG, || {
            self.assert_alive();
            let alive = self.get("/livez").map(|(status, _)| status);
            match self.get("/readyz?verbose") {
                Some((503, text)) if text.to_lowercase().contains(because) && alive == Some(200) => Ok(()),
                other => Err(format!("livez {alive:?}, readyz {other:?}")),
            }
        });
    }

    /// Sum of the samples of a metric whose labels contain `labels` (`name="value"`, "" for all).
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let (status, text) = self.get("/metrics").unwrap_or_else(|| panic!("{} serves no metrics", self.name));
        assert_eq!(status, 200, "/metrics of {}", self.name);
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(labels)
        });
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How a command ended, and what it printed.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The first lines of both streams: enough to see what went wrong.
impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first =
            |text: &str| text.lines().take(40).map(|l| l.chars().take(400).collect()).collect::<Vec<String>>().join("\n");
        write!(f, "exit {:?}\nstdout: {}\nstderr: {}", self.code, first(&self.stdout), first(&self.stderr))
    }
}

/// Runs a command of the binary to its end.
pub fn run(dir: &Path, config: &Config, args: &[&str]) -> Ended {
    let path = |suffix: &str| dir.join(format!("command.{suffix}"));
    config.write(&path("toml"));
    // Files and not pipes: nobody has to read while it runs.
    let create = |suffix: &str| File::create(path(suffix)).expect("a file is created");
    let mut command = command(dir, &path("toml"), args);
    let mut child = command.stdout(create("stdout")).stderr(create("stderr")).spawn().expect("sluice starts");
    let deadline = Instant::now() + LONG;
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("sluice {args:?} did not end within {LONG:?}; see {}", path("stderr").display());
            }
        }
    };
    let read = |suffix: &str| String::from_utf8_lossy(&fs::read(path(suffix)).expect("a file")).into_owned();
    Ended { code: status.code(), stdout: read("stdout"), stderr: read("stderr") }
}

pub fn signal(pid: i32, number: i32) {
    // SAFETY: kill takes no pointers.
    let failed = unsafe { libc::kill(pid, number) };
    assert_eq!(failed, 0, "signal {number} to {pid}: {}", std::io::Error::last_os_error());
}

fn command(dir: &Path, config: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(args).arg("--config").arg(config).current_dir(dir).env("NO_COLOR", "1").stdin(Stdio::null());
    // SAFETY: prctl is async-signal-safe; the child dies with the test.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
}

fn follow(stderr: impl std::io::Read + Send + 'static, log: Arc<Log>, path: &Path) -> JoinHandle<()> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("a log file opens");
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { return };
            let _ = writeln!(file, "{line}");
            let body = serde_json::from_str(&line).unwrap_or(Value::String(line));
            log.lines.lock().unwrap().push(Event { at: Instant::now(), body });
            log.grown.notify_all();
        }
    })
}
