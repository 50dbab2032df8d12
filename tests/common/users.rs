//! Users of the stack's Kafka: how they log in, what they may do, their passwords.
//!
//! The client's crate has no calls for ACLs and passwords, its C library has.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::bindings as c;
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::wait::{LONG, wait_until};

const ANSWER: Duration = Duration::from_secs(30);

/// A user with an address to log in at.
#[derive(Clone)]
pub struct Login {
    pub user: String,
    pub bootstrap_servers: String,
    /// `[kafka.properties]`.
    pub properties: Vec<(&'static str, String)>,
}

impl Login {
    /// The same with another value of one property.
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self = self.without(key);
        self.properties.push((key, value.to_owned()));
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.properties.retain(|(known, _)| *known != key);
        self
    }

    pub fn property(&self, key: &str) -> &str {
        let found = self.properties.iter().find(|(known, _)| *known == key);
        &found.unwrap_or_else(|| panic!("{} has no {key}", self.user)).1
    }

    fn client(&self) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap_servers);
        for (key, value) in &self.properties {
            config.set(*key, value);
        }
        config.create().expect("a client starts")
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Acl<'a> {
    ReadTopic(&'a str),
    WriteTopic(&'a str),
    ReadGroup(&'a str),
}

/// Gives a user permissions, of which one at least is for a topic, and waits until the broker knows them.
pub fn allow(admin: &AdminClient<DefaultClientContext>, login: &Login, acls: &[Acl<'_>]) {
    let mut bindings: Vec<_> = acls.iter().map(|acl| binding(&login.user, *acl)).collect();
    let answer = ask(admin, |client, queue| {
        // SAFETY: client and queue live; the bindings are copied.
        unsafe { c::rd_kafka_CreateAcls(client, bindings.as_mut_ptr(), bindings.len(), ptr::null(), queue) }
    });
    // SAFETY: the event holds the results while it lives; the bindings are ours to free.
    unsafe {
        let mut count = 0;
        let results = c::rd_kafka_CreateAcls_result_acls(c::rd_kafka_event_CreateAcls_result(answer.0), &mut count);
        (0..count).for_each(|at| succeeded(c::rd_kafka_acl_result_error(*results.add(at)), "an ACL"));
        c::rd_kafka_AclBinding_destroy_array(bindings.as_mut_ptr(), bindings.len());
    }
    let topic = acls.iter().find_map(|acl| match acl {
        Acl::ReadTopic(topic) | Acl::WriteTopic(topic) => Some(*topic),
        Acl::ReadGroup(_) => None,
    });
    let (client, topic) = (login.client(), topic.expect("a topic among the ACLs"));
    wait_until(&format!("{} may use {topic}", login.user), LONG, || {
        let metadata = client.fetch_metadata(Some(topic), ANSWER).map_err(|e| e.to_string())?;
        metadata.topics().iter().find_map(|t| t.error()).map_or(Ok(()), |code| Err(format!("{code:?}")))
    });
}

/// Gives a user another password for SCRAM-SHA-512. Connections that are open stay open.
pub fn change_password(admin: &AdminClient<DefaultClientContext>, user: &str, password: &str) {
    let user = text(user);
    // SAFETY: pointers and lengths belong together; without a salt the library makes one.
    let mut change = unsafe {
        let mechanism = c::rd_kafka_ScramMechanism_t::RD_KAFKA_SCRAM_MECHANISM_SHA_512;
        let bytes = password.as_bytes();
        c::rd_kafka_UserScramCredentialUpsertion_new(
            user.as_ptr(),
            mechanism,
            4096,
            bytes.as_ptr(),
            bytes.len(),
            ptr::null(),
            0,
        )
    };
    let answer = ask(admin, |client, queue| {
        // SAFETY: client and queue live; the change is copied.
        unsafe { c::rd_kafka_AlterUserScramCredentials(client, &mut change, 1, ptr::null(), queue) }
    });
    // SAFETY: the event holds the results while it lives; the change is ours to free.
    unsafe {
        let mut count = 0;
        let result = c::rd_kafka_event_AlterUserScramCredentials_result(answer.0);
        let all = c::rd_kafka_AlterUserScramCredentials_result_responses(result, &mut count);
        (0..count).for_each(|at| {
            succeeded(c::rd_kafka_AlterUserScramCredentials_result_response_error(*all.add(at)), "a password");
        });
        c::rd_kafka_UserScramCredentialAlteration_destroy(change);
    }
}

fn binding(user: &str, acl: Acl<'_>) -> *mut c::rd_kafka_AclBinding_t {
    use c::rd_kafka_AclOperation_t::{RD_KAFKA_ACL_OPERATION_READ as READ, RD_KAFKA_ACL_OPERATION_WRITE as WRITE};
    use c::rd_kafka_ResourceType_t::{RD_KAFKA_RESOURCE_GROUP as GROUP, RD_KAFKA_RESOURCE_TOPIC as TOPIC};
    let (resource, name, operation) = match acl {
        Acl::ReadTopic(name) => (TOPIC, name, READ),
        Acl::WriteTopic(name) => (TOPIC, name, WRITE),
        Acl::ReadGroup(name) => (GROUP, name, READ),
    };
    let (name, principal, every_host) = (text(name), text(&format!("User:{user}")), text("*"));
    let mut error = [0 as c_char; 256];
    // SAFETY: the strings live during the call, which copies them.
    let binding = unsafe {
        c::rd_kafka_AclBinding_new(
            resource,
            name.as_ptr(),
            c::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
            principal.as_ptr(),
            every_host.as_ptr(),
            operation,
            c::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
            error.as_mut_ptr(),
            error.len(),
        )
    };
    assert!(!binding.is_null(), "the client library refuses {acl:?}");
    binding
}

/// An answer, freed at the end.
struct Answer(*mut c::rd_kafka_event_t);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: ours, freed once.
        unsafe { c::rd_kafka_event_destroy(self.0) }
    }
}

fn ask(
    admin: &AdminClient<DefaultClientContext>,
    send: impl FnOnce(*mut c::rd_kafka_t, *mut c::rd_kafka_queue_t),
) -> Answer {
    let client = admin.inner().native_ptr();
    // SAFETY: the client lives; the queue is ours and freed after the answer was taken from it.
    unsafe {
        let queue = c::rd_kafka_queue_new(client);
        send(client, queue);
        let event = c::rd_kafka_queue_poll(queue, ANSWER.as_millis() as c_int);
        c::rd_kafka_queue_destroy(queue);
        assert!(!event.is_null(), "Kafka answers an administrator");
        let refused = CStr::from_ptr(c::rd_kafka_event_error_string(event)).to_string_lossy().into_owned();
        assert_eq!(c::rd_kafka_event_error(event) as c_int, 0, "Kafka refuses an administrator: {refused}");
        Answer(event)
    }
}

/// # Safety
/// `error` is null or lives.
unsafe fn succeeded(error: *const c::rd_kafka_error_t, what: &str) {
    // SAFETY: as the caller promises.
    unsafe {
        if !error.is_null() && c::rd_kafka_error_code(error) as c_int != 0 {
            panic!("{what}: {}", CStr::from_ptr(c::rd_kafka_error_string(error)).to_string_lossy());
        }
    }
}

fn text(text: &str) -> CString {
    CString::new(text).expect("a text without NUL")
}
