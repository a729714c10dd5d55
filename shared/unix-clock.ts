/** Further than this from the system's clock, the finer one below has been left behind: the clock was set. ms */
const MAX_DRIFT_MS = 2;

/** Unix time by this host's clock in ms, finer than Date.now() tells it. */
export function unixNow(): number {
  const fine = performance.timeOrigin + performance.now();
  const whole = Date.now();
  return Math.abs(fine - whole) > MAX_DRIFT_MS ? whole : fine;
}
