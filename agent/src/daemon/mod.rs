//! The main loop: one thread that holds the job, and decides; it never waits for network or disk for long.

use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::Context;
use dau_handoff::{Job, JobState};
use dau_protocol::message_type;
use dau_system::clock::{self, ShownTime};
use dau_system::cmdline::{BootReason, CommandLine};

use crate::event::Event;
use crate::identity::Identity;
use crate::link::backoff::Backoff;
use crate::link::{Link, LinkEvent};
use crate::outbox::Outbox;
use crate::report::{Bytes, Running};
use crate::settings::Settings;
use crate::watchdog::Watchdog;
use crate::work::Worker;

mod commands;
mod phases;
mod reboot;
mod recovery_os;
mod reporting;
mod trial;

/// Events that may wait for the main loop.
const QUEUE: usize = 64;
/// How often the time is kept for a terminal whose clock battery is dead.
const SAVE_CLOCK_EVERY: Duration = Duration::from_secs(3600);
/// Longest sleep of the main loop, for want of anything earlier.
const IDLE: Duration = Duration::from_secs(3600);

/// The agent.
#[derive(Debug)]
pub struct Daemon {
    settings: Settings,
    identity: Identity,
    running: Running,
    command_line: CommandLine,
    link: Link,
    events: Receiver<Event>,
    sender: SyncSender<Event>,
    /// The current job, until it has its result.
    job: Option<Job>,
    outbox: Outbox,
    worker: Option<Worker>,
    /// Counts workers.
    workers: u32,
    /// Progress of the current state.
    bytes: Bytes,
    timers: Timers,
    /// Pauses between reports of results.
    repeat: Backoff,
    /// Results handed to the broker with QoS 2 and not yet taken over.
    undelivered: usize,
    next_mid: i64,
    /// Everything is over but the reboot.
    rebooting: bool,
    watchdog: Watchdog,
    /// The time at the last connection: the station's certificate was valid then.
    shown_time: Option<ShownTime>,
}

/// When what is due; `None`: not at all.
#[derive(Debug, Default)]
struct Timers {
    heartbeat: Option<Instant>,
    clock: Option<Instant>,
    result: Option<Instant>,
    job_start: Option<Instant>,
    /// What did not work is tried again.
    retry: Option<Instant>,
    force_reboot: Option<Instant>,
    /// The watchdog is petted.
    watchdog: Option<Instant>,
}

impl Timers {
    fn earliest(&self) -> Option<Instant> {
        let all = [
            self.heartbeat,
            self.clock,
            self.result,
            self.job_start,
            self.retry,
            self.force_reboot,
            self.watchdog,
        ];
        all.into_iter().flatten().min()
    }
}

/// True once when the time has come.
fn is_due(timer: &mut Option<Instant>, now: Instant) -> bool {
    let due = timer.is_some_and(|at| at <= now);
    if due {
        *timer = None;
    }
    due
}

impl Daemon {
    /// Gets everything ready and starts to connect. The signal to end must already be blocked: see `main`.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let layout = settings.layout.clone();
        layout
            .create()
            .with_context(|| format!("cannot use {}: is mnt mounted?", layout.root().display()))?;
        let identity = Identity::load(&settings.identity)?;
        let running = running(&settings)?;
        let watchdog = Watchdog::open(&settings.watchdog);
        let outbox = Outbox::load(&layout)?;
        let (sender, events) = sync_channel(QUEUE);
        let link = Link::start(&settings, &identity, sender.clone())?;
        let now = Instant::now();
        Ok(Daemon {
            repeat: Backoff::new(settings.mqtt.result_repeat),
            timers: Timers {
                heartbeat: Some(now + settings.mqtt.heartbeat),
                clock: Some(now + SAVE_CLOCK_EVERY),
                watchdog: watchdog.interval().map(|_| now),
                ..Timers::default()
            },
            // Larger than that of any earlier start, as far as the clock can be trusted.
            next_mid: i64::try_from(clock::now())
                .unwrap_or(0)
                .saturating_mul(1000),
            command_line: CommandLine::read(),
            settings,
            identity,
            running,
            link,
            events,
            sender,
            job: None,
            outbox,
            worker: None,
            workers: 0,
            bytes: None,
            undelivered: 0,
            rebooting: false,
            watchdog,
            shown_time: None,
        })
    }

    /// A sender for the threads that `main` starts.
    pub fn sender(&self) -> SyncSender<Event> {
        self.sender.clone()
    }

    /// Runs until it is told to end.
    pub fn run(mut self) -> anyhow::Result<()> {
        self.take_up();
        loop {
            let now = Instant::now();
            self.pet(now);
            let timeout = match self.timers.earliest() {
                Some(at) => at.saturating_duration_since(now).min(IDLE),
                None => IDLE,
            };
            match self.events.recv_timeout(timeout) {
                Ok(Event::Stop) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) if self.rebooting => self.await_reboot(),
                Ok(Event::Link(event)) => self.link_event(event),
                Ok(Event::Work(number, event)) => self.work_event(number, event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("all other threads are gone"),
            }
            if !self.rebooting {
                self.tick(Instant::now());
            }
        }
        if !self.rebooting {
            log::info!("ending, as asked");
            self.say_goodbye("stopped");
            // While the system goes down for the job, and on trial, the watchdog goes on.
            if self.command_line.reason != Some(BootReason::Trial) {
                self.watchdog.disarm();
            }
        }
        self.save_clock();
        Ok(())
    }

    /// Says that the main loop turns. A worker that hangs is no reason to bite: it has limits of its own.
    fn pet(&mut self, now: Instant) {
        if is_due(&mut self.timers.watchdog, now) {
            self.watchdog.pet();
            self.timers.watchdog = self.watchdog.interval().map(|every| now + every);
        }
    }

    fn tick(&mut self, now: Instant) {
        if is_due(&mut self.timers.heartbeat, now) {
            self.timers.heartbeat = Some(now + self.settings.mqtt.heartbeat);
            self.send_heartbeat();
        }
        if is_due(&mut self.timers.clock, now) {
            self.timers.clock = Some(now + SAVE_CLOCK_EVERY);
            self.save_clock();
        }
        if is_due(&mut self.timers.result, now) {
            self.send_results();
        }
        if is_due(&mut self.timers.job_start, now) {
            self.advance();
        }
        if is_due(&mut self.timers.retry, now) {
            self.retry();
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected => {
                self.shown_time = Some(ShownTime::now());
                self.greet();
                crate::memory::release_code();
            }
            LinkEvent::Disconnected => log::warn!("the connection to the station is lost"),
            LinkEvent::Message(message) => {
                self.message(&message.publish);
                // What had to be kept is on the medium now.
                self.link.acknowledge(&message);
            }
            LinkEvent::Delivered => self.delivered(),
            LinkEvent::Oversize(length) => {
                let text = format!("a message of {length} bytes was dropped: it is too long");
                self.reply(
                    0,
                    message_type::UPGRADE,
                    dau_protocol::code::BAD_REQUEST,
                    &text,
                );
            }
        }
    }

    fn retry(&mut self) {
        match self.job.as_ref().map(|job| &job.state) {
            Some(JobState::Finished { .. }) => self.hand_in(None),
            Some(JobState::Trial) | None => self.start_trial(),
            Some(_) => {}
        }
    }

    /// Keeps the time for the next start, which never goes below it. A clock that jumps ahead once, linked or not, would
    /// otherwise keep the terminal from its station for ever.
    fn save_clock(&self) {
        let Some(shown) = self.shown_time else {
            return;
        };
        let path = self.settings.layout.clock();
        if let Err(error) = clock::save(&path, shown.to_keep()) {
            log::warn!("cannot keep the time in {}: {error}", path.display());
        }
    }
}

fn running(settings: &Settings) -> anyhow::Result<Running> {
    let path = &settings.os_release;
    let release = dau_system::release::Release::read(path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let kernel = nix::sys::utsname::uname()?;
    Ok(Running {
        release,
        kernel: kernel.release().to_string_lossy().into_owned(),
        kernel_slot: CommandLine::read().kernel,
        recovery: crate::boot::recovery_in_charge(&settings.boot).unwrap_or_else(|error| {
            log::warn!("the version of RecoveryOS is not known: {error:#}");
            None
        }),
    })
}
