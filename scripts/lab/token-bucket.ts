/**
 * How much of a link that was idle passes at full speed before the rate holds. Less makes the rate inexact, as the kernel
 * wakes up late now and then: at 5 Gbit/s iperf3 gets 4.97 with a bucket of 1.7 ms, 4.99 with 3.4 ms; more would let
 * the residual of a small guest pass for nothing. ms
 */
const BURST_MS = 2;

/** Two of the largest packets: tbf cuts up what is larger than its bucket, which costs processor time. bytes */
const LEAST_BURST_BYTES = 2 * 65_536;

/** What waits in the queue at most: TCP stops before, as its own send buffers bound it. ms */
const QUEUE_MS = 50;

/**
 * The packets of a link between two labs' hosts, as large as they get: a packet's headers count, and with packets of 64 KiB
 * TCP carries 0.998 of the rate (iperf3 at 1 Gbit/s), with 9000 bytes 0.993, with 1500 bytes 0.957.
 */
export const LINK_MTU = 65_535;

/** Arguments of `tc qdisc` that let a device send no faster than this; null: as fast as it can. */
export function tokenBucket(device: string, bytesPerSecond: number | null): string[] {
  if (bytesPerSecond === null) return ['qdisc', 'del', 'dev', device, 'root'];
  const burst = Math.max(Math.ceil((bytesPerSecond * BURST_MS) / 1000), LEAST_BURST_BYTES);
  const rate = ['rate', `${bytesPerSecond * 8}bit`, 'burst', `${burst}b`, 'latency', `${QUEUE_MS}ms`];
  return ['qdisc', 'replace', 'dev', device, 'root', 'tbf', ...rate];
}
