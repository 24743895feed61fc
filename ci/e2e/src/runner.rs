//! Runs the end-to-end tests, several terminals side by side, and says what came of each.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use crate::places::Places;
use crate::process::tail;
use crate::scenarios::{Case, Suite, MEDIA, SUITES};
use crate::site::Site;

/// Lines of the console that a failure shows.
const CONSOLE_LINES: usize = 40;

/// What is run, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only cases whose name contains this; those of [`MEDIA`] are among them.
    pub only: Option<String>,
    /// Only those of [`MEDIA`].
    pub media: bool,
    /// Terminals side by side.
    pub jobs: usize,
}

/// How one case ended.
struct Ended {
    name: &'static str,
    took: Duration,
    /// What went wrong, and where to look.
    failure: Option<String>,
}

/// Prints every case with what it is about.
pub fn list() {
    for case in SUITES.iter().chain(MEDIA).flat_map(|suite| suite.cases) {
        println!("{:44} {}", case.name, case.about);
    }
}

/// Runs the cases; fails when one of them does.
pub fn run(places: &Places, options: &Options) -> Result<()> {
    let (ordinary, media): (&[Suite], &[Suite]) = match (options.media, &options.only) {
        (true, _) => (&[], MEDIA),
        (false, Some(_)) => (SUITES, MEDIA),
        (false, None) => (SUITES, &[]),
    };
    let queue: VecDeque<_> = ordinary
        .iter()
        .chain(media)
        .filter_map(|suite| chosen(suite, options))
        .collect();
    if queue.is_empty() {
        bail!("no test is named so: dau-e2e run --list names them all");
    }
    let started = Instant::now();
    let queue = Mutex::new(queue);
    let ended = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some((suite, cases)) = take(&queue) {
                    run_suite(places, suite, &cases, &|case| {
                        report(&case);
                        lock(&ended).push(case);
                    });
                }
            });
        }
    });
    let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failed: Vec<_> = ended.iter().filter(|case| case.failure.is_some()).collect();
    println!(
        "end to end, {}, {} s",
        places.machine(),
        started.elapsed().as_secs()
    );
    for case in &failed {
        println!("failed: {}", case.name);
    }
    println!(
        "{} passed, {} failed",
        ended.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        return Ok(());
    }
    bail!("end-to-end tests failed")
}

fn chosen(
    suite: &'static Suite,
    options: &Options,
) -> Option<(&'static Suite, Vec<&'static Case>)> {
    let wanted = |case: &&Case| {
        options
            .only
            .as_deref()
            .is_none_or(|only| case.name.contains(only))
    };
    let cases: Vec<_> = suite.cases.iter().filter(wanted).collect();
    (!cases.is_empty()).then_some((suite, cases))
}

fn take<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    lock(queue).pop_front()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the cases of a suite on one site, in order. After a failure the rest gets a new site: the old one's state is
/// not known.
fn run_suite(
    places: &Places,
    suite: &'static Suite,
    cases: &[&'static Case],
    done: &dyn Fn(Ended),
) {
    let mut running = None;
    for case in cases {
        let started = Instant::now();
        let ready = match running.take() {
            Some(site) => Ok(site),
            None => prepare(places, suite, &places.work().join(case.name)),
        };
        let ended = ready.and_then(|mut site| match (case.run)(&mut site) {
            Ok(()) => Ok(site),
            Err(error) => Err(explain(error, site)),
        });
        let failure = match ended {
            Ok(site) => {
                running = Some(site);
                None
            }
            Err(error) => Some(format!("{error:#}")),
        };
        done(Ended {
            name: case.name,
            took: started.elapsed(),
            failure,
        });
    }
}

/// A new site in an empty folder.
fn prepare(places: &Places, suite: &Suite, folder: &Path) -> Result<Site> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let mut site = Site::new(places, folder, &(suite.options)())?;
    match site.start() {
        Ok(()) => Ok(site),
        Err(error) => Err(explain(error, site)),
    }
}

/// Adds where to look, and the end of the console. The terminal loses its power: its disk stays as it is.
fn explain(error: anyhow::Error, mut site: Site) -> anyhow::Error {
    site.terminal.power_cut();
    let log = site.terminal.console().log();
    let end = tail(log, CONSOLE_LINES).replace('\n', "\n    ");
    let folder = site.folder.display();
    anyhow::anyhow!(
        "{error:#}\n  work folder {folder}\n  console {}, its end:\n    {end}",
        log.display()
    )
}

fn report(case: &Ended) {
    let took = case.took.as_secs_f64();
    match &case.failure {
        None => println!("ok      {:44} {took:6.1} s", case.name),
        Some(failure) => println!("FAILED  {:44} {took:6.1} s\n  {failure}", case.name),
    }
}
