import type { GuestInfo } from '../../shared/api.js';
import { GuestDefinitionSchema } from '../../shared/guest-definition.js';
import type { AgentClient } from '../../client/agent-client.js';
import { downtimesOf, type Evidence, isPerfect, migrate, type Stage } from './demonstration.js';

/** Fills and in the end reads all of its memory, and meanwhile changes 1 MiB of it. */
const GUEST = {
  kind: 'embedded',
  memory: '128MiB',
  program: 'checksum',
  parameters: { steps: 16_000_000, hotPages: 256 },
};

interface Ending {
  transcript: string;
  retiredInstructions: GuestInfo['machine'][string] | undefined;
  exitCode: GuestInfo['machine'][string] | undefined;
}

/**
 * The built-in machine computes while it is moved: its memory is verified after the first move, and before the commit of
 * the second. It ends with a digest over its memory, which must be that of the same computation on a machine that never
 * moved.
 */
export async function embeddedDemo(stage: Stage): Promise<Evidence> {
  const { a, b, say } = stage;
  const definition = GuestDefinitionSchema.parse({ name: 'traveller', ...GUEST });
  await a.defineGuest(definition, undefined);
  await a.changeGuest('traveller', 'start');
  say("node a runs 'traveller': 128 MiB of memory, a long computation over it\n");

  const migrations = [
    await migrate(stage, { vm: 'traveller', from: a, to: 'b', verify: 'after' }),
    await migrate(stage, { vm: 'traveller', from: b, to: 'a', verify: 'strict' }),
  ];
  const moved = await ending(a, 'traveller');

  say('the same computation on a machine that never moves, to compare\n');
  await b.defineGuest({ ...definition, name: 'stayer' }, undefined);
  await b.changeGuest('stayer', 'start');
  const stayed = await ending(b, 'stayer');
  say(stayed.transcript.replace(/^/gm, '  | ').trimEnd());

  const same = JSON.stringify(moved) === JSON.stringify(stayed);
  const ok = same && moved.exitCode === 0 && migrations.every(isPerfect);
  say(
    same
      ? `\nsame transcript, same exit code, same count of instructions (${moved.retiredInstructions}): nothing was lost`
      : `\nthe guest that moved ended differently: ${JSON.stringify(moved)}`,
  );
  say(ok ? `all held; downtimes ${downtimesOf(migrations)}` : 'NOT all of it held');
  return { ok, guest: definition, migrations, moved, stayed };
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
