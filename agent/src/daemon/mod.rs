//! The main loop: one thread that holds the job, and decides; it never waits for network or disk
//! for long.

use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::Context;
use dau_handoff::Job;
use dau_protocol::message_type;
use dau_system::clock::{self, ShownTime};
use dau_system::cmdline::{BootReason, CommandLine};
use nix::errno::Errno;

use crate::backoff::Backoff;
use crate::identity::Identity;
use crate::link::{Link, LinkEvent};
use crate::outbox::Outbox;
use crate::promote;
use crate::report::{Bytes, Running};
use crate::settings::{Range, Settings};
use crate::spread::Spread;
use crate::tasks::Worker;
use crate::traffic::Traffic;
use crate::watchdog::Watchdog;
use event::Event;

mod commands;
pub mod event;
mod finish;
mod follow;
mod reboot;
mod recovery_os;
mod reporting;
mod survival;
#[cfg(test)]
mod tests;
mod work;

/// Events that may wait for the main loop.
const QUEUE: usize = 64;
/// Pause between two saves of the time, for a terminal whose clock battery is dead.
const SAVE_CLOCK_EVERY: Duration = Duration::from_secs(3600);
/// Pauses before a step of an OS on trial that did not work is tried again, health checks included.
const RETRY: Range = Range {
    min: Duration::from_secs(60),
    max: Duration::from_secs(3600),
};
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
    /// There was a job, and it could not be read.
    lost: bool,
    outbox: Outbox,
    traffic: Traffic,
    /// SHA-256 of the manifests of the packages kept on mnt.
    packages: Vec<String>,
    worker: Option<Worker>,
    /// Counts tasks: the number of the one under way.
    tasks: u32,
    /// Progress of the current state.
    bytes: Bytes,
    timers: Timers,
    /// Pauses between reports of results.
    repeat: Backoff,
    /// Pauses between tries of a step.
    retry: Backoff,
    /// Pauses between EVENT_LINKUPs that nobody answers.
    repeat_link_up: Backoff,
    /// Time of the last EVENT_LINKUP.
    greeted: Option<Instant>,
    /// Time over which the station has EVENT_LINKUPs spread.
    spread: Spread,
    /// Results handed to the broker with QoS 2 and not yet taken over.
    undelivered: usize,
    next_mid: i64,
    /// Everything is over but the reboot.
    rebooting: bool,
    watchdog: Watchdog,
    /// The time at the last connection: the station's certificate was valid then.
    shown_time: Option<ShownTime>,
}

/// Due times; `None`: not at all.
#[derive(Debug, Default)]
struct Timers {
    heartbeat: Option<Instant>,
    clock: Option<Instant>,
    result: Option<Instant>,
    /// EVENT_LINKUP is sent again.
    link_up: Option<Instant>,
    /// A worker that does not stop is left to itself.
    cancelled: Option<Instant>,
    /// The task is checked for standing still.
    stall: Option<Instant>,
    job_start: Option<Instant>,
    /// A step that did not work is tried again.
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
            self.link_up,
            self.cancelled,
            self.stall,
            self.job_start,
            self.retry,
            self.force_reboot,
            self.watchdog,
        ];
        all.into_iter().flatten().min()
    }
}

/// Returns true once the time has come, and clears the timer.
fn is_due(timer: &mut Option<Instant>, now: Instant) -> bool {
    let due = timer.is_some_and(|at| at <= now);
    if due {
        *timer = None;
    }
    due
}

impl Daemon {
    /// Gets everything ready and starts to connect. The signal to end must already be blocked: see
    /// `main`.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let layout = settings.layout.clone();
        match layout.create() {
            Err(error) if error.raw_os_error() == Some(Errno::EROFS as i32) => {
                log::error!("mnt takes no writes, so no order can be taken: {error}");
            }
            created => created.with_context(|| {
                format!("cannot use {}: is mnt mounted?", layout.root().display())
            })?,
        }
        match layout.remove_temporaries() {
            Ok(0) => {}
            Ok(count) => log::warn!("{count} files that were being written are removed"),
            Err(error) => log::warn!("{} cannot be tidied: {error}", layout.root().display()),
        }
        let identity = Identity::load(&settings.identity)?;
        let running = running(&settings)?;
        let watchdog = Watchdog::open(&settings.watchdog);
        let outbox = Outbox::load(&layout)?;
        let (sender, events) = sync_channel(QUEUE);
        let tell = sender.clone();
        let traffic = Traffic::load(layout.traffic(), &settings.download);
        let link = Link::start(&settings, &identity, &traffic, move |event| {
            tell.send(Event::Link(event)).is_ok()
        })?;
        let now = Instant::now();
        Ok(Daemon {
            repeat: Backoff::new(settings.mqtt.result_repeat),
            retry: Backoff::new(RETRY),
            repeat_link_up: Backoff::new(settings.mqtt.result_repeat),
            greeted: None,
            spread: Spread::load(layout.spread()),
            timers: Timers {
                heartbeat: now.checked_add(settings.mqtt.heartbeat),
                clock: now.checked_add(SAVE_CLOCK_EVERY),
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
            lost: false,
            packages: promote::kept(&layout),
            outbox,
            traffic,
            worker: None,
            tasks: 0,
            bytes: None,
            undelivered: 0,
            rebooting: false,
            watchdog,
            shown_time: None,
        })
    }

    /// Returns a sender for the threads that `main` starts.
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
                Ok(Event::Stop) => {
                    self.survive_work();
                    break;
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) if self.rebooting => self.await_reboot(),
                Ok(Event::Link(event)) => self.link_event(event),
                Ok(Event::Task(number, event)) => self.task_event(number, event),
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
        self.traffic.save();
        Ok(())
    }

    /// Pets the watchdog while the main loop turns. A worker that hangs is no reason to bite: it
    /// has limits of its own.
    fn pet(&mut self, now: Instant) {
        if is_due(&mut self.timers.watchdog, now) {
            self.watchdog.pet();
            self.timers.watchdog = self
                .watchdog
                .interval()
                .and_then(|every| now.checked_add(every));
        }
    }

    fn tick(&mut self, now: Instant) {
        if is_due(&mut self.timers.heartbeat, now) {
            self.timers.heartbeat = now.checked_add(self.settings.mqtt.heartbeat);
            self.send_heartbeat();
        }
        if is_due(&mut self.timers.clock, now) {
            self.timers.clock = now.checked_add(SAVE_CLOCK_EVERY);
            self.save_clock();
        }
        if is_due(&mut self.timers.result, now) {
            self.send_results();
        }
        if is_due(&mut self.timers.link_up, now) {
            self.send_link_up();
        }
        if is_due(&mut self.timers.cancelled, now) {
            self.leave_worker();
        }
        if is_due(&mut self.timers.stall, now) {
            self.look_for_stall();
        }
        if is_due(&mut self.timers.job_start, now) {
            self.proceed();
        }
        if is_due(&mut self.timers.retry, now) {
            self.proceed();
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected => {
                let shown = ShownTime::now();
                self.shown_time = Some(shown);
                self.traffic.show(shown);
                self.greet();
            }
            LinkEvent::Disconnected => {
                self.timers.link_up = None;
                log::warn!("the connection to the station is lost");
            }
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

    /// Saves the time of the last connection, below which the next start never goes. Any other time
    /// may be far ahead and would keep the terminal from its station for ever.
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
