"""Metrics: each event counts once, under bounded labels."""

from __future__ import annotations

from typing import NamedTuple

from headrace.observe.metrics import Metrics
from headrace.types.outcome import Cause, State
from headrace.types.record import Perceived


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_stream_is_active_until_it_ends_and_then_counted_by_state_and_cause() -> None:
    metrics = Metrics()
    metrics.started()
    metrics.started()
    assert value(metrics, "headrace_streams_active") == 2
    metrics.ended(State.TRUNCATED, Cause.UPSTREAM_CLOSED, malformed_chunks=3, ttft_s=0.02)
    assert value(metrics, "headrace_streams_active") == 1
    assert value(metrics, "headrace_streams_total", state="truncated", cause="upstream_closed") == 1
    assert value(metrics, "headrace_malformed_chunks_total") == 3
    assert value(metrics, "headrace_time_to_first_token_seconds_bucket", le="0.025") == 1


def test_a_stream_without_content_has_no_time_to_first_token() -> None:
    metrics = Metrics()
    metrics.started()
    metrics.ended(State.FAILED, Cause.UPSTREAM_REJECTED, malformed_chunks=0, ttft_s=None)
    assert value(metrics, "headrace_time_to_first_token_seconds_count") == 0


def test_what_an_earlier_process_left_is_counted_but_never_active() -> None:
    metrics = Metrics()
    metrics.recovered(State.TRUNCATED, Cause.NODE_LOST)
    assert value(metrics, "headrace_streams_active") == 0
    assert value(metrics, "headrace_streams_total", state="truncated", cause="node_lost") == 1


def test_ticks_commits_rejections_and_degraded_streams_are_measured() -> None:
    metrics = Metrics()
    metrics.ticked(0.001, -0.5)
    metrics.committed(0.002)
    metrics.rejected(429)
    metrics.degraded()
    text = metrics.text().decode()
    assert "headrace_tick_seconds_count 1.0" in text
    assert "headrace_tick_late_seconds_sum 0.0" in text
    assert "headrace_commit_seconds_count 1.0" in text
    assert 'headrace_requests_rejected_total{status="429"} 1.0' in text
    assert "headrace_streams_degraded_total 1.0" in text


def test_what_clients_perceived_is_measured_in_seconds_and_by_transport() -> None:
    metrics = Metrics()
    metrics.perceived(Perceived(first_visible_ms=36, total_ms=1500, transport="websocket"))
    metrics.perceived(Perceived(total_ms=40, transport="fetch"))
    visible, duration = "headrace_client_first_visible_token_seconds", "headrace_client_duration_seconds"
    assert value(metrics, f"{visible}_bucket", transport="websocket", le="0.05") == 1
    assert value(metrics, f"{visible}_bucket", transport="websocket", le="0.025") == 0
    assert value(metrics, f"{visible}_count", transport="fetch") is None
    assert value(metrics, f"{duration}_sum", transport="websocket") == 1.5
    assert value(metrics, f"{duration}_bucket", transport="fetch", le="0.1") == 1


class Key(NamedTuple):
    name: str
    running: int = 0
    is_resting: bool = False
    is_retired: bool = False
    requests: int = 0
    rejected: int = 0


def test_an_owner_sees_its_own_series_and_nothing_else() -> None:
    metrics = Metrics()
    metrics.started()
    metrics.billed("ann", generated_tokens=5, delivered_tokens=4, nano_usd=2_500_000_000)
    metrics.billed("bob", generated_tokens=7, delivered_tokens=7, nano_usd=0)
    text = metrics.text_of_owner("ann").decode()
    assert 'headrace_owner_tokens_total{kind="generated",owner="ann"} 5.0' in text
    assert 'headrace_owner_tokens_total{kind="delivered",owner="ann"} 4.0' in text
    assert 'headrace_owner_cost_usd_total{owner="ann"} 2.5' in text
    assert "bob" not in text
    assert "headrace_streams_active" not in text
    assert 'headrace_owner_streams_total{owner="bob"} 1.0' in metrics.text().decode()


def test_the_engines_keys_and_the_queue_are_asked_at_each_scrape() -> None:
    metrics, waiting = Metrics(), 3
    metrics.watch_queue(lambda: waiting)
    metrics.watch_upstream_keys(
        lambda: [
            ("openai", Key("env:A", running=2, requests=9, rejected=1)),
            ("claude", Key("env:A", requests=4)),
            ("claude", Key("env:B", is_retired=True)),
            ("claude", Key("env:C", is_resting=True)),
        ]
    )
    text = metrics.text().decode()
    assert "headrace_requests_waiting 3.0" in text
    assert 'headrace_upstream_key_requests_total{engine="openai",key="env:A"} 9.0' in text
    assert 'headrace_upstream_key_requests_total{engine="claude",key="env:A"} 4.0' in text
    assert 'headrace_upstream_key_rejected_total{engine="openai",key="env:A"} 1.0' in text
    usable = [line for line in text.splitlines() if line.startswith("headrace_upstream_key_usable{")]
    assert [line[-3:] for line in usable] == ["1.0", "1.0", "0.0", "0.0"]


def test_requests_without_a_good_key_are_counted() -> None:
    metrics = Metrics()
    metrics.unauthorized()
    assert "headrace_requests_unauthorized_total 1.0" in metrics.text().decode()
