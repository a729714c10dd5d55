/** A ping is sent this often. ms */
export const HEARTBEAT_INTERVAL_MS = 1000;

/** A peer that is not heard of for this long is taken for gone. ms */
export const HEARTBEAT_TIMEOUT_MS = 10_000;
