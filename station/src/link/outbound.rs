//! Sends what is due to terminals, and does what is due by the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dau_protocol::{code, message_type, Channel, Envelope, StatusQuery, Topic};
use log::{error, info, warn};
use tokio::sync::Notify;

use super::session::Link;
use super::window::{self, Window};
use crate::clock::{self, Watch};
use crate::config::Config;
use crate::store::orders::Silent;
use crate::store::outbox::Outgoing;
use crate::store::times::Moment;
use crate::store::{
    self, archive, jobs, orders, outbox, sessions, stations, terminals, times, tokens, Store, Write,
};

/// Commands, questions or jobs per transaction.
const BATCH: u32 = 500;
/// Time between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// Least time between two looks at the commands: what came meanwhile shares a transaction.
const GATHER: Duration = Duration::from_millis(10);
/// Ticks between two rounds of the rarer tasks.
const SELDOM: u64 = 60;
/// Time between two checks of the record's age and size.
const RECORD_PAUSE: Duration = Duration::from_secs(600);

/// Sends what is due whenever `wake` is notified and at every tick; runs for ever.
pub async fn run(config: Arc<Config>, store: Store, link: Link, wake: Arc<Notify>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watch = Watch::new(clock::now(), Instant::now());
    let mut count: u64 = 0;
    let window = Window::new(config.mqtt.broker_queue.into());
    let mut pump = Pump {
        config,
        store,
        link,
        window,
        others: i64::MAX,
        jump: 0,
    };
    loop {
        let ticked = tokio::select! {
            _ = ticks.tick() => true,
            () = wake.notified() => false,
        };
        if ticked {
            let jump = watch.jump(clock::now(), Instant::now());
            if jump != 0 {
                warn!("the clock jumped by {jump} s: everything that is due some time moves along");
            }
            pump.jump = pump.jump.saturating_add(jump);
            if let Err(error) = pump.tick(count.is_multiple_of(SELDOM)).await {
                error!("the clock's work cannot be stored: {error}");
            }
            count = count.wrapping_add(1);
        }
        if let Err(error) = pump.send_due().await {
            error!("commands cannot be sent: {error:#}");
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Moves old parts of the record into archives; runs for ever.
pub async fn keep_record(config: Arc<Config>, store: Store) {
    loop {
        match archive::seal_due(&store, &config).await {
            Ok(0) => {}
            Ok(count) => info!("{count} archives of the record were written"),
            Err(error) => error!("archives of the record: {error:#}"),
        }
        tokio::time::sleep(RECORD_PAUSE).await;
    }
}

/// Sends and does what is due.
struct Pump {
    config: Arc<Config>,
    store: Store,
    link: Link,
    window: Window,
    /// Up to when other stations have heard terminals, too.
    others: i64,
    /// Seconds by which the clock jumped and times in the database did not yet.
    jump: i64,
}

impl Pump {
    fn moment(&self) -> Moment {
        let lag = i64::try_from(self.link.lag().as_secs()).unwrap_or(i64::MAX);
        let now = clock::now();
        Moment {
            now,
            heard: now.saturating_sub(lag).min(self.others),
        }
    }

    /// Returns how many commands or questions, each for so many messages, may be sent now: none
    /// without a connection, as nothing would count as sent.
    fn room(&mut self, messages: u64) -> u32 {
        if !self.link.is_up() {
            return 0;
        }
        let room = self.window.room(Instant::now(), self.link.lag());
        let room = room.checked_div(messages).unwrap_or(0);
        u32::try_from(room).unwrap_or(BATCH).min(BATCH)
    }

    async fn publish(&mut self, messages: Vec<Outgoing>, each: u64) {
        let caused = (messages.len() as u64).saturating_mul(each);
        self.window.note(Instant::now(), caused);
        for message in messages {
            self.link.publish(message).await;
        }
    }

    async fn send_due(&mut self) -> store::Result<()> {
        loop {
            let limit = self.room(window::COMMAND);
            if limit == 0 {
                return Ok(());
            }
            let (at, config) = (self.moment(), Arc::clone(&self.config));
            let due = self
                .store
                .write(move |w| outbox::take_due(w, at, &config, limit));
            let due = due.await?;
            self.publish(due.messages, window::COMMAND).await;
            if due.taken < limit {
                return Ok(());
            }
        }
    }

    /// Tells other stations up to when this one has heard terminals, and asks for theirs. What is sent
    /// while there is no connection does not wait for this station.
    async fn meet_others(&mut self) -> store::Result<()> {
        if self.config.mqtt.share.is_none() {
            return Ok(());
        }
        self.others = i64::MAX;
        let Moment { now, heard } = self.moment();
        let heard = if self.link.is_up() { heard } else { now };
        let name = self.config.mqtt.client_id.clone();
        let noted = self
            .store
            .write(move |w| stations::note(w, &name, now, heard));
        self.others = noted.await?;
        Ok(())
    }

    /// Does what is due by the clock.
    async fn tick(&mut self, seldom: bool) -> store::Result<()> {
        self.meet_others().await?;
        let (at, jump) = (self.moment(), self.jump);
        let offline = times::seconds(self.config.jobs.offline_seconds);
        let heard_since = at.heard.saturating_sub(offline);
        if jump != 0 || seldom {
            let config = Arc::clone(&self.config);
            let rarer = self.store.write(move |w| {
                if jump != 0 {
                    times::shift(w, at.now, jump, &config.mqtt.client_id)?;
                }
                times::settle(w, at.now, &config)?;
                if seldom {
                    tokens::purge(w, at.now)?;
                    sessions::purge(w, at.now)?;
                    stations::purge(w, at.now)?;
                    terminals::ask_stale(w, at.now, heard_since)?;
                }
                terminals::count(w)
            });
            self.link.spread_for(rarer.await?);
            self.jump = 0;
        }
        self.all(move |w, limit| orders::expire(w, at, limit))
            .await?;
        self.all(move |w, limit| orders::retry_busy(w, at.now, limit))
            .await?;
        self.all(move |w, limit| jobs::finish_refused(w, at, limit))
            .await?;
        let query = self.config.jobs.query_seconds;
        self.ask(move |w, limit| {
            let silent = orders::silent(w, at, query, limit)?;
            let questions = silent
                .asked
                .iter()
                .map(|silent| ask_for_job(silent, at.now));
            Ok((questions.collect(), silent.taken))
        })
        .await?;
        self.ask(move |w, limit| {
            let unknown = terminals::take_unknown(w, at.heard, heard_since, limit)?;
            let questions = unknown.asked.iter().map(|id| ask_for_link_up(id, at.now));
            Ok((questions.collect(), unknown.taken))
        })
        .await
    }

    /// Does `work` by batches until one is not full.
    async fn all(
        &self,
        work: impl Fn(&Write<'_>, u32) -> store::Result<usize> + Copy + Send + 'static,
    ) -> store::Result<()> {
        loop {
            let done = self.store.write(move |w| work(w, BATCH)).await?;
            if done < BATCH as usize {
                return Ok(());
            }
        }
    }

    /// Sends questions by batches until one is not full, or as many as the window has room for. They
    /// are not sent again, as nothing is lost with them.
    async fn ask(
        &mut self,
        work: impl Fn(&Write<'_>, u32) -> store::Result<(Vec<Outgoing>, u32)> + Copy + Send + 'static,
    ) -> store::Result<()> {
        loop {
            let limit = self.room(window::QUESTION);
            if limit == 0 {
                return Ok(());
            }
            let (questions, taken) = self.store.write(move |w| work(w, limit)).await?;
            self.publish(questions, window::QUESTION).await;
            if taken < limit {
                return Ok(());
            }
        }
    }
}

fn ask_for_job(silent: &Silent, now: i64) -> Outgoing {
    let query = Envelope::request(
        silent.mid,
        &silent.terminal,
        u64::try_from(now).unwrap_or(0),
        message_type::STATUS_QUERY,
        StatusQuery { job_id: silent.job },
    );
    Outgoing::new(Topic::new(&silent.terminal, Channel::Command), &query)
}

/// Replies, unasked, that the terminal is unknown, so that it sends EVENT_LINKUP again.
fn ask_for_link_up(terminal: &str, now: i64) -> Outgoing {
    let clock = u64::try_from(now).unwrap_or(0);
    let text = "what is known of this terminal is missing or old: send EVENT_LINKUP again";
    let link_up = message_type::LINK_UP;
    let answer = Envelope::reply(0, terminal, clock, link_up, code::NOT_FOUND, text);
    Outgoing::new(Topic::new(terminal, Channel::Response), &answer)
}
