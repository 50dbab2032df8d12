//! Which dependencies answer, shared by everything that talks to one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ports::{Clock, Down};
use crate::telemetry::status::{Dependencies, DependencyStatus};

pub struct Health {
    clock: Arc<dyn Clock>,
    dependencies: Mutex<Dependencies>,
}

impl Health {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, dependencies: Mutex::default() }
    }

    pub fn down(&self, down: &Down) {
        self.change(|dependencies, clock| dependencies.down(down, clock));
    }

    pub fn up(&self, dependency: &'static str) {
        self.change(|dependencies, clock| dependencies.up(dependency, clock));
    }

    pub fn any_down(&self) -> bool {
        self.dependencies.lock().unwrap_or_else(PoisonError::into_inner).any_down()
    }

    pub fn status(&self) -> BTreeMap<&'static str, DependencyStatus> {
        self.dependencies.lock().unwrap_or_else(PoisonError::into_inner).status()
    }

    fn change(&self, apply: impl FnOnce(&mut Dependencies, &dyn Clock) -> Option<crate::telemetry::status::Change>) {
        let change = apply(&mut self.dependencies.lock().unwrap_or_else(PoisonError::into_inner), &*self.clock);
        if let Some(change) = change {
            change.log();
        }
    }
}
