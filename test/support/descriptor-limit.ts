import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

/** Lets a process that runs open so many descriptors more, and no others; returns how to give it all of them back. */
export function leaveDescriptors(pid: number, free: number): () => void {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  // The limit is on their numbers, which have gaps.
  let limit = 0;
  for (let left = free; left > 0 || open.has(limit); limit += 1) if (!open.has(limit)) left -= 1;
  setSoftLimit(pid, String(limit));
  const [, hard] = execFileSync(
    'prlimit',
    ['--pid', String(pid), '--nofile', '--noheadings', '--raw', '--output', 'SOFT,HARD'],
    {
      encoding: 'utf8',
    },
  )
    .trim()
    .split(/\s+/);
  return () => setSoftLimit(pid, hard!);
}

function setSoftLimit(pid: number, limit: string): void {
  execFileSync('prlimit', ['--pid', String(pid), `--nofile=${limit}:`]);
}
