//! `sluice healthcheck`: asks the instance on this host whether it is ready.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output::print;
use super::{Finished, Global, arguments, deepest_cause};
use crate::config::Http;
use crate::error::{Exit, Stop};

/// Exit 0 when the local instance is ready, 1 when it isn't or doesn't answer
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  HEALTHCHECK CMD [\"sluice\", \"healthcheck\", \"--timeout\", \"3s\"]")]
pub struct HealthcheckArgs {
    /// Longest wait for an answer
    #[arg(long, default_value = "3s", value_parser = arguments::duration)]
    timeout: Duration,
}

impl HealthcheckArgs {
    pub async fn run(self, global: &Global) -> Finished {
        let settings = global.sources().settings(&["http"])?;
        let listen = Http::read(&settings)?.listen.ok_or_else(|| {
            Stop::usage("http.listen is empty: nothing can be asked", "write an address, such as \"127.0.0.1:9464\"")
        })?;
        match ready(listen, self.timeout).await {
            Ok(()) => {
                print("ready\n")?;
                Ok(ExitCode::SUCCESS)
            }
            Err(reason) => Err(Stop::new(
                Exit::Internal,
                format!("not ready: {reason}"),
                format!("look at http://{listen}/readyz?verbose and at the log"),
            )),
        }
    }
}

/// Asks `GET /readyz`; the error is the instance's own reason, or why it was not heard.
pub async fn ready(listen: SocketAddr, timeout: Duration) -> Result<(), String> {
    let address = format!("http://{}/readyz?verbose", reachable(listen));
    // A proxy of the environment has no business between two processes of one host.
    let client = reqwest::Client::builder().no_proxy().timeout(timeout).build().map_err(|error| error.to_string())?;
    let answer = client.get(address).send().await.map_err(|error| deepest_cause(&error))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text = answer.text().await.unwrap_or_default();
    Err(format!("{status} {}", text.trim()))
}

/// An instance that listens on every address is asked on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    async fn serve(status: StatusCode, text: &'static str) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().route("/readyz", get(move || async move { (status, text) }));
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    #[tokio::test]
    async fn an_instance_is_ready_when_it_says_so_and_its_reason_is_passed_on_when_not() {
        let timeout = Duration::from_secs(5);
        let ready_one = serve(StatusCode::OK, "ok").await;
        assert_eq!(ready(ready_one, timeout).await, Ok(()));
        let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), ready_one.port());
        assert_eq!(ready(everywhere, timeout).await, Ok(()));
        let waiting = serve(StatusCode::SERVICE_UNAVAILABLE, "kafka is down\n").await;
        assert_eq!(ready(waiting, timeout).await, Err("503 Service Unavailable kafka is down".into()));
    }

    #[tokio::test]
    async fn nobody_listening_is_not_ready() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(ready(address, Duration::from_secs(5)).await.is_err());
    }
}
