import { join } from 'node:path';
import { GuestDefinitionSchema } from '../../shared/guest-definition.js';
import { buildLinuxGuest, linuxBoot } from '../lab/guests/linux/linux-guest.js';
import { GuestTranscript, gapsIn } from '../lab/guest-transcript.js';
import { downtimesOf, type Evidence, isPerfect, migrate, type Stage } from './demonstration.js';

const VM = 'traveller';
const MEMORY = '512MiB';

/** The guest fills this much and checks it again and again; of that it writes some anew in each pass. */
const WORK = { mib: 192, hotMiB: 8 } as const;

const PASS = /checked all of it, pass (\d+)$/;

/**
 * Linux on QEMU, with a process that fills memory with a pattern, changes parts of it, and checks all of it in a loop: a
 * page that did not arrive as it was ends it. Each move is verified before its commit; in the end the consoles of both
 * nodes, joined, must have every pass once.
 */
export async function qemuDemo(stage: Stage): Promise<Evidence> {
  const { a, b, directory, say } = stage;
  const initrd = join(directory, 'initrd');
  await buildLinuxGuest(initrd);
  const boot = linuxBoot(initrd, { memory: [WORK] });
  const definition = GuestDefinitionSchema.parse({ name: VM, kind: 'qemu', memory: MEMORY, boot });
  await a.defineGuest(definition, undefined);
  await a.changeGuest(VM, 'start');
  const transcript = new GuestTranscript(a, VM);
  try {
    await transcript.another(PASS);
    const { machine } = await a.guest(VM);
    say(
      `node a runs '${VM}', Linux on QEMU (process ${machine['pid']}): ${MEMORY} of memory, of which it checks`,
    );
    say(`${WORK.mib} MiB in a loop and writes ${WORK.hotMiB} MiB of them anew in each pass\n`);

    const there = await migrate(stage, { vm: VM, from: a, to: 'b', verify: 'strict' });
    await transcript.another(PASS);
    const back = await migrate(stage, { vm: VM, from: b, to: 'a', verify: 'strict' });
    await transcript.another(PASS);

    const passes = transcript.lines(PASS).map((line) => Number(PASS.exec(line)?.[1]));
    const defects = [...transcript.lines(/FAILED/), ...transcript.defects, ...gapsIn(passes)];
    say(`its console, as the two nodes have it together:`);
    say(excerpt(transcript.lines(/./)).replace(/^/gm, '  | '));
    const migrations = [there, back];
    const ok = defects.length === 0 && migrations.every(isPerfect);
    say(
      defects.length === 0
        ? `\n${passes.length} passes over its memory, none failed; no line of the console was lost or repeated`
        : `\nthis is wrong: ${defects.join('; ')}`,
    );
    say(ok ? `all held; downtimes ${downtimesOf(migrations)}` : 'NOT all of it held');
    return { ok, guest: definition, migrations, passes: passes.length, defects };
  } finally {
    await transcript.close();
  }
}

/** The first and the last lines. */
function excerpt(lines: readonly string[]): string {
  return [...lines.slice(0, 4), '...', ...lines.slice(-3)].join('\n');
}
