import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import type { GuestInfo, MigrationResult } from '../shared/api.js';
import { GuestDefinitionSchema } from '../shared/guest-definition.js';
import type { VerifyMode } from '../shared/protocol/messages.js';
import { AgentClient } from './cli/agent-client.js';
import { migrationSummary } from './cli/migration-summary.js';
import { type AgentProcess, startAgents } from './lab/agent-process.js';

/**
 * Two agents on this machine, one guest that computes, migrated there and back while it runs; its memory is verified
 * after the first move, and before the commit of the second. The guest ends with a digest over its memory: it must be that of the same computation on a machine
 * that never moved. Exits with 0 only if all of it held.
 */

const { json } = await yargs(hideBin(process.argv))
  .usage('$0 [--guest embedded] [--json]')
  .option('guest', { choices: ['embedded'] as const, default: 'embedded', describe: 'kind of guest' })
  .option('json', { type: 'boolean', default: false, describe: 'print one JSON document' })
  .strict()
  .parseAsync();

/** Fills and in the end reads all of its memory, and meanwhile changes 1 MiB of it. */
const GUEST = {
  kind: 'embedded',
  memory: '128MiB',
  program: 'checksum',
  parameters: { steps: 16_000_000, hotPages: 256 },
};

const say = (text: string) => void (json ? undefined : process.stdout.write(`${text}\n`));

interface Ending {
  transcript: string;
  retiredInstructions: GuestInfo['machine'][string] | undefined;
  exitCode: GuestInfo['machine'][string] | undefined;
}

async function demo(a: AgentClient, b: AgentClient) {
  const definition = GuestDefinitionSchema.parse({ name: 'traveller', ...GUEST });
  await a.defineGuest(definition, undefined);
  await a.changeGuest('traveller', 'start');
  say("node a runs 'traveller': 128 MiB of memory, a long computation over it\n");

  const there = await migrate(a, 'b', 'after');
  const back = await migrate(b, 'a', 'strict');
  const moved = await ending(a, 'traveller');

  say('the same computation on a machine that never moves, to compare\n');
  await b.defineGuest({ ...definition, name: 'stayer' }, undefined);
  await b.changeGuest('stayer', 'start');
  const stayed = await ending(b, 'stayer');
  say(stayed.transcript.replace(/^/gm, '  | ').trimEnd());

  const same = JSON.stringify(moved) === JSON.stringify(stayed);
  const held = same && moved.exitCode === 0 && [there, back].every(isPerfect);
  say(
    same
      ? `\nsame transcript, same exit code, same count of instructions (${moved.retiredInstructions}): nothing was lost`
      : `\nthe guest that moved ended differently: ${JSON.stringify(moved)}`,
  );
  const downtimes = [there, back].map(({ downtimeMs }) => `${downtimeMs.toFixed(1)} ms`).join(' and ');
  say(held ? `all held; downtimes ${downtimes}` : 'NOT all of it held');
  if (json) {
    const document = { ok: held, guest: definition, migrations: [there, back], moved, stayed };
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  }
  return held;
}

async function migrate(from: AgentClient, to: string, verify: VerifyMode): Promise<MigrationResult> {
  const before = await from.guest('traveller');
  if (before.status !== 'running')
    throw new Error(`the guest is ${before.status} before it was migrated to ${to}`);
  const { id } = await from.startMigration({ vm: 'traveller', to, options: { verify } });
  for await (const event of from.migrationEvents(id, -1, new AbortController().signal)) {
    if (event.event !== 'ended') continue;
    say(`${migrationSummary(event.result)}\n`);
    if (event.result.error) throw new Error(event.result.error.message);
    return event.result;
  }
  throw new Error(`the events of migration ${id} ended without a result`);
}

/** Waits until the guest has powered itself off. */
async function ending(agent: AgentClient, vm: string): Promise<Ending> {
  const texts: string[] = [];
  for await (const chunk of agent.followConsole(vm, 0, new AbortController().signal)) texts.push(chunk.text);
  const { status, machine }: GuestInfo = await agent.guest(vm);
  if (status !== 'finished') throw new Error(`${vm} did not finish: it is ${status}`);
  const { retiredInstructions, exitCode } = machine;
  return { transcript: Buffer.from(texts.join(''), 'latin1').toString(), retiredInstructions, exitCode };
}

function isPerfect({ outcome, verify, ramBytes }: MigrationResult): boolean {
  return outcome === 'completed' && verify.mismatches === 0 && verify.pagesChecked * 4096 === ramBytes;
}

const directory = await mkdtemp(join(tmpdir(), 'vmferry-demo-'));
let agents: AgentProcess[] = [];
// Whatever ends the demo early, the agents must not outlive it.
const giveUp = () => {
  for (const agent of agents) agent.process.kill('SIGKILL');
  process.exit(1);
};
process.once('SIGINT', giveUp);
process.once('SIGTERM', giveUp);
process.stdout.on('error', giveUp);
try {
  agents = await startAgents(['a', 'b'], directory);
  const [a, b] = agents.map(({ url }) => new AgentClient(url));
  process.exitCode = (await demo(a!, b!)) ? 0 : 1;
} catch (error) {
  process.stderr.write(`demo: ${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await Promise.all(agents.map((agent) => agent.stop()));
  await rm(directory, { recursive: true, force: true });
}
