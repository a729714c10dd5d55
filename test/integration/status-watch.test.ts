import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { HistoryEntry, MigrationInfo } from '../../shared/api.js';
import { AgentLab, vmferry } from '../support/agent-lab.js';

/** What is shown of a real migration, on a real terminal and in a log, over a restart of the agent. */

const lab = await AgentLab.start(t, ['a', 'b']);
const WATCH = ['status', '--watch', '--interval', '100ms'];

/** What a process prints, to wait for. */
class Printed {
  text = '';
  readonly #stream: NodeJS.ReadableStream;

  constructor(stream: NodeJS.ReadableStream) {
    this.#stream = stream;
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => (this.text += chunk));
  }

  async until(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.text)) await once(this.#stream, 'data');
  }
}

await t.test(
  'a migration, watched on a terminal and in a log, over a restart, and looked at later',
  async (t) => {
    const { url } = lab.agent('a');
    const command = [
      process.execPath,
      fileURLToPath(new URL('../../scripts/vmferry.js', import.meta.url)),
      ...WATCH,
    ];
    // script(1) gives it a terminal; its size is that terminal's.
    const quoted = `stty cols 90 rows 25; exec ${command.map((word) => `'${word}'`).join(' ')}`;
    const pty = spawn('script', ['-qefc', quoted, '/dev/null'], {
      env: { ...process.env, VMFERRY_AGENT: url },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const log = vmferry(url, WATCH);
    t.teardown(() => [pty, log.child].forEach((child) => child.kill()));
    const screen = new Printed(pty.stdout);
    const lines = new Printed(log.child.stdout);
    await Promise.all([screen.until(/no VMs/), lines.until(/agent: answers/)]);

    const parameters = { workingSetPages: 200, pagesPerSecond: 0 };
    await lab.boot('a', { name: 'web', program: 'dirty', parameters });
    const id = await lab.request('web', 'a', 'b', { bandwidthBytesPerSecond: 3_000_000, stallRounds: 1000 });
    await Promise.all([
      screen.until(/copying round \d+.*left .*KiB.*left by round .*stalled: no new minimum/s),
      lines.until(/web from a to b; copying round \d+.*; stalled: no new minimum/),
    ]);
    const running = await lab.command('a', 'show', id);
    t.match(running.stdout, /copying round \d+.*stalled: .*round +pages .*\n +0 .*█/s);
    await lab.client('a').limitMigration(id, 0);
    await lab.client('a').cancelMigration(id);
    await Promise.all([screen.until(/cancelled: /), lines.until(/web from a to b; cancelled: /)]);

    await lab.agent('a').stop();
    await Promise.all([screen.until(/no answer for /), lines.until(/agent: no answer: /)]);
    await lab.restart('a');
    const mark = screen.text.length;
    await lines.until(/no answer: [^]*agent: answers/);
    await screen.until(new RegExp(`^[^]{${mark}}[^]*node a`));

    const history = JSON.parse(
      (await lab.command('a', 'history', '--vm', 'web', '--json')).stdout,
    ) as HistoryEntry[];
    t.match(history, [{ id, vm: 'web', outcome: 'cancelled' }]);
    t.match((await lab.command('a', 'show', id)).stdout, /was cancelled.*round +pages .*\n +0 .*█/s);
    const shown = JSON.parse((await lab.command('a', 'show', id, '--json')).stdout) as MigrationInfo;
    t.match(shown, { id, phase: 'ended', copying: null, result: { outcome: 'cancelled' } });

    // Ctrl-C, as it is typed.
    pty.stdin.write('\u0003');
    t.same(await once(pty, 'close'), [0, null]);
    t.ok(screen.text.endsWith('\u001b[?25h\u001b[?1049l'), 'the terminal is left as it was');
    log.child.kill('SIGINT');
    t.match(await log.ended, { exitCode: 0, stderr: '' });
  },
);
