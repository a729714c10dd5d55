import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

/** As ./scripts/lab/fetch-promtool puts it there. */
const PROMTOOL = '.cache/promtool/promtool';

/** Runs Prometheus' promtool; all that it says. Rejects, with that, where it finds something wrong. */
export async function promtool(args: readonly string[], input = ''): Promise<string> {
  const child = spawn(PROMTOOL, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  // One that reads nothing may have ended before.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [said, complaints, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number]>,
  ]);
  if (code !== 0) throw new Error(`promtool ${args.join(' ')}: ${said}${complaints}`);
  return said + complaints;
}
