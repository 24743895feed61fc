//! Waits for the station to learn of versions and results.

use std::time::Duration;

use anyhow::{ensure, Result};

use super::{JobView, Station};
use crate::terminal::{limit, Terminal};
use crate::wait;

impl Station {
    /// Waits until the terminal `id` has reported this OS version.
    pub fn wait_for_version(
        &mut self,
        (id, terminal): (&str, &mut Terminal),
        version: &str,
        limit: Duration,
    ) -> Result<()> {
        let what = format!("EVENT_LINKUP with version {version} at the station");
        wait::asking(&what, limit, || {
            terminal.check()?;
            let known = self.terminal(id)?;
            Ok(known
                .filter(|known| known.online && known.version == version)
                .map(drop))
        })
    }

    /// Waits for the result of `terminal`'s job.
    pub fn wait_for_result(&mut self, terminal: &mut Terminal, job: i64) -> Result<JobView> {
        let what = format!("the result of job {job} at the station");
        wait::asking(&what, limit::JOB, || {
            terminal.check()?;
            self.check()?;
            Ok(Some(self.job(job)?).filter(|view| view.outcome.is_some()))
        })
    }

    /// Checks that the station has recorded exactly one result of the job.
    pub fn exactly_one_result(&self, job: i64) -> Result<()> {
        let events = self.events(job)?;
        let results = events.iter().filter(|kind| *kind == "result").count();
        ensure!(
            results == 1,
            "the station recorded {results} results of job {job}: {events:?}"
        );
        Ok(())
    }
}
