import fc from 'fast-check';
import t from 'tap';
import {
  formatBytes,
  formatDuration,
  formatRate,
  parseBytes,
  parseDuration,
  parseRate,
} from '../../shared/units.js';

void t.test('sizes', (t) => {
  const sizes: Record<string, number> = {
    '0': 0,
    '17': 17,
    '17B': 17,
    '4KiB': 4096,
    '64MiB': 64 * 2 ** 20,
    '2GiB': 2 * 2 ** 30,
    '1tib': 2 ** 40,
    '64MB': 64e6,
    '1.5 GiB': 1.5 * 2 ** 30,
    ' 10 kB ': 10_000,
  };
  for (const [text, bytes] of Object.entries(sizes)) t.equal(parseBytes(text), bytes, text);
  t.end();
});

void t.test('rates', (t) => {
  const rates: Record<string, number> = {
    '1gbit': 125e6,
    '250mbit': 31.25e6,
    '100MB': 100e6,
    '100MB/s': 100e6,
    '1Gbps': 125e6,
    '100MBps': 100e6,
    '8kbit/s': 1000,
    '64MiB/s': 64 * 2 ** 20,
    '12': 12,
  };
  for (const [text, bytesPerSecond] of Object.entries(rates)) t.equal(parseRate(text), bytesPerSecond, text);
  t.end();
});

void t.test('durations', (t) => {
  const durations: Record<string, number> = { '30ms': 30, '2s': 2000, '5min': 300_000, '1.5h': 5_400_000 };
  for (const [text, ms] of Object.entries(durations)) t.equal(parseDuration(text), ms, text);
  t.end();
});

void t.test('what is not understood is named, with an example of what is', (t) => {
  for (const text of ['', 'MiB', '-1MiB', '1e3', '1 2', '5 parsecs', '0x10', '1,5GiB', 'NaN', '1MiBs']) {
    t.throws(() => parseBytes(text), { code: 'invalid-request', message: /size '.*' .* 64MiB/ }, text);
    t.throws(() => parseRate(text), { code: 'invalid-request', message: /rate '.*' .* 1gbit/ }, text);
  }
  for (const text of ['', '30', 'ms', '-1s', '2 weeks', '1m']) {
    t.throws(() => parseDuration(text), { code: 'invalid-request', message: /duration '.*' .* 30ms/ }, text);
  }
  t.end();
});

void t.test('as people read them', (t) => {
  t.equal(formatBytes(0), '0 B');
  t.equal(formatBytes(1023), '1023 B');
  t.equal(formatBytes(1536), '1.5 KiB');
  t.equal(formatBytes(64 * 2 ** 20), '64.0 MiB');
  t.equal(formatBytes(512 * 2 ** 20), '512 MiB');
  t.equal(formatBytes(2 ** 50), '1024 TiB');
  t.equal(formatRate(1_234_000_000), '1.23 GB/s');
  t.equal(formatRate(12_340_000), '12.3 MB/s');
  t.equal(formatRate(1234), '1.2 kB/s');
  t.equal(formatDuration(6.54), '6.5 ms');
  t.equal(formatDuration(250), '250 ms');
  t.equal(formatDuration(1420), '1.42 s');
  t.equal(formatDuration(185_000), '3 min 5 s');
  t.end();
});

void t.test('seconds never read 60', (t) => {
  fc.assert(fc.property(fc.nat(86_400_000), (ms) => !/ 60 s$/.test(formatDuration(ms))));
  t.end();
});

void t.test('a size that was written is read back', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 45 }), (bytes) => {
      const back = parseBytes(formatBytes(bytes));
      return Math.abs(back - bytes) <= Math.max(1, bytes * 0.05);
    }),
  );
  t.end();
});
