import { MigrationError } from './errors.js';

const BYTES = new Map([
  ['', 1], ['b', 1],
  ['kib', 2 ** 10], ['mib', 2 ** 20], ['gib', 2 ** 30], ['tib', 2 ** 40],
  ['kb', 1e3], ['mb', 1e6], ['gb', 1e9], ['tb', 1e12],
]); // prettier-ignore
const BITS_PER_SECOND = new Map([
  ['bit', 1], ['kbit', 1e3], ['mbit', 1e6], ['gbit', 1e9],
]); // prettier-ignore
const MILLISECONDS = new Map([
  ['ms', 1], ['s', 1e3], ['min', 6e4], ['h', 36e5], ['d', 864e5],
]); // prettier-ignore

function parse(text: string, units: ReadonlyMap<string, number>, what: string, example: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const factor = units.get(match?.[2]?.toLowerCase() ?? '?');
  if (!match || factor === undefined) {
    throw new MigrationError(
      'invalid-request',
      `${what} '${text}' is not understood: write it like ${example}`,
    );
  }
  return Number(match[1]) * factor;
}

/** '64MiB' (binary) or '64MB' (decimal) as bytes. Throws invalid-request. */
export function parseBytes(text: string): number {
  return Math.round(parse(text, BYTES, 'size', '64MiB or 2GiB'));
}

/** '1gbit' or '1Gbps' (bits a second), '100MB' or '100MB/s' (bytes a second) as bytes a second. Throws invalid-request. */
export function parseRate(text: string): number {
  const plain = text.replace(/bps$/, 'bit').replace(/(\/s|ps)$/i, '');
  const bits = new Map([...BITS_PER_SECOND].map(([unit, factor]) => [unit, factor / 8]));
  return Math.round(parse(plain, new Map([...BYTES, ...bits]), 'rate', '1gbit, 250mbit or 100MB'));
}

/** '30ms', '2s', '5min' as milliseconds. Throws invalid-request. */
export function parseDuration(text: string): number {
  return parse(text, MILLISECONDS, 'duration', '30ms, 2s or 5min');
}

/** 1536 as '1.5 KiB'. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

/** Bytes a second as '1.2 GB/s' (decimal, as links are rated). */
export function formatRate(bytesPerSecond: number): string {
  if (bytesPerSecond >= 1e9) return `${(bytesPerSecond / 1e9).toFixed(2)} GB/s`;
  if (bytesPerSecond >= 1e6) return `${(bytesPerSecond / 1e6).toFixed(1)} MB/s`;
  return `${(bytesPerSecond / 1e3).toFixed(1)} kB/s`;
}

/** Milliseconds as '6.5 ms', '1.42 s' or '3 min 5 s'. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${ms.toFixed(ms < 100 ? 1 : 0)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** An estimate of milliseconds, no finer than it is known: 'less than 1 s', '13 s', '4 min', '2 h'. */
export function formatEstimate(ms: number): string {
  if (ms < 1000) return 'less than 1 s';
  const seconds = Math.round(ms / 1000);
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

/** '1 page', '3 pages'; `many` where that takes more than an s. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
