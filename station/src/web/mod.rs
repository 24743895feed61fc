//! HTTPS: packages for terminals under `/packages`, REST for operators under `/api/v1`, their page
//! under `/`.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::{Mutex, Notify, Semaphore};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, ResponseBuilder};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api_tokens::ApiTokens;
use crate::clock;
use crate::config::Config;
use crate::link::session::Link;
use crate::store::Store;

mod acts;
pub mod auth;
pub mod connections;
pub mod deltas;
pub mod download;
pub mod egress;
pub mod error;
pub mod events;
pub mod extract;
mod fleet;
pub mod health;
mod import;
mod integer;
pub mod jobs;
pub mod orders;
mod pace;
pub mod packages;
mod page;
pub mod range;
mod refusals;
pub mod rollouts;
pub mod server;
pub mod session;
pub mod terminals;
mod unread;

use acts::RefusedActs;
use connections::Connections;
use egress::Egress;
use error::Problem;
use health::HealthCache;
use refusals::Refusals;

/// Path of the REST interface.
pub const API: &str = "/api/v1";
/// Largest JSON body in bytes: an order for 10^5 terminals has about 3 MB.
const MAX_JSON: usize = 16 << 20;
/// Most packages verified at the same time; each keeps two processors busy.
const VERIFICATIONS: usize = 2;

/// Shared state of all requests.
#[derive(Debug)]
pub struct Station {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// Known REST tokens.
    api_tokens: RwLock<ApiTokens>,
    /// Limits and counts of downloads.
    pub egress: Egress,
    /// Notified when there may be commands to send.
    pub wake: Arc<Notify>,
    /// Connection to the broker.
    pub link: Link,
    /// Counts of refused tokens.
    refusals: Refusals,
    /// Counts of refused acts.
    refused_acts: RefusedActs,
    /// Cached health.
    health: HealthCache,
    /// Held while a verified package is put in place.
    pub keeping: Mutex<()>,
    /// Limits the number of verifications.
    pub verifications: Semaphore,
    /// Notified when there may be a delta to make.
    pub deltas: Notify,
    /// Notified when an order has jobs to make or to cancel.
    pub orders: Notify,
    /// Notified when a rollout has something to do.
    pub rollouts: Notify,
    /// Limits the number of those who follow the record.
    pub streams: Arc<Semaphore>,
}

impl Station {
    /// Builds the shared state.
    pub fn new(
        config: Arc<Config>,
        store: Store,
        api_tokens: ApiTokens,
        wake: Arc<Notify>,
        link: Link,
        connections: &Connections,
    ) -> Arc<Self> {
        // Operators need connections beside the terminals' downloads.
        let most = connections.limits().authenticated / 2;
        Arc::new(Station {
            egress: Egress::new(&config.downloads, most),
            config,
            store,
            api_tokens: RwLock::new(api_tokens),
            wake,
            link,
            refusals: Refusals::default(),
            refused_acts: RefusedActs::default(),
            health: HealthCache::default(),
            keeping: Mutex::default(),
            verifications: Semaphore::new(VERIFICATIONS),
            deltas: Notify::new(),
            orders: Notify::new(),
            rollouts: Notify::new(),
            streams: Arc::new(Semaphore::new(events::STREAMS)),
        })
    }

    /// Returns the known tokens.
    fn api_tokens(&self) -> RwLockReadGuard<'_, ApiTokens> {
        let tokens = self.api_tokens.read();
        tokens.unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the known tokens.
    pub fn set_api_tokens(&self, tokens: ApiTokens) {
        let known = self.api_tokens.write();
        *known.unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// Returns the folder of packages.
    pub fn packages_dir(config: &Config) -> PathBuf {
        config.shared_dir().join("packages")
    }

    /// Returns the folder of incoming uploads, on the same file system as the packages, so that
    /// files can be renamed.
    pub fn incoming_dir(&self) -> PathBuf {
        Self::incoming(&self.config)
    }

    /// See [`Station::incoming_dir`].
    pub fn incoming(config: &Config) -> PathBuf {
        match &config.shared_dir {
            None => config.data_dir.join("incoming"),
            // Each station empties its own at its start.
            Some(dir) => dir.join("incoming").join(&config.mqtt.client_id),
        }
    }

    /// Returns the folder of deltas that wait for their signature.
    pub fn unsigned_dir(config: &Config) -> PathBuf {
        config.shared_dir().join("unsigned")
    }

    /// Returns the path of such a delta.
    pub fn unsigned_path(&self, delta: i64) -> PathBuf {
        Self::unsigned_dir(&self.config).join(format!("{delta}.dau"))
    }

    /// Returns the path of the package with this SHA-256.
    pub fn package_path(&self, file_sha256: &str) -> PathBuf {
        Self::packages_dir(&self.config).join(format!("{file_sha256}.dau"))
    }

    /// Returns the time since when a terminal must have been heard of to count as online.
    pub fn online_since(&self) -> i64 {
        clock::now().saturating_sub_unsigned(self.config.jobs.offline_seconds)
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "dau-station",
    description = "Orders OS upgrades for distribution automation terminals and follows them. \
        docs/station.md has samples.",
    license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
))]
struct Base;

fn api() -> OpenApiRouter<Arc<Station>> {
    let mut base = Base::openapi();
    let mut components = base.components.take().unwrap_or_default();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("bearer", scheme);
    base.components = Some(components);
    let api = OpenApiRouter::new()
        .routes(routes!(session::begin, session::show, session::end))
        .routes(routes!(packages::upload, packages::list))
        .routes(routes!(packages::show, packages::remove))
        .routes(routes!(deltas::request))
        .routes(routes!(deltas::list))
        .routes(routes!(deltas::show, deltas::remove))
        .routes(routes!(deltas::file))
        .routes(routes!(fleet::show))
        .routes(routes!(terminals::list, import::import))
        .routes(routes!(
            terminals::show,
            terminals::register,
            terminals::change
        ))
        .routes(routes!(terminals::cancel))
        .routes(routes!(terminals::live))
        .routes(routes!(orders::create, orders::lists::list))
        .routes(routes!(orders::show))
        .routes(routes!(orders::lists::skipped))
        .routes(routes!(orders::lists::failures))
        .routes(routes!(orders::cancel))
        .routes(routes!(rollouts::create, rollouts::list))
        .routes(routes!(rollouts::show))
        .routes(routes!(rollouts::preview))
        .routes(routes!(rollouts::targets))
        .routes(routes!(rollouts::acts::approve))
        .routes(routes!(rollouts::acts::revert))
        .routes(routes!(rollouts::acts::act))
        .routes(routes!(rollouts::acts::stop_all, rollouts::acts::to_reach))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::cancel))
        .routes(routes!(events::follow))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::health))
        .layer(DefaultBodyLimit::max(MAX_JSON));
    let mut all = OpenApiRouter::with_openapi(base).nest(API, api);
    for path in all.get_openapi_mut().paths.paths.values_mut() {
        let operations = [
            &mut path.get,
            &mut path.put,
            &mut path.post,
            &mut path.patch,
            &mut path.delete,
        ];
        operations.into_iter().flatten().for_each(describe_refusals);
    }
    all
}

/// Adds the refusals that any request with a token can get.
fn describe_refusals(operation: &mut Operation) {
    if operation.security.is_none() {
        return;
    }
    for (status, description) in [
        ("400", "Malformed"),
        ("401", "Without a valid token; `token-ended`"),
        (
            "403",
            "`forbidden`: the role of the token does not allow it; `csrf`: by a session, without its secret",
        ),
        ("429", "Too many invalid tokens came from this address"),
        ("500", "The station failed; its log says why"),
        (
            "503",
            "`database`, `disk`, `keyring`, `broker` or `busy`: try again after `Retry-After`",
        ),
        ("507", "`disk-full`"),
    ] {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/json", content);
        let known = &mut operation.responses.responses;
        known
            .entry(status.to_owned())
            .or_insert_with(|| response.build().into());
    }
}

/// Returns the description of the REST interface, made from the code that serves it.
pub fn openapi() -> OpenApi {
    api().split_for_parts().1
}

/// Returns the routes of everything that is served.
pub fn router(station: Arc<Station>) -> Router {
    let (router, openapi) = api().split_for_parts();
    router
        .route(
            &format!("{API}/openapi.json"),
            get(move || async move { Json(openapi) }),
        )
        .route("/packages/{id}/{name}", get(download::download))
        .merge(page::router())
        .fallback(|| async { Problem::not_found("no such path; see /api/v1/openapi.json") })
        .with_state(station)
}
