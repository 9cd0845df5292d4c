//! How the service is: what `/healthz` and the metrics say, for people.

use std::{io, sync::Arc};

use axum::{http::HeaderMap, response::Response};
use serde::Serialize;

use super::{
    request::{administrator, answer},
    wire::{ReplicaRow, Size},
};
use crate::{
    lifecycle::run_blocking,
    service::{
        api_error::ApiError,
        config::{Limit, StoreUrl},
        disk_space::DiskSpace,
        entries::Entries,
        instance::Service,
        surface::context::{ADMINISTRATORS, Context},
    },
};

#[derive(Debug, Serialize)]
struct Health {
    version: &'static str,
    /// Whether the process takes no new uploads, since it is about to end.
    ending: bool,
    database: Engine,
    storage: Engine,
    /// What the token is about: one repository, or all.
    usage: Option<Size>,
    limits: Limits,
    /// Only whoever looks after all repositories is told the rest.
    #[serde(flatten)]
    machine: Option<Machine>,
}

/// What the service stands on.
#[derive(Debug, Serialize)]
struct Engine {
    kind: &'static str,
    reachable: bool,
}

#[derive(Debug, Serialize)]
struct Limits {
    all: Bounds,
    repository: Bounds,
    /// After how many seconds an entry goes that nobody finds.
    idle_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Bounds {
    bytes: Option<u64>,
    entries: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Machine {
    disk: Option<Disk>,
    replicas: Vec<ReplicaRow>,
}

#[derive(Debug, Serialize)]
struct Disk {
    free: u64,
    size: u64,
}

pub(super) async fn health(context: Context, headers: HeaderMap) -> Response {
    let health = async {
        let administrator = administrator(&context, &headers).await?;
        let repository = administrator.repository;
        Ok(of_service(&context.service, repository).await)
    };
    answer(health.await)
}

async fn of_service(service: &Service, repository: Option<String>) -> Health {
    let config = service.config();
    let database = service.run(async |entries| entries.ping().await).await;
    let storage = async |entries: Arc<Entries>| entries.ping_storage().await;
    let storage = service.search(ADMINISTRATORS, storage).await;
    let of_all = repository.is_none();
    let usage = async move |entries: Arc<Entries>| entries.usage(repository.as_deref()).await;
    let usage = service.run(usage).await;
    Health {
        version: env!("CARGO_PKG_VERSION"),
        ending: service.check_not_ending().is_err(),
        database: engine(
            match config.database {
                Some(_) => "PostgreSQL",
                None => "SQLite",
            },
            &database,
        ),
        storage: engine(
            match config.store {
                Some(StoreUrl::Bucket(_)) => "bucket",
                _ => "files",
            },
            &storage,
        ),
        usage: usage.ok().map(Size::from),
        limits: Limits {
            all: bounds(config.budgets.all),
            repository: bounds(config.budgets.repository),
            idle_seconds: config.budgets.max_age.map(|age| age.as_secs()),
        },
        machine: if of_all {
            Some(machine(service).await)
        } else {
            None
        },
    }
}

fn engine(kind: &'static str, asked: &Result<(), ApiError>) -> Engine {
    Engine {
        kind,
        reachable: asked.is_ok(),
    }
}

fn bounds(limit: Limit) -> Bounds {
    Bounds {
        bytes: limit.bytes,
        entries: limit.entries,
    }
}

async fn machine(service: &Service) -> Machine {
    let dir = service.config().content_dir().to_owned();
    let disk = run_blocking(move || Ok::<_, io::Error>(DiskSpace::of(&dir))).await;
    let replicas = service.run(async |entries| entries.replicas().await).await;
    let disk = disk.ok().flatten().map(|disk| Disk {
        free: disk.free,
        size: disk.size,
    });
    Machine {
        disk,
        replicas: ReplicaRow::all(replicas.unwrap_or_default()),
    }
}
