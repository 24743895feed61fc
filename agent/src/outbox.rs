//! Jobs that are over, on mnt: reported until the station has taken note, then kept for questions
//! about them.

use std::fs;
use std::io;
use std::path::PathBuf;

use dau_handoff::{Entry, History, Job, JobResult, Layout};

/// Jobs that are kept whole; beyond that only their results are, see [`History`].
const KEPT: usize = 16;

/// Jobs that are over.
#[derive(Debug)]
pub struct Outbox {
    layout: Layout,
    history: History,
    /// Ids of jobs whose result the station has not taken note of.
    unreported: Vec<i64>,
}

impl Outbox {
    /// Reads the jobs and the history from mnt. The history gets the results that it lacks: power
    /// went before it was written, or it was damaged, and a job has one result.
    pub fn load(layout: &Layout) -> io::Result<Self> {
        let mut outbox = Outbox {
            layout: layout.clone(),
            history: History::load(&layout.history()),
            unreported: Vec::new(),
        };
        let jobs = outbox.jobs()?;
        for job in &jobs {
            if outbox.result(job.id).is_none() {
                outbox.remember(job);
            }
        }
        outbox.unreported = jobs
            .iter()
            .filter(|job| !job.is_acknowledged())
            .map(|job| job.id)
            .collect();
        Ok(outbox)
    }

    /// Takes over a job that has its result, and removes it as the current one. May be cut short
    /// and done again.
    pub fn take(&mut self, job: &Job) -> anyhow::Result<()> {
        job.save(&self.layout.result(job.id))?;
        self.remember(job);
        self.history.save(&self.layout.history())?;
        if !self.unreported.contains(&job.id) {
            self.unreported.push(job.id);
        }
        dau_system::durable::remove(&self.layout.job())?;
        self.prune()?;
        Ok(())
    }

    /// Adds a job's result to the history.
    fn remember(&mut self, job: &Job) {
        if let Some(result) = job.result() {
            self.history.add(Entry {
                id: job.id,
                version: job.order.version.clone(),
                result: result.clone(),
            });
        }
    }

    /// Returns the ids of jobs whose result the station has not taken note of, oldest first.
    pub fn unreported(&self) -> &[i64] {
        &self.unreported
    }

    /// Notes that the station has taken note of a result; false if there was nothing to take note
    /// of.
    pub fn acknowledge(&mut self, id: i64) -> anyhow::Result<bool> {
        let known = self.unreported.len();
        self.unreported.retain(|unreported| *unreported != id);
        if known == self.unreported.len() {
            return Ok(false);
        }
        let path = self.layout.result(id);
        if let Some(mut job) = Job::load(&path)? {
            job.acknowledge();
            job.save(&path)?;
        }
        Ok(true)
    }

    /// Returns a job that is over, as far as it is still known.
    pub fn job(&self, id: i64) -> Option<Job> {
        let job = Job::load(&self.layout.result(id));
        let job = job.map_err(|error| log::warn!("{error}"));
        job.ok().flatten()
    }

    /// Returns the result of a job that is over, which is remembered longer than the job.
    pub fn result(&self, id: i64) -> Option<&JobResult> {
        self.history.find(id).map(|entry| &entry.result)
    }

    /// Returns the jobs on mnt, oldest first; files that are damaged or cannot be read are passed
    /// over.
    fn jobs(&self) -> io::Result<Vec<Job>> {
        let mut files: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
        let entries = match fs::read_dir(self.layout.results()) {
            // Not made yet, on an mnt that takes no writes.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match entry.metadata().and_then(|data| data.modified()) {
                Ok(time) => files.push((time, path)),
                Err(error) => log::warn!("passed over: {}: {error}", path.display()),
            }
        }
        files.sort();
        let load = |(_, path): &(_, PathBuf)| match Job::load(path) {
            Ok(job) => job,
            Err(error) => {
                log::warn!("passed over: {error}");
                None
            }
        };
        Ok(files.iter().filter_map(load).collect())
    }

    /// Removes the oldest, those that were reported first.
    fn prune(&mut self) -> io::Result<()> {
        let jobs = self.jobs()?;
        let excess = jobs.len().saturating_sub(KEPT);
        let (reported, unreported): (Vec<_>, Vec<_>) =
            jobs.iter().partition(|job| job.is_acknowledged());
        for job in reported.into_iter().chain(unreported).take(excess) {
            self.unreported.retain(|id| *id != job.id);
            dau_system::durable::remove(&self.layout.result(job.id))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dau_handoff::Order;
    use dau_model::Kind;

    fn finished(id: i64) -> Job {
        let mut job = Job::new(id, Order::sample(Kind::Full));
        job.finish(JobResult::success("done"));
        job
    }

    #[test]
    fn a_result_stays_unreported_until_it_is_acknowledged_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        finished(7).save(&layout.job()).unwrap();
        let mut outbox = Outbox::load(&layout).unwrap();
        outbox.take(&finished(7)).unwrap();
        outbox.take(&finished(7)).unwrap();
        assert_eq!(outbox.unreported(), [7]);
        assert!(!layout.job().exists());
        let mut outbox = Outbox::load(&layout).unwrap();
        assert_eq!(outbox.unreported(), [7]);
        assert!(outbox.acknowledge(7).unwrap() && !outbox.acknowledge(7).unwrap());
        let outbox = Outbox::load(&layout).unwrap();
        assert_eq!(outbox.unreported(), [0_i64; 0]);
        assert!(outbox.job(7).is_some() && outbox.result(7).is_some());
        assert!(outbox.result(8).is_none());
    }

    #[test]
    fn a_result_is_known_where_power_went_before_the_history_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        for (id, text) in [(7, "kept"), (8, "done")] {
            let mut job = Job::new(id, Order::sample(Kind::Full));
            job.finish(JobResult::success(text));
            job.save(&layout.result(id)).unwrap();
        }
        Job::new(9, Order::sample(Kind::Full))
            .save(&layout.result(9))
            .unwrap();
        for damaged in [false, true] {
            if damaged {
                fs::write(layout.history(), "{").unwrap();
            }
            let outbox = Outbox::load(&layout).unwrap();
            let told = [7, 8, 9].map(|id| Some(outbox.result(id)?.reason.message.clone()));
            assert_eq!(told, [Some("kept".into()), Some("done".into()), None]);
        }
        // The history's own word stays.
        let mut outbox = Outbox::load(&layout).unwrap();
        outbox.take(&finished(8)).unwrap();
        let mut other = Job::new(8, Order::sample(Kind::Full));
        other.finish(JobResult::success("other"));
        other.save(&layout.result(8)).unwrap();
        let outbox = Outbox::load(&layout).unwrap();
        assert_eq!(outbox.result(8).unwrap().reason.message, "done");
    }

    #[test]
    fn unreported_jobs_outlive_reported_ones() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        let mut outbox = Outbox::load(&layout).unwrap();
        for id in 0..=KEPT as i64 + 1 {
            outbox.take(&finished(id)).unwrap();
            if id > 0 {
                outbox.acknowledge(id).unwrap();
            }
        }
        assert_eq!(outbox.unreported(), [0]);
        assert!(outbox.job(0).is_some() && outbox.job(1).is_none());
        assert!(outbox.result(1).is_some());
        fs::write(layout.results().join("9.json"), "{").unwrap();
        assert_eq!(Outbox::load(&layout).unwrap().unreported(), [0]);
    }
}
