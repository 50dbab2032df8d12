//! Kafka, registry and Python, started by `tools/stack`: one for all tests of a run.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::users::Login;

pub struct Stack {
    pub bootstrap_servers: String,
    /// A user with a password, by SCRAM-SHA-512 over TLS. As the other two it may do nothing until it gets ACLs.
    pub scram: Login,
    /// A user with a password, by PLAIN over TLS.
    pub plain: Login,
    /// A user with a certificate.
    pub certificate: Login,
    pub registry_url: String,
    pub python: PathBuf,
    dir: PathBuf,
    /// Holds the supervisor's standard input: the stack ends when this process does, however it ends.
    supervisor: Option<Child>,
}

/// The stack of `$SLUICE_TEST_STACK` (`make test` starts one for all test programs), else one of this process's own.
pub fn shared() -> &'static Stack {
    static SHARED: OnceLock<Stack> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var_os("SLUICE_TEST_STACK") {
        Some(path) => Stack::read(Path::new(&path), None),
        None => Stack::start("shared"),
    })
}

impl Stack {
    /// A stack of a test's own, for faults that would disturb the others.
    pub fn start(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stack-{name}-{}", std::process::id()));
        let mut supervisor = Command::new(tool())
            .args(["serve", "--dir"])
            .arg(&dir)
            .args(["kafka", "registry", "python"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tools/stack starts");
        let mut path = String::new();
        BufReader::new(supervisor.stdout.as_mut().expect("piped")).read_line(&mut path).expect("tools/stack speaks");
        assert!(!path.is_empty(), "the stack did not start; its logs are in {}", dir.join("logs").display());
        Self::read(Path::new(path.trim_end()), Some(supervisor))
    }

    fn read(path: &Path, supervisor: Option<Child>) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("no stack at {}: {e}", path.display()));
        let facts: Value = serde_json::from_str(&text).expect("stack.json is JSON");
        let fact = |part: &str, key: &str| match facts["parts"][part][key].as_str() {
            Some(value) => value.to_owned(),
            None => panic!("{} names no {part}.{key}: start the stack with kafka, registry and python", path.display()),
        };
        let tls = ("ssl.ca.location", fact("kafka", "ca"));
        let by_password = |mechanism: &str, user: &str, password: &str| Login {
            user: fact("kafka", user),
            bootstrap_servers: fact("kafka", "sasl_ssl"),
            properties: vec![
                ("security.protocol", "SASL_SSL".to_owned()),
                tls.clone(),
                ("sasl.mechanism", mechanism.to_owned()),
                ("sasl.username", fact("kafka", user)),
                ("sasl.password", fact("kafka", password)),
            ],
        };
        let certificate = Login {
            user: fact("kafka", "certificate_user"),
            bootstrap_servers: fact("kafka", "ssl"),
            properties: vec![
                ("security.protocol", "SSL".to_owned()),
                tls.clone(),
                ("ssl.certificate.location", fact("kafka", "certificate")),
                ("ssl.key.location", fact("kafka", "certificate_key")),
            ],
        };
        Self {
            scram: by_password("SCRAM-SHA-512", "scram_user", "scram_password"),
            plain: by_password("PLAIN", "plain_user", "plain_password"),
            certificate,
            bootstrap_servers: fact("kafka", "bootstrap_servers"),
            registry_url: fact("registry", "url"),
            python: fact("python", "program").into(),
            dir: path.parent().expect("stack.json lies in a folder").to_owned(),
            supervisor,
        }
    }

    /// Stops `kafka` or `registry` cleanly; Kafka keeps its data, the registry loses everything.
    pub fn stop(&self, part: &str) {
        self.ask("stop", part);
    }

    /// Starts a stopped part on the same ports and waits until it answers.
    pub fn restart(&self, part: &str) {
        self.ask("start", part);
    }

    /// The process id of a part, for signals.
    pub fn pid(&self, part: &str) -> i32 {
        let text = std::fs::read_to_string(self.dir.join("stack.json")).expect("the stack runs");
        let facts: Value = serde_json::from_str(&text).expect("stack.json is JSON");
        facts["parts"][part]["pid"].as_i64().and_then(|pid| pid.try_into().ok()).expect("a part that runs has a pid")
    }

    fn ask(&self, verb: &str, part: &str) {
        let done = Command::new(tool()).args([verb, part, "--dir"]).arg(&self.dir).status().expect("tools/stack runs");
        assert!(done.success(), "tools/stack {verb} {part}: {done}");
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }
}

fn tool() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/stack")
}
