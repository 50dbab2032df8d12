//! `sluice verify` on the configured table and Kafka.

use std::process::ExitCode;
use std::sync::Arc;

use iceberg::io::FileIO;

use super::kafka_log::KafkaLog;
use super::silver::Silver;
use super::{Subject, VerifyArgs, print, verify};
use crate::cli::output::Output;
use crate::cli::parts::{self, Lake, SystemClock};
use crate::cli::table::existing;
use crate::cli::{Finished, Global};
use crate::config::Config;
use crate::core::verify::Report;
use crate::decode::Plans;
use crate::error::Stop;
use crate::ports::{Clock, PortError};
use crate::source::admin::KafkaAdmin;
use crate::types::SnapshotId;

impl VerifyArgs {
    pub async fn run(self, global: &Global) -> Finished {
        let (config, _) = Config::load(&global.sources())?;
        let report = judged(&config, self.snapshot.map(SnapshotId), self.deep).await?;
        match global.output {
            Output::Table => crate::cli::output::print(&print::text(&report))?,
            Output::Json => global.output.print(&print::json(&report), String::new)?,
        }
        match report.stop(self.strict) {
            Some(stop) => Err(stop),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

/// Judges the table of a configuration.
pub async fn judged(config: &Config, snapshot: Option<SnapshotId>, deep: bool) -> Result<Report, Stop> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let lake = Lake::of(config, clock.clone())?;
    let loaded = existing(&lake, config).await?;
    let subject = Subject {
        metadata: loaded.metadata.clone(),
        file_io: FileIO::new_with_fs(),
        budget_bytes: config.limits.memory_max / 2,
        watermark_delay: parts::micros(config.event_time.watermark_delay),
    };
    let answer = if deep {
        let connection = parts::connection(&config.kafka);
        let admin = KafkaAdmin::new(&connection, &config.kafka.group_id)?;
        let log = KafkaLog::new(&connection, &config.kafka.group_id)?;
        let plans = Plans::new(Arc::new(parts::registry(config, clock.clone())?), clock.clone());
        let bounds = parts::bounds(&config.event_time);
        let mut silver = Silver { admin: &admin, log: Box::new(log), plans, clock, bounds };
        verify(&subject, snapshot, Some(&mut silver)).await
    } else {
        verify(&subject, snapshot, None).await
    };
    answer.map_err(|error| match error {
        PortError::Stop(stop) => stop,
        PortError::Down(down) => {
            Stop::gave_up(format!("{down}"), format!("see that {} answers, then try again", down.dependency))
        }
    })
}
