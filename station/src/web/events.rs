//! The record as a stream of server-sent events: what happens to jobs and orders, while it happens.
//!
//! Each event's id is that of the record, so a client that was cut off goes on where it was
//! (`Last-Event-ID`), and misses nothing and gets nothing twice.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use log::warn;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, Instant};
use utoipa::IntoParams;

use super::auth::Login;
use super::error::Problem;
use super::extract::Params;
use super::Station;
use crate::clock;
use crate::store::follow::{self, Followed};
use crate::store::{Error, Store};

/// Most streams at the same time.
pub const STREAMS: usize = 64;
/// Wait for more, and after an error of the database.
const PAUSE: Duration = Duration::from_millis(500);
const LONG_PAUSE: Duration = Duration::from_secs(5);
/// A comment that keeps proxies from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Longest stream: its token is asked for again then, when the client comes back.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Retry-After, in seconds, if there are too many streams.
const NO_ROOM_RETRY: u64 = 30;

/// Filters, and where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FollowQuery {
    /// Only events of this job.
    job: Option<i64>,
    /// Only events of this order and its jobs.
    order: Option<i64>,
    /// Only events of this terminal and its jobs.
    terminal: Option<String>,
    /// Only events of these kinds, with commas between them, such as `state,result`.
    kind: Option<String>,
    /// Begins after this event, like the header `Last-Event-ID`, which goes before it; by default, with
    /// what happens from now on.
    after: Option<i64>,
}

impl FollowQuery {
    fn admits(&self, event: &Followed) -> bool {
        let kinds = self.kind.as_deref();
        self.job.is_none_or(|job| event.job == Some(job))
            && self.order.is_none_or(|order| event.order == Some(order))
            && (self.terminal.is_none() || event.terminal == self.terminal)
            && kinds.is_none_or(|kinds| kinds.split(',').any(|kind| kind == event.kind))
    }
}

/// Follows the record: each message's `id` is the event's, its `data` is JSON: `id`, `at`, `kind`,
/// `job`, `order`, `terminal`, `package` (each or null), `detail`. A message of type `gap` says that
/// events before `data.first` are not sent: they are in archives. The stream ends after an hour; a
/// client that comes back with `Last-Event-ID` misses nothing.
#[utoipa::path(
    get, path = "/events", tag = "events", security(("bearer" = [])),
    params(FollowQuery, ("Last-Event-ID" = Option<i64>, Header, description = "The last event received")),
    responses((status = 200, description = "A stream without an end", body = String, content_type = "text/event-stream"))
)]
pub async fn follow(
    State(station): State<Arc<Station>>,
    login: Login,
    headers: HeaderMap,
    Params(which): Params<FollowQuery>,
) -> Result<Response, Problem> {
    let permit = Arc::clone(&station.streams).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let message = format!("{STREAMS} clients follow the record already: try again later");
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        problem.retry_after(NO_ROOM_RETRY)
    })?;
    let wanted = match headers.get("last-event-id") {
        Some(id) => Some(last_event_id(id.to_str().unwrap_or_default())?),
        None => which.after,
    };
    let (oldest, newest) = station.store.read(follow::bounds).await?;
    let mut follower = Follower {
        store: station.store.clone(),
        which,
        after: wanted.unwrap_or(newest),
        ready: VecDeque::new(),
        end: Instant::now().checked_add(lifetime(login.until)),
        _permit: permit,
    };
    let first = oldest.saturating_sub(1);
    // Behind the oldest one; or before a database that was restored from a backup.
    if follower.after < first || follower.after > newest {
        follower.after = first.max(follower.after.min(newest));
        let next = follower.after.saturating_add(1);
        let gap = Event::default().event("gap");
        follower
            .ready
            .push_back(gap.data(json!({ "first": next }).to_string()));
    }
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // nginx would collect it.
    let unbuffered = [("x-accel-buffering", "no")];
    let plain = [(header::CACHE_CONTROL, "no-store")];
    Ok((unbuffered, plain, events).into_response())
}

/// Returns the longest time of a stream whose token or session ends then.
fn lifetime(until: Option<i64>) -> Duration {
    let left = until.map(|until| until.saturating_sub(clock::now()));
    let left = left.map(|left| Duration::from_secs(u64::try_from(left).unwrap_or(0)));
    left.map_or(LIFETIME, |left| left.min(LIFETIME))
}

fn last_event_id(text: &str) -> Result<i64, Problem> {
    let id = text.parse().ok().filter(|id| *id >= 0);
    id.ok_or_else(|| Problem::bad_request("Last-Event-ID is no id of an event: leave it out"))
}

/// A client's place in the record.
struct Follower {
    store: Store,
    which: FollowQuery,
    after: i64,
    ready: VecDeque<Event>,
    end: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// Waits for the next event; `None`: the stream has lasted long enough.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.end.is_some_and(|end| Instant::now() >= end) {
                return None;
            }
            let after = self.after;
            let read = self.store.read(move |r| follow::after(r, after));
            let pause = match read.await {
                Ok(events) if events.is_empty() => PAUSE,
                Ok(events) => {
                    self.take(&events);
                    continue;
                }
                Err(error) => {
                    let error: Error = error;
                    warn!("the record cannot be followed for now: {error}");
                    LONG_PAUSE
                }
            };
            sleep(pause).await;
        }
    }

    fn take(&mut self, events: &[Followed]) {
        for event in events {
            self.after = event.id;
            if self.which.admits(event) {
                let message = Event::default().id(event.id.to_string());
                self.ready.push_back(message.data(json!(event).to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_filter_leaves_out_what_it_does_not_name() {
        let event = Followed {
            id: 1,
            at: String::new(),
            kind: "state".to_owned(),
            job: Some(7),
            order: Some(6),
            terminal: Some("t1".to_owned()),
            package: None,
            detail: Value::Null,
        };
        for (query, admitted) in [
            ("", true),
            ("job=7&order=6&terminal=t1&kind=result,state", true),
            ("job=8", false),
            ("order=7", false),
            ("terminal=t2", false),
            ("kind=result", false),
        ] {
            let which: FollowQuery = serde_urlencoded(query);
            assert_eq!(which.admits(&event), admitted, "{query}");
        }
    }

    fn serde_urlencoded(query: &str) -> FollowQuery {
        let uri = format!("/?{query}").parse().unwrap();
        axum::extract::Query::try_from_uri(&uri).unwrap().0
    }
}
