import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Test } from 'tap';
import { DefinitionFiles } from '../../agent/guest/definition-files.js';
import type { GuestKind, Survivor } from '../../agent/guest/hosted-guest.js';
import { openGuests } from '../../agent/guest/open-guests.js';
import type { JournalEntry } from '../../agent/journal/ownership-journal.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { definitionOf, started } from './array-guest.js';
import { arrayGuestKinds, HostedArrayGuest } from './hosted-array-guest.js';

export const MIB = 2 ** 20;

export const regionsOf = ({ memory }: GuestDefinition) => [{ name: 'ram0', bytes: memory }];

/** The guests of a node that has none yet, with its directory of definitions; `open` opens that once more. */
export async function openNode(
  t: Test,
  memoryLimitBytes = 4 * MIB,
  onMake?: (guest: HostedArrayGuest) => void,
  decisions: JournalEntry[] = [],
) {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-guests-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const fakes = arrayGuestKinds(onMake);
  const open = () =>
    openGuests({
      node: 'a',
      kinds: fakes.kinds,
      files: new DefinitionFiles(directory),
      journal: { get: () => undefined, entries: () => decisions },
      memoryLimitBytes,
      logger: pino({ level: 'silent' }),
    });
  return { directory, open, guests: fakes.guests, ...(await open()) };
}

/** A guest that lives outside of the agent, as one run of the agent after the other sees it. */
export class LastingGuest extends HostedArrayGuest {
  owned = 0;
  detached = 0;
  disowned = 0;

  own(): Promise<void> {
    this.owned += 1;
    return Promise.resolve();
  }

  detach(): Promise<void> {
    this.detached += 1;
    return Promise.resolve();
  }

  disown(): Promise<void> {
    this.disowned += 1;
    return Promise.resolve();
  }
}

/** The guests of a node on whose host an earlier run of the agent left `guest`, the VM web, running. */
export async function openOn(
  t: Test,
  incoming: string | null,
  entries: JournalEntry[] = [],
  takeUp?: () => Promise<never>,
  prepare: (guest: LastingGuest) => void = () => undefined,
  defined: readonly GuestDefinition[] = [],
) {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-survivors-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  for (const each of defined) await writeFile(join(directory, `${each.name}.json`), JSON.stringify(each));
  const known: unknown[] = [];
  const guest = new LastingGuest(definitionOf('web'));
  prepare(guest);
  const survivor: Survivor = {
    definition: guest.definition,
    incoming,
    takeUp: takeUp ?? (() => Promise.resolve(guest)),
    destroy: () => guest.destroy(),
  };
  let adopted: LastingGuest | null = null;
  const kind: GuestKind = {
    check: () => undefined,
    boot: (definition) => Promise.resolve(new LastingGuest(definition)),
    incoming: (definition) => Promise.resolve(started(new LastingGuest(definition))),
    regions: regionsOf,
    survivors: (definitionOf) => {
      known.push(definitionOf('web'), definitionOf('other'));
      return Promise.resolve([survivor]);
    },
    adopt: (name) => Promise.resolve((adopted = new LastingGuest(definitionOf(name)))),
  };
  const log: { level: number; msg: string }[] = [];
  const node = await openGuests({
    node: 'a',
    kinds: { embedded: { ...kind, survivors: () => Promise.resolve([]) }, qemu: kind },
    files: new DefinitionFiles(directory),
    journal: {
      get: (migration) => entries.find((candidate) => candidate.migration === migration),
      entries: () => entries,
    },
    memoryLimitBytes: 4 * MIB,
    logger: pino({}, { write: (line: string) => void log.push(JSON.parse(line) as never) }),
  });
  return { guest, directory, log, known, adopted: () => adopted!, ...node };
}
