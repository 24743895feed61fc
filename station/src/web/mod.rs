//! HTTPS: packages for terminals under `/packages`, REST for operators under `/api/v1`, a page to look at under `/`.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::OpenApi;
use utoipa::{OpenApi as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api_tokens::ApiTokens;
use crate::clock;
use crate::config::Config;
use crate::link::session::Link;
use crate::store::Store;

pub mod auth;
pub mod download;
pub mod egress;
pub mod error;
pub mod extract;
pub mod jobs;
pub mod orders;
pub mod packages;
mod page;
pub mod range;
pub mod server;
pub mod terminals;

use egress::Egress;
use error::Problem;

/// Where the REST interface stands.
pub const API: &str = "/api/v1";
/// Largest JSON that is read: an order for 10^5 terminals has about 3 MB.
const MAX_JSON: usize = 16 << 20;
/// Packages that are verified at the same time; each keeps two processors busy.
const VERIFICATIONS: usize = 2;

/// What requests work with.
#[derive(Debug, Clone)]
pub struct Station(Arc<Inner>);

/// See [`Station`].
#[derive(Debug)]
pub struct Inner {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// Who may use REST.
    api_tokens: RwLock<ApiTokens>,
    /// Limits and counts of downloads.
    pub egress: Egress,
    /// Tells that there is something to send.
    pub wake: Arc<Notify>,
    /// The broker.
    pub link: Link,
    /// Turns at verifying packages.
    pub verifications: Semaphore,
}

impl std::ops::Deref for Station {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Station {
    /// Puts it together.
    pub fn new(
        config: Arc<Config>,
        store: Store,
        api_tokens: ApiTokens,
        wake: Arc<Notify>,
        link: Link,
    ) -> Self {
        Station(Arc::new(Inner {
            egress: Egress::new(&config.downloads),
            config,
            store,
            api_tokens: RwLock::new(api_tokens),
            wake,
            link,
            verifications: Semaphore::new(VERIFICATIONS),
        }))
    }

    /// The name of the token's holder.
    pub fn holder(&self, token: &str) -> Option<String> {
        let tokens = self.0.api_tokens.read();
        let tokens = tokens.unwrap_or_else(PoisonError::into_inner);
        tokens.holder(token).map(str::to_owned)
    }

    /// From now on these may use REST.
    pub fn set_api_tokens(&self, tokens: ApiTokens) {
        let known = self.0.api_tokens.write();
        *known.unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// Where packages are kept.
    pub fn packages_dir(config: &Config) -> PathBuf {
        config.data_dir.join("packages")
    }

    /// Where uploads arrive: on the filesystem of the packages, so that one can become the other.
    pub fn incoming_dir(&self) -> PathBuf {
        Self::incoming(&self.config)
    }

    /// See [`Station::incoming_dir`].
    pub fn incoming(config: &Config) -> PathBuf {
        config.data_dir.join("incoming")
    }

    /// The file of the package with this SHA-256.
    pub fn package_path(&self, file_sha256: &str) -> PathBuf {
        Self::packages_dir(&self.config).join(format!("{file_sha256}.dau"))
    }

    /// Terminals that were heard of since then can be online.
    pub fn online_since(&self) -> i64 {
        clock::now() - self.config.jobs.offline_seconds as i64
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "dau-station",
    description = "Orders OS upgrades for distribution automation terminals and follows them. docs/station.md has samples.",
    license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
))]
struct Base;

fn api() -> OpenApiRouter<Station> {
    let mut base = Base::openapi();
    let mut components = base.components.take().unwrap_or_default();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("bearer", scheme);
    base.components = Some(components);
    let api = OpenApiRouter::new()
        .routes(routes!(packages::upload, packages::list))
        .routes(routes!(packages::show, packages::remove))
        .routes(routes!(terminals::list))
        .routes(routes!(terminals::show, terminals::register))
        .routes(routes!(orders::create, jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::cancel))
        .routes(routes!(orders::summary))
        .routes(routes!(health))
        .layer(DefaultBodyLimit::max(MAX_JSON));
    OpenApiRouter::with_openapi(base).nest(API, api)
}

/// The description of the REST interface, made from the code that serves it.
pub fn openapi() -> OpenApi {
    api().split_for_parts().1
}

/// Everything that is served.
pub fn router(station: Station) -> Router {
    let (router, openapi) = api().split_for_parts();
    router
        .route(
            &format!("{API}/openapi.json"),
            get(move || async move { Json(openapi) }),
        )
        .route("/packages/{id}/{name}", get(download::download))
        .merge(page::router())
        .fallback(|| async { Problem::not_found("there is nothing here") })
        .with_state(station)
}

/// How the station is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`: database and broker can be reached; `degraded`: the broker cannot.
    pub status: String,
    /// Whether the broker is connected.
    pub broker: bool,
    /// The station's version.
    pub version: String,
}

/// Tells whether the station works; needs no token. 503 where the database does not answer.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Problem))
)]
async fn health(State(station): State<Station>) -> Result<Json<Health>, Problem> {
    let alive = station
        .store
        .write(|w| w.query_row("SELECT 1", [], |row| row.get::<_, i64>(0)));
    alive.await.map_err(|error| {
        let message = format!("the database does not answer: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "database", message)
    })?;
    let broker = station.link.is_up();
    let status = match broker {
        true => "ok",
        false => "degraded",
    };
    Ok(Json(Health {
        status: status.to_owned(),
        broker,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}
