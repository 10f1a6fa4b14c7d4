"""Time constants for a run of real processes that is to be short: fractions of the shipped ones.

*types.*
"""

from typing import Final

__all__ = ["CONFIG", "FOLLOWER", "GATEWAY", "WORKER"]

CONFIG: Final = {
    "roll-call-s": "0.3",
    "publish-retry-s": "0.1",
    "publish-verify-s": "1",
    "recovery-retry-s": "0.5",
    "report-ttl-s": "4",
}
FOLLOWER: Final = {
    "nats-reconnect-wait-s": "0.1",
    "replica-retry-max-s": "1",
    "replica-poll-s": "2",
    "replica-long-poll-s": "5",
    "replica-bus-silent-s": "1.5",
    "replica-report-s": "0.5",
    "replica-report-http-s": "1",
    "replica-stale-after-s": "4",
    "replica-fetch-timeout-s": "3",
    "queue-ack-wait-s": "4",
}
GATEWAY: Final = {
    "request-timeout-s": "10",
    "fleet-ttl-s": "2",
    "fleet-settle-s": "1",
}
WORKER: Final = {
    "heartbeat-interval-s": "0.3",
    "peer-silence-s": "1.5",
    "hold-extend-s": "1",
    "ping-interval-s": "0.5",
    "ping-timeout-s": "2",
    "executor-grace-s": "3",
    "load-cooldown-s": "0.5",
    "load-timeout-s": "5",
    "batch-timeout-s": "5",
}
