//! One try to fetch what is missing.

use std::io::{self, Read};
use std::time::Instant;

use dau_model::{Outcome, Reason, Word};
use dau_package::{Head, MAX_HEAD, MIN_HEAD};
use dau_protocol::DownloadUrl;

use super::answer::{self, Answer, Have};
use super::http::Response;
use super::{storage, Run, Stop};
use crate::failure::Failure;
use crate::traffic::Need;

/// Bytes taken from the connection at once.
const BUFFER: usize = 32 << 10;
/// Bytes by which a package is known from a page.
const FIRST: u64 = MIN_HEAD as u64;

impl Run<'_> {
    /// Makes one request and takes what it brings.
    pub(super) fn attempt(&mut self) -> Result<(), Stop> {
        self.check_head()?;
        if self.partial.is_complete() && self.head_checked {
            return Ok(());
        }
        let source = self.download.source.place();
        let url = match self.download.settings.allow_http {
            true => DownloadUrl::parse_allowing_http(&source.url),
            false => DownloadUrl::parse(&source.url),
        };
        let url = url.map_err(|error| {
            let text = format!("file.url '{}' {error}", source.url);
            Failure::failed(Word::Url, text)
        })?;
        let total = self.partial.note.total;
        let missing = total.map(|total| total.saturating_sub(self.partial.len));
        self.download.traffic.check(Need::Request(missing))?;
        let response = self.http.get(&url, source.token.as_deref(), &self.partial);
        let response = response.map_err(|error| again(format!("{error:#}")))?;
        let have = Have {
            bytes: self.partial.len,
            total: self.partial.note.total,
            etag: self.partial.note.etag.as_deref(),
        };
        match answer::classify(response.seen(), have) {
            Answer::Body { from, total } => self.body(response, from, total),
            Answer::Complete => self.completed(),
            Answer::StartOver(reason) => {
                self.start_over()?;
                Err(again(reason))
            }
            Answer::Unauthorized => Err(Stop::Unauthorized),
            Answer::Again { after, reason } => Err(Stop::Again { after, reason }),
            Answer::Suspect(reason) => Err(Stop::Suspect(failed(reason))),
            Answer::End(reason) => Err(failed(reason).into()),
        }
    }

    fn start_over(&mut self) -> Result<(), Failure> {
        self.head_checked = false;
        self.partial.restart().map_err(storage)
    }

    fn body(&mut self, response: Response, from: u64, total: u64) -> Result<(), Stop> {
        let etag = answer::strong(response.seen().etag).map(str::to_owned);
        let mut body = response.body;
        let mut first = Vec::new();
        let missing = total.saturating_sub(from);
        if from == 0 {
            // Before what is there is thrown away for it.
            let read = body.by_ref().take(FIRST).read_to_end(&mut first);
            read.map_err(|error| self.cut_short(&error.to_string()))?;
            check_first(&first, total)?;
            self.download.traffic.check(Need::Body(missing))?;
            if self.partial.len > 0 {
                let lost = self.partial.len;
                log::warn!("the file service starts anew: {lost} bytes are lost");
                self.start_over()?;
            }
        }
        self.download.traffic.check(Need::Body(missing))?;
        self.check_space(missing)?;
        let belongs = self.partial.belongs_to(etag.as_deref(), total);
        belongs.map_err(storage)?;
        log::info!("downloading bytes {from} to {total}");
        self.take(first.chain(body), total)
    }

    fn take(&mut self, mut body: impl Read, total: u64) -> Result<(), Stop> {
        let mut buffer = vec![0; BUFFER];
        while self.partial.len < total {
            self.handle.check()?;
            self.check_time("the package comes too slowly")?;
            let missing = total.saturating_sub(self.partial.len);
            self.download.traffic.check(Need::Rest(missing))?;
            self.limiter.set_rate(self.download.rate());
            let portion = self.limiter.portion(BUFFER);
            let room = buffer.get_mut(..portion).unwrap_or_default();
            let count = match body.by_ref().take(missing).read(room) {
                Ok(0) => return Err(self.cut_short("the connection ended early")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.cut_short(&error.to_string())),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            self.partial.append(bytes).map_err(storage)?;
            self.check_head()?;
            self.handle.progress(self.partial.len, total);
            let pause = self.limiter.pass(count, Instant::now());
            self.handle.sleep(pause)?;
        }
        self.completed()
    }

    fn cut_short(&self, reason: &str) -> Stop {
        again(format!("{reason} after {} bytes", self.partial.len))
    }

    /// Ends a download whose bytes are all there: so is the head, or there is none.
    fn completed(&mut self) -> Result<(), Stop> {
        self.check_head()?;
        if self.head_checked {
            return Ok(());
        }
        let text = "the package ends before its manifest and signature do";
        Err(Failure::refused(Word::Truncated, text).into())
    }

    /// Checks the head as far as it is there. One that was put together from several pieces is
    /// fetched anew once.
    fn check_head(&mut self) -> Result<(), Stop> {
        let Some(total) = self.partial.note.total.filter(|_| !self.head_checked) else {
            return Ok(());
        };
        let prefix = self.partial.prefix(MAX_HEAD).map_err(storage)?;
        match self.download.acceptance.check_head(&prefix, total) {
            Ok(None) => {}
            Ok(Some(beside)) => {
                self.head_checked = true;
                let missing = total.saturating_sub(self.partial.len);
                self.check_space(missing.saturating_add(beside))?;
            }
            Err(failure) => {
                let refused = failure.outcome == Outcome::Refused;
                if refused && self.partial.fetch_again().map_err(storage)? {
                    return Err(again(failure.reason.message));
                }
                return Err(failure.into());
            }
        }
        if self.head_checked {
            log::info!("the package's head is genuine and fits this terminal and the order");
        }
        Ok(())
    }

    fn check_space(&self, missing: u64) -> Result<(), Failure> {
        let free = crate::space::free(&self.download.part).map_err(storage)?;
        let reserve = self.download.settings.reserve;
        if missing.saturating_add(reserve) <= free {
            return Ok(());
        }
        Err(Failure::refused(
            Word::NoSpace,
            format!(
                "{missing} bytes are to be fetched and {reserve} to stay free, but mnt has {free}: \
                 make room there or take a smaller package"
            ),
        ))
    }
}

fn failed(reason: Reason) -> Failure {
    Failure::failed(reason.word, reason.message)
}

fn again(reason: impl Into<String>) -> Stop {
    Stop::Again {
        after: None,
        reason: reason.into(),
    }
}

/// Checks that a file of `total` bytes that begins so can be a package.
fn check_first(first: &[u8], total: u64) -> Result<(), Stop> {
    let reason = match Head::parse(first) {
        _ if total < FIRST => format!("{total} bytes are no package"),
        Err(error) => format!("what came is no package: {error}"),
        Ok(_) => return Ok(()),
    };
    Err(Stop::Suspect(Failure::failed(Word::NotAPackage, reason)))
}
