//! Kafka behind passwords and certificates: what a user needs, what a refused one sees, and no secret anywhere.

use crate::common::stack::{self, Stack};
use crate::common::users::{Acl, Login, allow, change_password};
use crate::common::*;

/// A world whose service and commands log in.
fn world_of(stack: &Stack, name: &str, login: &Login) -> World {
    let mut world = World::on(stack, name, &[("binance", 2)]);
    world.config = world.config.clone().log_in(login);
    world
}

/// READ on topic and group, WRITE on the dead-letter topic: all that the service and every command but `produce` take.
fn allow_reading(world: &World, login: &Login) {
    let topic = world.topic("binance");
    let acls = [Acl::ReadTopic(&topic), Acl::ReadGroup(&world.group), Acl::WriteTopic(&world.letters)];
    allow(world.kafka.admin(), login, &acls);
}

fn produce(world: &World, first: u64, count: u64) {
    let producer = world.producer();
    for n in first..first + count {
        producer.trade(&world.topic("binance"), (n % 2) as i32, Draft::new(n, T0 + n as i64 * 100_000));
    }
    producer.settle();
}

fn send_malformed(world: &World) {
    let producer = world.producer();
    for record in malformed::all(&world.registry, 1_000_000, 1_900_000_002) {
        producer.send(&world.topic("binance"), 0, record);
    }
    producer.settle();
}

fn assert_hidden(secrets: &[&str], what: &str, text: &str) {
    for secret in secrets {
        assert!(!text.contains(secret), "{what} shows the secret {secret}: {text}");
    }
}

fn log(sluice: &Instance) -> String {
    sluice.lines().iter().map(|line| format!("{}\n", line.body)).collect()
}

#[test]
fn a_user_with_a_password_over_tls_commits_rows_and_no_secret_is_shown() {
    let stack = stack::shared();
    let mut world = world_of(stack, "secured", &stack.scram);
    world.config = world.config.clone().set("dead_letter.rate_max", 1.0).set("log.level", "trace");
    let secrets = [stack.scram.property("sasl.password")];
    allow_reading(&world, &stack.scram);
    produce(&world, 0, 2_000);
    send_malformed(&world);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.wait_ready();
    for page in ["/status", "/metrics", "/readyz?verbose", "/version"] {
        let (_, text) = sluice.get(page).expect("the service answers");
        assert_hidden(&secrets, page, &text);
    }
    sluice.terminate();
    assert_hidden(&secrets, "the log", &log(&sluice));
    // Reads the log again as the same user, by `verify --deep`.
    world.check();
    for command in [
        vec!["config", "show"],
        vec!["config", "show", "--output", "json"],
        vec!["config", "check"],
        vec!["offsets", "describe"],
        vec!["offsets", "reset", "--all-topics", "--to-earliest"],
        vec!["table", "describe"],
    ] {
        let done = world.run(&command);
        assert_eq!(done.code, Some(0), "{command:?}: {done}");
        assert_hidden(&secrets, &format!("{command:?}"), &(done.stdout + &done.stderr));
    }
}

#[test]
fn a_user_with_a_certificate_commits_rows() {
    let stack = stack::shared();
    let world = world_of(stack, "certificate", &stack.certificate);
    allow_reading(&world, &stack.certificate);
    produce(&world, 0, 1_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
}

#[test]
fn produce_writes_as_a_user_that_may_only_write() {
    let stack = stack::shared();
    let world = world_of(stack, "secured-produce", &stack.plain);
    let topic = world.topic("binance");
    allow(world.kafka.admin(), &stack.plain, &[Acl::WriteTopic(&topic)]);
    world.run_expecting(0, &["produce", "--count", "500"]);
    let sent: i64 = (0..2).map(|partition| world.kafka.log(&topic, partition).1).sum();
    assert_eq!(sent, 500);
}

/// Credentials that Kafka refuses, with the keys that the stop must name.
fn refused(stack: &Stack) -> [(&'static str, Login, &'static str); 3] {
    [
        ("a wrong password", stack.scram.clone().with("sasl.password", "not-this-one"), "sasl.password"),
        ("an unknown CA", stack.scram.clone().without("ssl.ca.location"), "ssl.ca.location"),
        (
            "no certificate",
            stack.certificate.clone().without("ssl.certificate.location").without("ssl.key.location"),
            "ssl.certificate.location",
        ),
    ]
}

#[test]
fn refused_credentials_are_exit_2_with_the_key_and_what_to_do_and_no_secret_is_shown() {
    let stack = stack::shared();
    let mut world = World::new("refused", &[("binance", 1)]);
    let open = world.config.clone();
    let secrets = ["not-this-one", stack.scram.property("sasl.password")];
    for (what, login, key) in refused(stack) {
        let config = open.clone().log_in(&login).set("log.level", "trace");
        let mut sluice = Instance::start(&world.dir, &format!("refused-{key}"), &config, &["run"]);
        let text = sluice.wait_stop(2);
        assert!(text.contains(key) && text.contains("check"), "{what}: the stop names {key}: {text}");
        assert_hidden(&secrets, what, &log(&sluice));
        world.config = config;
        assert_hidden(&secrets, "config show", &world.run_expecting(0, &["config", "show"]));
    }
    assert!(world.table.load().is_none_or(|table| table.ancestry().is_empty()), "nothing was committed");
}

#[test]
fn refused_credentials_are_exit_2_for_commands_too() {
    let stack = stack::shared();
    let mut world = World::new("refused-command", &[("binance", 2)]);
    produce(&world, 0, 100);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    let open = world.config.clone();
    for (what, login, key) in refused(stack) {
        world.config = open.clone().log_in(&login);
        for command in ["offsets describe", "verify --deep", "produce --count 10"] {
            let command: Vec<_> = command.split(' ').collect();
            let done = world.run(&command);
            assert_eq!(done.code, Some(2), "{command:?} with {what}: {done}");
            assert!(done.stderr.contains(key), "{command:?} with {what}: the stop names {key}: {done}");
            assert_hidden(&["not-this-one"], what, &(done.stdout + &done.stderr));
        }
    }
}

#[test]
fn credentials_that_are_refused_after_the_first_success_are_waited_for() {
    let stack = Stack::start("password");
    let world = world_of(&stack, "password", &stack.scram);
    let (user, password) = (&stack.scram.user, stack.scram.property("sasl.password"));
    allow_reading(&world, &stack.scram);
    produce(&world, 0, 1_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.wait_ready();
    // Open connections stay logged in: only a new one asks for the password.
    change_password(world.kafka.admin(), user, "changed-password");
    stack.stop("kafka");
    stack.restart("kafka");
    sluice.wait_not_ready("refuses the credentials");
    let from = sluice.position();
    change_password(world.kafka.admin(), user, password);
    sluice.wait_event_from(from, "dependency.up");
    produce(&world, 1_000, 1_000);
    world.drain(&mut [&mut sluice]);
    sluice.wait_ready();
    sluice.terminate();
    assert_hidden(&[password, "changed-password"], "the log", &log(&sluice));
    world.check();
}
