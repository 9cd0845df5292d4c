//! What OpenTelemetry's own variables say of traces. A mistake in them costs the traces and no build: it is a
//! warning, as the program starts.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use super::Env;
use crate::{
    otlp::{self, Protocol},
    secret::Secret,
    telemetry::trace::Sampler,
};

/// What of a trace goes where.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    /// Nothing is recorded at all (`OTEL_SDK_DISABLED`).
    pub disabled: bool,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// A collector, if one is asked for.
    pub collector: Option<otlp::Config>,
    /// Attributes of the program as a service.
    pub resource: Vec<(String, String)>,
    /// What was wrong, for people.
    pub warnings: Vec<String>,
}

/// What begins the names of all that concerns the exporter.
const EXPORTER: &str = "OTEL_EXPORTER_OTLP_";

/// Where spans go over HTTP, below an endpoint for all signals.
const HTTP_PATH: &str = "v1/traces";

impl Traces {
    /// Reads the variables.
    pub fn read(env: &Env) -> Self {
        let disabled = env.get("OTEL_SDK_DISABLED");
        let mut traces = Self {
            disabled: disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")),
            resource: resource(env),
            ..Self::default()
        };
        if traces.disabled {
            return traces;
        }
        traces.sampler = sampler(env).unwrap_or_else(|warning| {
            traces.warnings.push(warning);
            Sampler::default()
        });
        if is_asked_for(env) {
            match collector(env) {
                Ok(collector) => traces.collector = Some(collector),
                Err(warning) => traces.warnings.push(warning),
            }
        }
        traces
    }
}

/// As buildkitd decides it: an exporter by name, or else an endpoint. What other exporters there may be are
/// buildkitd's.
fn is_asked_for(env: &Env) -> bool {
    match env.get("OTEL_TRACES_EXPORTER") {
        Some(names) => names.split(',').any(|name| name.trim() == "otlp"),
        None => ["ENDPOINT", "TRACES_ENDPOINT"]
            .iter()
            .any(|name| env.get(&format!("{EXPORTER}{name}")).is_some()),
    }
}

/// A setting of the exporter: what is said of traces wins over what is said of all signals. The name is the
/// one that was read.
fn setting<'a>(env: &'a Env, name: &str) -> Option<(String, &'a str)> {
    let names = [
        format!("{EXPORTER}TRACES_{name}"),
        format!("{EXPORTER}{name}"),
    ];
    names.into_iter().find_map(|name| {
        let value = env.get(&name)?;
        Some((name, value))
    })
}

fn collector(env: &Env) -> Result<otlp::Config, String> {
    let protocol = match setting(env, "PROTOCOL") {
        None => Protocol::default(),
        Some((name, value)) => Protocol::from_name(value).ok_or_else(|| {
            format!("{name}={value:?} is neither grpc nor http/protobuf: no traces are sent")
        })?,
    };
    let mut config = otlp::Config::new(protocol, endpoint(env, protocol)?);
    if let Some((name, value)) = setting(env, "HEADERS") {
        config.headers = headers(value).ok_or_else(|| {
            // A header may be a token.
            format!("{name} is no list of name=value: no traces are sent")
        })?;
    }
    if let Some((name, value)) = setting(env, "TIMEOUT") {
        let milliseconds = value.parse().map_err(|_| {
            format!("{name}={value:?} is no number of milliseconds: no traces are sent")
        })?;
        config.timeout = Duration::from_millis(milliseconds);
    }
    if let Some((name, value)) = setting(env, "COMPRESSION") {
        config.gzip = match value {
            "gzip" => true,
            "none" => false,
            _ => {
                return Err(format!(
                    "{name}={value:?} is neither gzip nor none: no traces are sent"
                ));
            }
        };
    }
    config.certificate = setting(env, "CERTIFICATE").map(|(_, path)| path.into());
    Ok(config)
}

/// An endpoint for traces is the whole URL; below one for all signals HTTP has a path for each. gRPC's may
/// have no scheme.
fn endpoint(env: &Env, protocol: Protocol) -> Result<Url, String> {
    let own = format!("{EXPORTER}TRACES_ENDPOINT");
    let (name, value, whole) = if let Some(value) = env.get(&own) {
        (own, value, true)
    } else {
        let name = format!("{EXPORTER}ENDPOINT");
        let value = env.get(&name).unwrap_or(protocol.default_endpoint());
        (name, value, false)
    };
    let wrong = || format!("{name} is no http or https URL: no traces are sent");
    let text = if value.contains("://") || protocol == Protocol::HttpProtobuf {
        value.to_owned()
    } else if setting(env, "INSECURE").is_some_and(|(_, value)| value == "true") {
        format!("http://{value}")
    } else {
        format!("https://{value}")
    };
    let mut url = Url::parse(&text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong());
    }
    if protocol == Protocol::HttpProtobuf && !whole {
        let path = format!("{}/{HTTP_PATH}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

fn headers(list: &str) -> Option<Vec<(String, Secret)>> {
    let pairs = pairs(list);
    pairs
        .map(|pair| pair.map(|(name, value)| (name, Secret::from(value))))
        .collect()
}

fn resource(env: &Env) -> Vec<(String, String)> {
    let said = env.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut attributes: Vec<_> = pairs(said).flatten().collect();
    if let Some(name) = env.get("OTEL_SERVICE_NAME") {
        attributes.retain(|(key, _)| key != "service.name");
        attributes.push(("service.name".to_owned(), name.to_owned()));
    }
    attributes
}

/// `name=value,…` with escapes as in URLs; `None` for what has no name or no value.
fn pairs(list: &str) -> impl Iterator<Item = Option<(String, String)>> {
    let items = list.split(',').filter(|item| !item.trim().is_empty());
    items.map(|item| {
        let (name, value) = item.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
    })
}

fn sampler(env: &Env) -> Result<Sampler, String> {
    let Some(name) = env.get("OTEL_TRACES_SAMPLER") else {
        return Ok(Sampler::default());
    };
    let argument = env.get("OTEL_TRACES_SAMPLER_ARG");
    let ratio = argument.map_or(Ok(1.0), str::parse);
    let sampler = ratio.ok().and_then(|ratio| Sampler::from_name(name, ratio));
    sampler.ok_or_else(|| {
        format!(
            "OTEL_TRACES_SAMPLER={name:?} with OTEL_TRACES_SAMPLER_ARG={:?} is none that is known: all \
             traces that clients want are recorded",
            argument.unwrap_or_default()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Traces {
        let pairs = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Traces::read(&pairs.collect())
    }

    fn endpoint_of(variables: &[(&str, &str)]) -> String {
        let traces = read(variables);
        let collector = traces
            .collector
            .unwrap_or_else(|| panic!("{:?}", traces.warnings));
        collector.endpoint.to_string()
    }

    #[test]
    fn a_collector_is_asked_for_by_an_endpoint_or_by_the_exporters_name() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        assert!(read(&[]).collector.is_none());
        assert!(
            read(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=b")])
                .collector
                .is_none()
        );
        assert!(
            read(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")])
                .collector
                .is_none()
        );
        assert!(
            read(&[endpoint, ("OTEL_TRACES_EXPORTER", "jaeger")])
                .collector
                .is_none()
        );
        let disabled = read(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]);
        assert!(disabled.disabled && disabled.collector.is_none());
        let by_name = [("OTEL_TRACES_EXPORTER", "otlp")];
        assert_eq!(endpoint_of(&by_name), "http://localhost:4317/");
        assert_eq!(endpoint_of(&[endpoint]), "http://collector:4317/");
    }

    #[test]
    fn endpoints_are_read_as_opentelemetry_says() {
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let all = |url| ("OTEL_EXPORTER_OTLP_ENDPOINT", url);
        let own = |url| ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url);
        for (variables, endpoint) in [
            (vec![http, all("http://c:4318")], "http://c:4318/v1/traces"),
            (
                vec![http, all("https://c/base/")],
                "https://c/base/v1/traces",
            ),
            (
                vec![http, all("http://a"), own("http://c/mine")],
                "http://c/mine",
            ),
            (vec![all("c:4317")], "https://c:4317/"),
            (
                vec![all("c:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
                "http://c:4317/",
            ),
            (vec![all("http://c:1"), own("http://t:2")], "http://t:2/"),
        ] {
            assert_eq!(endpoint_of(&variables), endpoint, "{variables:?}");
        }
    }

    #[test]
    fn what_is_said_of_traces_wins_over_what_is_said_of_all_signals() {
        let traces = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20hunter2, x-team = docs",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment=ci,service.name=x,broken",
            ),
            ("OTEL_SERVICE_NAME", "builder"),
        ]);
        let collector = traces.collector.clone().unwrap();
        assert_eq!(collector.protocol, Protocol::HttpProtobuf);
        assert_eq!(collector.timeout, Duration::from_millis(2500));
        assert!(collector.gzip);
        assert_eq!(collector.certificate.unwrap().to_str(), Some("/etc/ca.pem"));
        let headers: Vec<_> = (collector.headers.iter())
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect();
        assert_eq!(
            headers,
            [("authorization", "Bearer hunter2"), ("x-team", "docs")]
        );
        assert!(!format!("{traces:?}").contains("hunter2"));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let environment = pair("deployment.environment", "ci");
        assert_eq!(
            traces.resource,
            [environment, pair("service.name", "builder")]
        );
    }

    #[test]
    fn a_mistake_is_a_warning_that_names_the_variable_and_shows_no_token() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        for (name, value, shown) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", true),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", false),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", true),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", true),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "ftp://u:hunter2@c",
                false,
            ),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote", true),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio", true),
        ] {
            let argument = ("OTEL_TRACES_SAMPLER_ARG", "2");
            let traces = read(&[endpoint, (name, value), argument]);
            let [warning] = &traces.warnings[..] else {
                panic!("{name}: {:?}", traces.warnings);
            };
            assert!(warning.starts_with(name), "{warning}");
            assert_eq!(warning.contains(value), shown, "{warning}");
        }
    }

    #[test]
    fn the_sampler_is_opentelemetrys() {
        let traces = read(&[
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        assert_eq!(traces.warnings, [""; 0]);
        assert_eq!(
            (traces.sampler.follows_parent, traces.sampler.ratio),
            (false, 0.25)
        );
    }
}
