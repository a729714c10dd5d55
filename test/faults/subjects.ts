import { join } from 'node:path';
import { pageMarkers, pageWalkDefects } from '../../scripts/lab/guests/boot-sector/page-walk-defects.js';
import { buildPageWalker } from '../../scripts/lab/guests/boot-sector/page-walker.js';
import { gapsIn } from '../../scripts/lab/guest-transcript.js';
import type { AgentClient } from '../../client/agent-client.js';
import { GuestDefinitionSchema } from '../../shared/guest-definition.js';
import { eventually } from './eventually.js';
import type { FaultPair, GuestKindName, NodeName } from './fault-pair.js';
import { patternImage, PatternReference } from './pattern-program.js';

/** A guest that shows whether it is right. */
export interface Subject {
  readonly kind: GuestKindName;
  readonly memoryBytes: number;
  /** Defines and starts one; resolves once it has walked over all of its memory. */
  boot(pair: FaultPair, node: NodeName, name: string): Promise<void>;
  /** What is wrong with one that runs, once it has walked over all of its memory again; empty if nothing is. */
  defects(pair: FaultPair, node: NodeName, name: string): Promise<string[]>;
}

/** How long a guest may take to go over its memory on a busy host. ms */
const WALK_LIMIT_MS = 60_000;

/** Two passes have ended after the one that was under way. */
const PASSES = 3;

async function printedFrom(client: AgentClient, name: string, position: number) {
  let chunk = await client.readConsole(name, position);
  const first = chunk.position;
  let text = '';
  while (chunk.text !== '') {
    text += chunk.text;
    chunk = await client.readConsole(name, chunk.end);
  }
  return { position: first, text };
}

/** Waits until a guest has printed some lines more. What is wrong if it does not. */
async function walksOn(client: AgentClient, name: string): Promise<string[]> {
  const { consoleBytes } = await client.guest(name);
  return await eventually(WALK_LIMIT_MS, async () => {
    const { text } = await printedFrom(client, name, consoleBytes);
    return text.split('\n').length > PASSES ? [] : [`VM ${name} prints nothing more`];
  });
}

/** The embedded guest: its transcript must be that of the same machine that never moved. */
export function embeddedSubject(): Subject {
  const memoryBytes = 4 * 2 ** 20;
  const image = patternImage(memoryBytes);
  const reference = new PatternReference(memoryBytes);
  return {
    kind: 'embedded',
    memoryBytes,
    async boot(pair, node, name) {
      await pair.lab.boot(node, { name, memory: memoryBytes, program: 'image' }, image);
      await walksOn(pair.client(node), name);
    },
    async defects(pair, node, name) {
      const client = pair.client(node);
      const stuck = await walksOn(client, name);
      if (stuck.length > 0) return stuck;
      const { position, text } = await printedFrom(client, name, 0);
      const expected = reference.transcript(position + text.length).slice(position);
      if (text === expected) return [];
      const at = [...text].findIndex((character, index) => character !== expected[index]);
      const begin = Math.max(0, at - 30);
      return [
        `the transcript differs at byte ${position + at}: ${JSON.stringify(text.slice(begin, at + 30))} ` +
          `instead of ${JSON.stringify(expected.slice(begin, at + 30))}`,
      ];
    },
  };
}

/** A boot sector on QEMU that walks over its RAM: what it prints are the passes, and its pages show how far it is. */
export function qemuSubject(): Subject {
  const memoryBytes = 32 * 2 ** 20;
  return {
    kind: 'qemu',
    memoryBytes,
    async boot(pair, node, name) {
      const file = join(pair.lab.directory, 'walker.img');
      await buildPageWalker(file, { memoryBytes });
      const disks = [{ file, readonly: true }];
      const machine = { kind: 'qemu', accel: 'tcg', name, memory: memoryBytes, disks };
      await pair.client(node).defineGuest(GuestDefinitionSchema.parse(machine), undefined);
      await pair.client(node).changeGuest(name, 'start');
      await walksOn(pair.client(node), name);
    },
    async defects(pair, node, name) {
      const client = pair.client(node);
      const stuck = await walksOn(client, name);
      if (stuck.length > 0) return stuck;
      await client.changeGuest(name, 'pause');
      const { text } = await printedFrom(client, name, 0);
      const passes = [...text.matchAll(/^pass (\w{8})$/gm)].map(([, number]) => Number.parseInt(number!, 16));
      const [first = 1] = passes;
      const gaps = gapsIn(passes.map((pass) => pass - first + 1));
      const markers = await pageMarkers(await pair.qemu!.ramFiles(node, name));
      await client.changeGuest(name, 'resume');
      return [...gaps, ...pageWalkDefects(markers)];
    },
  };
}
