//! Runs the end-to-end tests on several terminals in parallel and reports the results.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use crate::scenarios::{Case, Suite, MEDIA, SUITES};
use dau_rig::places::{lock_folder, Places};
use dau_rig::process::tail;
use dau_rig::site::Site;

/// Lines of the console shown with a failure.
const CONSOLE_LINES: usize = 40;

/// The choice of tests.
#[derive(Debug, Clone)]
pub struct Options {
    /// Run only cases whose name contains one of these, including those of [`MEDIA`]; empty: all.
    pub only: Vec<String>,
    /// Run only the cases of [`MEDIA`].
    pub media: bool,
    /// Number of terminals in parallel.
    pub jobs: usize,
}

/// The result of one case.
struct Ended {
    name: &'static str,
    took: Duration,
    /// The error, with pointers to the logs.
    failure: Option<String>,
}

/// Prints every case with its description.
pub fn list() {
    for case in SUITES.iter().chain(MEDIA).flat_map(|suite| suite.cases) {
        println!("{:44} {}", case.name, case.about);
    }
}

/// Runs the cases; fails if one of them fails.
pub fn run(places: &Places, options: &Options) -> Result<()> {
    let (ordinary, media): (&[Suite], &[Suite]) = match (options.media, options.only.is_empty()) {
        (true, _) => (&[], MEDIA),
        (false, false) => (SUITES, MEDIA),
        (false, true) => (SUITES, &[]),
    };
    let queue: VecDeque<_> = ordinary
        .iter()
        .chain(media)
        .filter_map(|suite| chosen(suite, options))
        .collect();
    if queue.is_empty() {
        bail!("no test is named so: dau-e2e run --list names them all");
    }
    let _lock = lock_folder(places.work())?;
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
        places.product(),
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
        let mut only = options.only.iter();
        only.len() == 0 || only.any(|only| case.name.contains(only.as_str()))
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

/// Runs the cases of a suite on one site, in order. After a failure the rest gets a new site, as
/// the state of the old one is unknown.
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

/// Starts a new site in an empty folder.
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

/// Adds pointers to the logs and the end of the console. The terminal is switched off, so its disk
/// stays as it is.
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
