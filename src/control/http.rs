//! HTTP: `/metrics` for Prometheus and `/healthz` for whoever watches the process.
//!
//! The metrics are made from what the loop answers at the moment of the scrape; nothing is kept here, so
//! nothing is ever stale. Names follow Prometheus' conventions: base units, `_total` for counters.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::message::{
    AdminState, DomainRow, PAGE_ROWS_MAX, PeerState, PeerStatus, PeersQuery, Request, Statistics, Summary,
};
use super::{AskError, Speaker};
use crate::types::Family;

/// How long the loop may take to answer before `/healthz` says that it does not.
const HEALTHY_WITHIN: Duration = Duration::from_secs(5);

/// The routes of the HTTP server.
pub(super) fn routes(speaker: Speaker) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz)).with_state(speaker)
}

/// 200 when the loop answers, which is what a health check wants to know; 503 else.
async fn healthz(State(speaker): State<Speaker>) -> Response {
    match tokio::time::timeout(HEALTHY_WITHIN, speaker.ask(Request::Summary)).await {
        Ok(Ok(_)) => "ok\n".into_response(),
        Ok(Err(_)) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the loop does not answer\n").into_response(),
    }
}

async fn metrics(State(speaker): State<Speaker>) -> Response {
    let snapshot = match Snapshot::take(&speaker).await {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let status = tonic::Status::from(error);
            return (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", status.message())).into_response();
        }
    };
    let mut registry = Registry::with_prefix("kulan");
    registry.register_collector(Box::new(snapshot));
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Everything that one scrape tells.
#[derive(Debug)]
struct Snapshot {
    summary: Summary,
    domains: Vec<DomainRow>,
    peers: Vec<PeerStatus>,
    statistics: Statistics,
    resident_bytes: u64,
}

impl Snapshot {
    async fn take(speaker: &Speaker) -> Result<Snapshot, AskError> {
        let mut peers = Vec::new();
        let mut query = PeersQuery { address: None, after: None, limit: PAGE_ROWS_MAX };
        loop {
            let page = speaker.peers(query.clone()).await?;
            peers.extend(page.rows);
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        Ok(Snapshot {
            summary: speaker.ask(Request::Summary).await?,
            domains: speaker.ask(Request::ListDomains).await?,
            peers,
            statistics: speaker.ask(Request::Statistics).await?,
            resident_bytes: super::resident_bytes(),
        })
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut out = Writer { encoder };
        self.encode_speaker(&mut out)?;
        self.encode_domains(&mut out)?;
        self.encode_peers(&mut out)?;
        self.encode_loop(&mut out)
    }
}

impl Snapshot {
    fn encode_speaker(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        let summary = &self.summary;
        let asn = summary.asn.to_string();
        let router_id = summary.router_id.to_string();
        let who = vec![("asn", &asn[..]), ("router_id", &router_id), ("version", env!("CARGO_PKG_VERSION"))];
        out.gauge("speaker_info", "Who the speaker is; always 1", [(who, 1u64)])?;
        let uptime_s = summary.uptime_ms as f64 / 1e3;
        out.gauge("uptime_seconds", "Since the process started", [(vec![], uptime_s)])?;
        out.gauge("resident_memory_bytes", "Resident memory", [(vec![], self.resident_bytes)])?;
        let memory = summary.memory.iter().map(|&(part, bytes)| (vec![("part", part)], bytes));
        out.gauge("memory_bytes", "Memory in use by part of the speaker", memory)?;
        out.gauge("attribute_sets", "Interned sets of path attributes", [(vec![], summary.attribute_sets)])?;
        out.gauge("update_groups", "Update groups", [(vec![], summary.update_groups)])?;
        out.gauge("peers", "Peers, configured and dynamic", [(vec![], summary.peers)])?;
        let established = [(vec![], summary.peers_established)];
        out.gauge("peers_established", "Peers in the state Established", established)
    }

    fn encode_domains(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        let by_family = || {
            self.domains.iter().flat_map(|domain| {
                Family::ALL.map(|of| {
                    (vec![("domain", &domain.name[..]), ("family", of.name())], domain.routes[of.index()])
                })
            })
        };
        let destinations = by_family().map(|(labels, counts)| (labels, counts.destinations));
        out.gauge("destinations", "Destinations in the Loc-RIB", destinations)?;
        let paths = by_family().map(|(labels, counts)| (labels, counts.paths));
        out.gauge("paths", "Paths in the Loc-RIB", paths)?;
        let by_state = self.domains.iter().flat_map(|domain| {
            [("installed", domain.installed), ("pending", domain.pending), ("failed", domain.failed)]
                .map(|(state, count)| (vec![("domain", &domain.name[..]), ("state", state)], count))
        });
        out.gauge("kernel_routes", "Routes of the kernel's table that are ours", by_state)
    }

    fn encode_peers(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        // Written once: every metric below has these labels.
        let peers: Vec<(String, &PeerStatus)> =
            self.peers.iter().map(|peer| (peer.address.to_string(), peer)).collect();
        let each = || peers.iter().map(|(address, peer)| (vec![("peer", &address[..])], *peer));
        let up = each().map(|(labels, peer)| (labels, u64::from(peer.state == PeerState::Established)));
        out.gauge("peer_up", "Whether the session is Established", up)?;
        let down = each().map(|(labels, peer)| (labels, u64::from(peer.admin != AdminState::Up)));
        out.gauge("peer_held_down", "Whether a person or a limit keeps the session down", down)?;
        let flaps = each().map(|(labels, peer)| (labels, u64::from(peer.flaps)));
        out.counter("peer_flaps", "How often the session has left Established", flaps)?;
        let waiting = each().map(|(labels, peer)| (labels, u64::from(peer.out_queue)));
        out.gauge("peer_out_queue", "Messages that wait to be sent", waiting)?;

        let by_type = |counts: fn(&PeerStatus) -> super::message::MessageCounts| {
            each().flat_map(move |(labels, peer)| {
                let counts = counts(peer);
                [
                    ("open", counts.opens),
                    ("update", counts.updates),
                    ("notification", counts.notifications),
                    ("keepalive", counts.keepalives),
                    ("route_refresh", counts.route_refreshes),
                ]
                .map(|(kind, count)| ([&labels[..], &[("type", kind)]].concat(), count))
            })
        };
        out.counter("peer_messages_received", "Messages received", by_type(|peer| peer.received))?;
        out.counter("peer_messages_sent", "Messages sent", by_type(|peer| peer.sent))?;

        let by_family = || {
            each().flat_map(|(labels, peer)| {
                peer.families
                    .iter()
                    .map(move |of| ([&labels[..], &[("family", of.family.name())]].concat(), of))
            })
        };
        let received = by_family().map(|(labels, of)| (labels, of.received));
        out.gauge("peer_prefixes_received", "Prefixes received and not withdrawn since", received)?;
        let accepted = by_family().map(|(labels, of)| (labels, of.accepted));
        out.gauge("peer_prefixes_accepted", "Prefixes that the import policy let in", accepted)?;
        let advertised = by_family().map(|(labels, of)| (labels, of.advertised));
        out.gauge("peer_prefixes_advertised", "Prefixes that the peer has been told", advertised)
    }

    fn encode_loop(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        let all = &self.statistics;
        let seconds = |ns: u64| ns as f64 / 1e9;
        out.counter("loop_turns", "Turns of the loop", [(vec![], all.turns)])?;
        out.counter("loop_busy_seconds", "Time outside of poll", [(vec![], seconds(all.busy_ns))])?;
        let longest = [(vec![], seconds(all.longest_turn_ns))];
        out.gauge("loop_longest_turn_seconds", "The longest turn of the loop", longest)?;
        let stages = || all.stages.iter().map(|stage| (vec![("stage", stage.name)], stage));
        let busy = stages().map(|(labels, stage)| (labels, seconds(stage.busy_ns)));
        out.counter("loop_stage_busy_seconds", "Time in a stage of the loop", busy)?;
        let runs = stages().map(|(labels, stage)| (labels, stage.runs));
        out.counter("loop_stage_runs", "How often a stage of the loop ran", runs)?;
        let longest = stages().map(|(labels, stage)| (labels, seconds(stage.longest_ns)));
        out.gauge("loop_stage_longest_seconds", "The longest run of a stage", longest)?;
        let queues = || all.queues.iter().map(|queue| (vec![("queue", queue.name)], queue));
        out.gauge(
            "queue_depth",
            "What is in a queue",
            queues().map(|(labels, queue)| (labels, queue.depth)),
        )?;
        out.gauge(
            "queue_limit",
            "What a queue may hold",
            queues().map(|(labels, queue)| (labels, queue.limit)),
        )?;
        for &(name, help, value) in &all.counters {
            out.counter(name, help, [(vec![], value)])?;
        }
        Ok(())
    }
}

/// Writes one metric at a time, with as many label sets as it has.
struct Writer<'a> {
    encoder: DescriptorEncoder<'a>,
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Writer<'_> {
    fn gauge<'s, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'s>, V)>,
    ) -> std::fmt::Result {
        let samples = samples.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.write(name, help, MetricType::Gauge, samples)
    }

    fn counter<'s, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'s>, V)>,
    ) -> std::fmt::Result {
        let samples = samples.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.write(name, help, MetricType::Counter, samples)
    }

    fn write<'s>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl Iterator<Item = (Labels<'s>, impl EncodeMetric)>,
    ) -> std::fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                // Alone in its family: no braces around nothing.
                return value.encode(metric);
            }
            value.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
