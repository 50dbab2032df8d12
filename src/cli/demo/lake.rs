//! The demo's look at the real table.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::expectation::Gold;
use super::folder::GROUP;
use super::{Lake, OpenLake};
use crate::cli::parts::{self, SystemClock, once};
use crate::cli::table::existing;
use crate::cli::verify::command::judged;
use crate::config::Config;
use crate::core::lane::{self, Reading};
use crate::core::table::{LaneName, TableView};
use crate::core::verify::Weight;
use crate::error::Stop;
use crate::ports::{Loaded, Table};
use crate::types::{Offset, TopicPartition};

struct GoldTable {
    config: Config,
    lake: parts::Lake,
}

/// Opens the table of a configuration; it need not exist yet.
pub fn opener() -> Box<OpenLake> {
    Box::new(|config| {
        let lake = parts::Lake::of(config, Arc::new(SystemClock::default()))?;
        Ok(Box::new(GoldTable { config: config.clone(), lake }) as Box<dyn Lake>)
    })
}

impl GoldTable {
    async fn view(&self) -> Result<Option<TableView>, Stop> {
        match once(|| self.lake.table.load()).await? {
            Loaded::Table(view) => Ok(Some(view)),
            Loaded::Missing => Ok(None),
        }
    }
}

fn demo_lane(view: &TableView) -> Option<crate::core::table::Lane> {
    match lane::read(view, &LaneName::from(GROUP), None, None) {
        Reading::Known { lane, .. } => Some(lane),
        Reading::New | Reading::Stop(_) => None,
    }
}

#[async_trait]
impl Lake for GoldTable {
    async fn settled(&self) -> Result<BTreeMap<TopicPartition, Offset>, Stop> {
        let lane = self.view().await?.as_ref().and_then(demo_lane).unwrap_or_default();
        Ok(lane.partitions.into_iter().map(|(tp, progress)| (tp, progress.next_offset)).collect())
    }

    async fn gold(&self) -> Result<Gold, Stop> {
        let view = self.view().await?;
        let totals = view.as_ref().and_then(demo_lane).unwrap_or_default().totals.counts;
        let report = judged(&self.config, None, false).await?;
        let violations = report.findings.listed().iter().filter(|f| f.weight == Weight::Violation);
        let loaded = existing(&self.lake, &self.config).await?;
        Ok(Gold {
            rows: report.scope.rows,
            written: totals.written,
            duplicate: totals.duplicate,
            late: totals.late,
            dead_lettered: totals.dead_lettered,
            snapshots: report.scope.snapshots,
            metadata_location: loaded.location.to_string(),
            violations: violations.map(|f| f.text.clone()).collect(),
        })
    }
}
