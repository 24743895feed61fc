//! Fetching the package to mnt: resumed by range, judged while it arrives, and with an end whatever the server does.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dau_package::MAX_HEAD;

use crate::ending::Ending;
use crate::identity::Roots;
use crate::link::backoff::Backoff;
use crate::settings::Download as Settings;
use crate::work::{Context, Control};

mod answer;
mod http;
pub mod judge;
pub mod partial;
mod rate;

use answer::{Answer, Have};
use http::{Http, Response};
use judge::Judge;
use partial::Partial;
use rate::Limiter;

/// Bytes taken from the connection at once.
const BUFFER: usize = 32 << 10;
/// Longest pause that a Retry-After is obeyed for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// New tokens in a row that bring not one byte.
const MAX_TOKENS: u32 = 5;
/// How often the station is asked for a new token while none comes.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// Everything that a download needs.
#[derive(Debug)]
pub struct Download {
    pub settings: Settings,
    pub roots: Roots,
    pub judge: Judge,
    /// The `.part` file.
    pub part: PathBuf,
}

/// Why one try ended.
enum Stop {
    End(Ending),
    Unauthorized,
    Again {
        after: Option<Duration>,
        reason: String,
    },
}

impl From<Ending> for Stop {
    fn from(ending: Ending) -> Self {
        Stop::End(ending)
    }
}

/// State of a running download.
struct Run<'a> {
    download: &'a Download,
    context: &'a Context,
    http: Http,
    partial: Partial,
    limiter: Limiter,
    /// The package's head was found good.
    judged: bool,
    /// The most bytes that ever were there: a server that starts anew each time makes no progress.
    most: u64,
}

impl Download {
    /// Fetches until the whole package is there; returns the bytes that were fetched now.
    pub fn run(&self, context: &Context) -> Result<u64, Ending> {
        let now = dau_system::clock::now();
        let partial = Partial::open(&self.part, now).map_err(storage)?;
        let mut run = Run {
            download: self,
            context,
            http: Http::new(&self.settings, &self.roots),
            most: partial.len,
            partial,
            limiter: Limiter::new(self.settings.rate_limit, Instant::now()),
            judged: false,
        };
        let before = run.partial.len;
        run.until_complete()?;
        run.partial.sync().map_err(storage)?;
        Ok(run.partial.len.saturating_sub(before))
    }
}

impl Run<'_> {
    fn control(&self) -> &Control {
        &self.context.control
    }

    fn until_complete(&mut self) -> Result<(), Ending> {
        let settings = &self.download.settings;
        let mut backoff = Backoff::new(settings.retry);
        let (mut fruitless, mut tokens) = (0, 0);
        loop {
            self.control().check()?;
            let before = self.most;
            let stop = match self.attempt() {
                Ok(()) => return Ok(()),
                Err(stop) => stop,
            };
            self.most = self.most.max(self.partial.len);
            if self.most > before {
                (fruitless, tokens) = (0, 0);
                backoff.reset();
            }
            match stop {
                Stop::End(ending) => return Err(ending),
                Stop::Unauthorized => {
                    tokens += 1;
                    self.new_token(tokens)?;
                }
                Stop::Again { after, reason } => {
                    fruitless += 1;
                    self.check_patience(fruitless, &reason)?;
                    let asked = after.map(|after| after.min(LONGEST_RETRY_AFTER));
                    let pause = asked.unwrap_or_default().max(backoff.next());
                    let seconds = pause.as_secs_f64();
                    log::warn!("download interrupted: {reason}; again in {seconds:.1} s");
                    self.control().sleep(pause)?;
                }
            }
        }
    }

    /// Ends the job when it has brought nothing for too long.
    fn check_patience(&self, fruitless: u32, reason: &str) -> Result<(), Ending> {
        let settings = &self.download.settings;
        if fruitless >= settings.attempts {
            let text = format!("{fruitless} tries in a row brought nothing, the last: {reason}");
            return Err(Ending::failed("download", text));
        }
        let spent = dau_system::clock::now().saturating_sub(self.partial.note.started_at);
        if spent > settings.give_up_after.as_secs() {
            let text = format!("not complete after {spent} s, the last hindrance: {reason}");
            return Err(Ending::failed("download", text));
        }
        Ok(())
    }

    /// Asks the station for the order with a new token, and waits for it.
    fn new_token(&self, tokens: u32) -> Result<(), Ending> {
        let refuse = |text: &str| Err(Ending::failed("unauthorized", text));
        if tokens > MAX_TOKENS {
            return refuse("the file service takes none of the tokens of the station's orders");
        }
        let copy = self.control().source().copy;
        let deadline = Instant::now() + self.download.settings.token_wait;
        log::warn!("the file service refuses the token: waiting for the order to come again");
        loop {
            self.context.ask_for_order();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.control().wait_for_order(copy, left.min(ASK_EVERY))? {
                return Ok(());
            }
            if left <= ASK_EVERY {
                return refuse(
                    "the file service refuses the token, and no order with a new one came",
                );
            }
        }
    }

    /// One request, and what it brings.
    fn attempt(&mut self) -> Result<(), Stop> {
        self.judge_prefix()?;
        if self.partial.is_complete() && self.judged {
            return Ok(());
        }
        // Before the handshake adds its own.
        crate::memory::release_code();
        let source = self.control().source();
        let response = self.http.get(&source, &self.partial).map_err(|error| {
            match http::is_hopeless(&error) {
                true => Stop::End(Ending::failed("url", format!("{}: {error}", source.url))),
                false => Stop::Again {
                    after: None,
                    reason: error.to_string(),
                },
            }
        })?;
        let have = Have {
            bytes: self.partial.len,
            total: self.partial.note.total,
            etag: self.partial.note.etag.as_deref(),
        };
        match answer::judge(response.seen(), have) {
            Answer::Body { from, total } => self.body(response, from, total),
            Answer::Complete => self.completed(),
            Answer::StartOver(reason) => {
                self.start_over()?;
                Err(Stop::Again {
                    after: None,
                    reason: reason.to_owned(),
                })
            }
            Answer::Unauthorized => Err(Stop::Unauthorized),
            Answer::Again { after, reason } => Err(Stop::Again { after, reason }),
            Answer::End { word, reason } => Err(Ending::failed(word, reason).into()),
        }
    }

    fn start_over(&mut self) -> Result<(), Ending> {
        self.judged = false;
        self.partial.restart().map_err(storage)
    }

    fn body(&mut self, response: Response, from: u64, total: u64) -> Result<(), Stop> {
        if from == 0 && self.partial.len > 0 {
            log::warn!(
                "the file service starts anew: {} bytes are lost",
                self.partial.len
            );
            self.start_over()?;
        }
        self.check_space(total - from)?;
        let etag = answer::strong(response.seen().etag);
        self.partial.note.doubtful |= from > 0 && etag.is_none();
        self.partial.belongs_to(etag, total).map_err(storage)?;
        log::info!("downloading bytes {from} to {total}");
        crate::memory::release_code();
        self.take(response.body, total)
    }

    fn take(&mut self, mut body: impl Read, total: u64) -> Result<(), Stop> {
        let mut buffer = vec![0; self.limiter.portion(BUFFER)];
        let mut released = false;
        while self.partial.len < total {
            self.control().check()?;
            let left = usize::try_from(total - self.partial.len).unwrap_or(BUFFER);
            let end = left.min(buffer.len());
            let room = &mut buffer[..end];
            let count = match body.read(room) {
                Ok(0) => return Err(self.cut_short("the connection ended early")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.cut_short(&error.to_string())),
            };
            self.partial.append(&room[..count]).map_err(storage)?;
            self.judge_prefix()?;
            if self.judged && !released {
                // Handshake and signature are over; what is left to do takes little.
                crate::memory::release_code();
                released = true;
            }
            self.context.progress(self.partial.len, total);
            let pause = self.limiter.pass(count, Instant::now());
            self.control().sleep(pause)?;
        }
        self.completed()
    }

    fn cut_short(&self, reason: &str) -> Stop {
        Stop::Again {
            after: None,
            reason: format!("{reason} after {} bytes", self.partial.len),
        }
    }

    /// All bytes are there: the head, too, or there is none.
    fn completed(&mut self) -> Result<(), Stop> {
        self.judge_prefix()?;
        if self.judged {
            return Ok(());
        }
        let text = "the package ends before its manifest and signature do";
        Err(Ending::refused("truncated", text).into())
    }

    fn judge_prefix(&mut self) -> Result<(), Ending> {
        let Some(total) = self.partial.note.total.filter(|_| !self.judged) else {
            return Ok(());
        };
        let prefix = self.partial.prefix(MAX_HEAD).map_err(storage)?;
        self.judged = self.download.judge.first_bytes(&prefix, total)?;
        if self.judged {
            log::info!("the package's head is genuine and fits this terminal and the order");
        }
        Ok(())
    }

    fn check_space(&self, missing: u64) -> Result<(), Ending> {
        let free = crate::space::free(&self.download.part).map_err(storage)?;
        let reserve = self.download.settings.reserve;
        if missing.saturating_add(reserve) <= free {
            return Ok(());
        }
        Err(Ending::refused(
            "no-space",
            format!(
                "{missing} bytes are to be fetched and {reserve} to stay free, but mnt has {free}: \
                 make room there or take a smaller package"
            ),
        ))
    }
}

fn storage(error: io::Error) -> Ending {
    Ending::storage("the package cannot be kept", error)
}
