import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { AgentClient } from '../client/agent-client.js';
import { embeddedDemo } from './demos/embedded-demo.js';
import { qemuDemo } from './demos/qemu-demo.js';
import { type AgentProcess, ALLOW_ALL_FILES, startAgents } from './lab/agent-process.js';
import { qemuProcesses } from './lab/qemu-processes.js';

/**
 * Two agents on this machine, one guest that works, migrated there and back while it runs, its memory verified. Exits
 * with 0 only if all of it held.
 */

const DEMOS = { embedded: embeddedDemo, qemu: qemuDemo };

const { guest, json } = await yargs(hideBin(process.argv))
  .usage('$0 [--guest embedded|qemu] [--json]')
  .option('guest', {
    choices: ['embedded', 'qemu'] as const,
    default: 'embedded' as const,
    describe: 'kind of guest',
  })
  .option('json', { type: 'boolean', default: false, describe: 'print one JSON document' })
  .strict()
  .parseAsync();

const directory = await mkdtemp(join(tmpdir(), 'vmferry-demo-'));
const memoryDirectory = guest === 'qemu' ? await mkdtemp('/dev/shm/vmferry-demo-') : undefined;
let agents: AgentProcess[] = [];

/** Neither agents nor the guests that outlive them stay behind, whatever ends the demo. */
function clearAway(): void {
  for (const agent of agents) agent.process.kill('SIGKILL');
  if (memoryDirectory !== undefined) {
    for (const pid of qemuProcesses(memoryDirectory)) process.kill(pid, 'SIGKILL');
    rmSync(memoryDirectory, { recursive: true, force: true });
  }
  rmSync(directory, { recursive: true, force: true });
}

const giveUp = () => {
  clearAway();
  process.exit(1);
};
process.once('SIGINT', giveUp);
process.once('SIGTERM', giveUp);
process.stdout.on('error', giveUp);
try {
  agents = await startAgents(
    ['a', 'b'],
    directory,
    memoryDirectory === undefined ? {} : { qemu: { memoryDirectory, allow: ALLOW_ALL_FILES } },
  );
  const [a, b] = agents.map(({ url }) => new AgentClient(url));
  const say = (text: string) => void (json ? undefined : process.stdout.write(`${text}\n`));
  const evidence = await DEMOS[guest]({ a: a!, b: b!, directory, say });
  if (json) process.stdout.write(`${JSON.stringify(evidence, null, 2)}\n`);
  process.exitCode = evidence.ok ? 0 : 1;
} catch (error) {
  process.stderr.write(`demo: ${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await Promise.all(agents.map((agent) => agent.stop()));
  clearAway();
}
