//! Fetching the package to mnt: resumed by range, checked while it arrives, and with an end
//! whatever the server does.
//!
//! - here: tries, pauses, and when patience ends
//! - `transfer`: one try; `http`: its request and answer; `answer`: what an answer means
//! - `partial`: what is on mnt; `rate`: how fast it may come

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dau_model::Word;

use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::identity::Identity;
use crate::settings::Download as Settings;
use crate::tasks::handle::Handle;
use crate::traffic::Traffic;

mod answer;
mod http;
mod partial;
mod rate;
mod source;
mod transfer;

use crate::acceptance::Acceptance;
use http::Http;
pub use partial::Partial;
use rate::Limiter;
pub use source::Source;

/// Longest pause that a Retry-After is obeyed for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// New tokens in a row that bring not one byte.
const MAX_TOKENS: u32 = 5;
/// Suspect answers in a row, counted over restarts: with the usual pauses, some 10 minutes.
const MAX_SUSPECTS: u32 = 10;
/// Pause between two requests for a new token while none comes.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// Everything that a download needs.
#[derive(Debug)]
pub struct Download {
    pub settings: Settings,
    /// Vouches for the file service.
    pub identity: Identity,
    pub acceptance: Acceptance,
    pub source: Arc<Source>,
    /// The `.part` file.
    pub part: PathBuf,
    pub traffic: Traffic,
}

/// Why one try ended.
enum Stop {
    End(Failure),
    Unauthorized,
    /// Hardly the file service's last word; if it is, the job ends so.
    Suspect(Failure),
    Again {
        after: Option<Duration>,
        reason: String,
    },
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::End(failure)
    }
}

/// State of a running download.
struct Run<'a> {
    download: &'a Download,
    handle: &'a Handle,
    http: Http<'a>,
    partial: Partial,
    limiter: Limiter,
    backoff: Backoff,
    /// The package's head was found good.
    head_checked: bool,
    /// The most bytes that ever were there: a server that starts anew each time makes no progress.
    most: u64,
}

impl Download {
    /// Fetches until the whole package is there; returns the bytes that were fetched now.
    pub fn run(&self, handle: &Handle) -> Result<u64, Failure> {
        let now = dau_system::clock::now();
        let partial = Partial::resume(&self.part, now).map_err(storage)?;
        let mut run = Run {
            download: self,
            handle,
            http: Http {
                settings: &self.settings,
                identity: &self.identity,
                traffic: &self.traffic,
            },
            most: partial.len,
            partial,
            limiter: Limiter::new(self.rate(), Instant::now()),
            backoff: Backoff::new(self.settings.retry),
            head_checked: false,
        };
        let before = run.partial.len;
        run.until_complete()?;
        run.partial.finish().map_err(storage)?;
        Ok(run.partial.len.saturating_sub(before))
    }
}

impl Download {
    /// Returns the bytes per second that may come now; 0: no limit.
    fn rate(&self) -> u64 {
        self.settings.rate.at(self.traffic.minute_of_day())
    }
}

impl Run<'_> {
    fn until_complete(&mut self) -> Result<(), Failure> {
        let (mut fruitless, mut tokens) = (0_u32, 0_u32);
        loop {
            self.handle.check()?;
            let before = self.most;
            let stop = match self.attempt() {
                Ok(()) => return Ok(()),
                Err(stop) => stop,
            };
            self.most = self.most.max(self.partial.len);
            if self.most > before {
                (fruitless, tokens) = (0, 0);
                self.partial.count_suspects(0).map_err(storage)?;
                self.backoff.reset();
            }
            match stop {
                Stop::End(failure) => return Err(failure),
                Stop::Unauthorized => {
                    tokens = tokens.saturating_add(1);
                    self.new_token(tokens)?;
                }
                Stop::Suspect(failure) => self.suspect(failure)?,
                Stop::Again { after, reason } => {
                    fruitless = fruitless.saturating_add(1);
                    self.check_patience(fruitless, &reason)?;
                    self.pause(after, &reason)?;
                }
            }
        }
    }

    fn pause(&mut self, after: Option<Duration>, reason: &str) -> Result<(), Failure> {
        let asked = after.map(|after| after.min(LONGEST_RETRY_AFTER));
        let pause = asked.unwrap_or_default().max(self.backoff.next());
        let seconds = pause.as_secs_f64();
        log::warn!("download interrupted: {reason}; again in {seconds:.1} s");
        self.handle.sleep(pause)
    }

    /// Pauses after a suspect answer; the last of too many ends the job.
    fn suspect(&mut self, mut failure: Failure) -> Result<(), Failure> {
        let suspects = self.partial.note.suspects.saturating_add(1);
        self.partial.count_suspects(suspects).map_err(storage)?;
        if suspects >= MAX_SUSPECTS.min(self.download.settings.attempts) {
            let last = &failure.reason.message;
            failure.reason.message =
                format!("{suspects} tries in a row brought nothing, the last: {last}");
            return Err(failure);
        }
        self.check_time(&failure.reason.message)?;
        self.pause(None, &failure.reason.message)
    }

    /// Ends the job when it has brought nothing for too long.
    fn check_patience(&self, fruitless: u32, reason: &str) -> Result<(), Failure> {
        if fruitless >= self.download.settings.attempts {
            let text = format!("{fruitless} tries in a row brought nothing, the last: {reason}");
            return Err(Failure::failed(Word::Download, text));
        }
        self.check_time(reason)
    }

    /// Ends the job when it takes too long in all, be it for a server that sends a byte now and
    /// then.
    fn check_time(&self, hindrance: &str) -> Result<(), Failure> {
        let spent = dau_system::clock::now().saturating_sub(self.partial.note.started_at);
        if spent > self.download.settings.give_up_after.as_secs() {
            let text = format!("not complete after {spent} s, the last hindrance: {hindrance}");
            return Err(Failure::failed(Word::Download, text));
        }
        Ok(())
    }

    /// Asks the station for the order with a new token, and waits for it.
    fn new_token(&self, tokens: u32) -> Result<(), Failure> {
        let refuse = |text: &str| Err(Failure::failed(Word::Unauthorized, text));
        if tokens > MAX_TOKENS {
            return refuse("the file service takes none of the tokens of the station's orders");
        }
        let copy = self.download.source.place().copy;
        let asked = Instant::now();
        log::warn!("the file service refuses the token: waiting for the order to come again");
        loop {
            self.handle.ask_for_order();
            let left = self.download.settings.token_wait;
            let left = left.saturating_sub(asked.elapsed());
            let came = || self.download.source.place().copy != copy;
            if self.handle.wait(left.min(ASK_EVERY), came)? {
                return Ok(());
            }
            if left <= ASK_EVERY {
                return refuse(
                    "the file service refuses the token, and no order with a new one came",
                );
            }
        }
    }
}

fn storage(error: io::Error) -> Failure {
    Failure::storage("the package cannot be kept", error)
}
