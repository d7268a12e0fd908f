"""The lag meter and the metrics: what is late is seen, warned of once, and served on loopback."""

import asyncio
import logging
import socket
import time

import aiohttp
import pytest

from bot.health import TICK, WARN_EVERY, LagMeter, Metrics


def test_without_measurements_there_is_no_lag() -> None:
    lag = LagMeter(warn_seconds=0.25).value
    assert (lag.p50, lag.p99, lag.max) == (0.0, 0.0, 0.0)


def test_percentiles() -> None:
    meter = LagMeter(warn_seconds=10)
    for number in range(1, 101):
        meter.note(number / 1000)
    lag = meter.value
    assert lag.p50 == pytest.approx(0.051)
    assert lag.p99 == pytest.approx(0.1)
    assert lag.max == pytest.approx(0.1)


def test_the_worst_outlives_the_minute() -> None:
    meter = LagMeter(warn_seconds=10)
    meter.note(0.7)
    for _ in range(5000):
        meter.note(0.001)
    assert meter.value.p99 == pytest.approx(0.001)
    assert meter.value.max == pytest.approx(0.7)


def test_it_warns_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    meter = LagMeter(warn_seconds=0.25)
    with caplog.at_level(logging.WARNING, "bot.health"):
        meter.note(0.2)
        assert not caplog.records
        for _ in range(50):
            meter.note(0.4)
    assert len(caplog.records) == 1
    assert "400 ms" in caplog.text
    assert WARN_EVERY >= 1


async def test_a_blocked_loop_is_seen() -> None:
    meter = LagMeter(warn_seconds=10)
    meter.start()
    await asyncio.sleep(TICK)
    time.sleep(0.15)  # noqa: ASYNC251 - this is the fault that is to be seen
    await asyncio.sleep(TICK)
    await meter.stop()
    assert meter.value.max >= 0.09
    await meter.stop()


async def test_metrics_are_served_on_the_loopback() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    meter, metrics = LagMeter(warn_seconds=10), Metrics()
    meter.note(0.125)
    metrics.watch_lag(meter)
    metrics.waiting.set(3)
    metrics.ended.labels("posted").inc()
    metrics.serve(port)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/metrics") as answer,
        ):
            text = await answer.text()
    finally:
        metrics.close()
    assert "easel_jobs_waiting 3.0" in text
    assert 'easel_jobs_ended_total{end="posted"} 1.0' in text
    assert 'easel_loop_lag_seconds{of="max"} 0.125' in text


def test_a_taken_port_is_an_os_error() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(OSError, match="use"):
            Metrics().serve(int(holder.getsockname()[1]))


def test_closing_what_never_listened_is_nothing() -> None:
    Metrics().close()
