//! `GET /metrics` and `GET /` over HTTP.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
        HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::{
    Source,
    text::{CLASSIC, OPEN_METRICS, classic},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// A connection ends after this, however the other side behaves.
const LONGEST: Duration = Duration::from_secs(300);
const MOST_CONNECTIONS: usize = 16;

/// The endpoint, listening.
pub struct Server {
    listener: TcpListener,
    behind: Behind,
}

/// What requests are answered from.
#[derive(Clone)]
struct Behind {
    registry: Arc<Registry>,
    page: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Server {
    /// Binds the address.
    pub async fn bind(
        address: SocketAddr,
        registry: Registry,
        source: Arc<impl Source>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let what = format!("[metrics] listen = \"{address}\": {error}");
            io::Error::new(error.kind(), what)
        })?;
        let page = Arc::new(move || source.page().html());
        Ok(Self { listener, behind: Behind { registry: Arc::new(registry), page } })
    }

    /// The address that it listens on.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped.
    pub async fn serve(self) {
        let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let behind = self.behind.clone();
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(LONGEST, converse(stream, behind)).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the metrics endpoint cannot accept");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn converse(stream: TcpStream, behind: Behind) {
    let service = service_fn(move |request| answer(request, behind.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a scrape broke off");
    }
}

async fn answer(
    request: Request<Incoming>,
    behind: Behind,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    Ok(if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
    } else if path == "/metrics" {
        scrape(behind.registry, wants_open_metrics(request.headers())).await
    } else if path == "/" {
        page(behind.page).await
    } else {
        plain(StatusCode::NOT_FOUND, "see /metrics\n")
    })
}

async fn scrape(registry: Arc<Registry>, open_metrics: bool) -> Response<Full<Bytes>> {
    // Reading maps are system calls by the thousand, and packets of handshakes wait on the runtime's threads.
    let encoded = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        encode(&mut text, &registry).map(|()| text)
    });
    match encoded.await {
        Ok(Ok(text)) if open_metrics => typed(StatusCode::OK, OPEN_METRICS, text),
        Ok(Ok(text)) => typed(StatusCode::OK, CLASSIC, classic(&text)),
        Ok(Err(_)) | Err(_) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be read\n")
        }
    }
}

async fn page(page: Arc<dyn Fn() -> String + Send + Sync>) -> Response<Full<Bytes>> {
    let Ok(html) = tokio::task::spawn_blocking(move || page()).await else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be drawn\n");
    };
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", html);
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("application/openmetrics-text"))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text)
}

fn typed(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
