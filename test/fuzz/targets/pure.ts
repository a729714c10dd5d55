import { GuestDefinitionSchema } from '../../../shared/guest-definition.js';
import { AgentConfigSchema } from '../../../shared/config.js';
import { checkShape } from '../../../agent/api/json-body.js';
import { QmpConnectionError } from '../../../agent/guest/qemu/qmp/qmp-errors.js';
import { QmpLines } from '../../../agent/guest/qemu/qmp/qmp-lines.js';
import { parseQmpMessage } from '../../../agent/guest/qemu/qmp/qmp-message.js';
import { ReceivedMemory } from '../../../agent/target/received-memory.js';
import { streamDecoder } from '../../../agent/link/page-receiver.js';
import {
  decodeSourceMessage,
  decodeTargetMessage,
  encodeSourceMessage,
  encodeTargetMessage,
} from '../../../shared/protocol/control-codec.js';
import {
  encodeBlobHeader,
  encodePagesHeader,
  encodeRoundEnd,
  encodeZeroPages,
} from '../../../shared/protocol/frame.js';
import { validate } from '../../../shared/validate.js';
import { parse } from 'yaml';
import { SOURCE_SAMPLES, TARGET_SAMPLES } from '../../support/link-samples.js';
import { event, GREETING, refusal, reply } from '../../support/scripted-qmp-server.js';
import { mutatedBytes, mutatedJson } from '../mutate.js';
import { refusesOrTakes } from '../oracle.js';
import type { Random } from '../random.js';
import type { FuzzTargetKind } from '../target.js';

/** What takes bytes or values and touches nothing else: most of the cases. */

const PAGE = 4096;
const REGION_PAGES = 16;
/** Around the memory of a guest: what is written there is a defect. */
const GUARD = 0xa5;

const FRAMES = [
  Buffer.concat([encodePagesHeader({ region: 0, firstPage: 2, pageCount: 1 }), Buffer.alloc(PAGE, 7)]),
  Buffer.concat([encodePagesHeader({ region: 1, firstPage: 15, pageCount: 1 }), Buffer.alloc(PAGE, 9)]),
  Buffer.from(encodePagesHeader({ region: 0, firstPage: 0, pageCount: 16 })),
  Buffer.from(encodeZeroPages({ region: 1, firstPage: 3, pageCount: 12 })),
  Buffer.concat([encodeBlobHeader('device-state', 64, 32), Buffer.alloc(32)]),
  Buffer.from(encodeRoundEnd(3)),
];

function frames(random: Random): void {
  const whole = new Uint8Array((2 * REGION_PAGES + 3) * PAGE).fill(GUARD);
  const at = [PAGE, (REGION_PAGES + 2) * PAGE];
  const regions = at.map((start, i) => ({
    name: `ram${i}`,
    memory: whole.subarray(start, start + REGION_PAGES * PAGE),
  }));
  const memory = new ReceivedMemory(regions, 'off');
  const decoder = streamDecoder(0, {
    pages: (_stream, run) => memory.check(run),
    payload: (_stream, region, offset, chunk) => memory.write(region, offset, chunk),
    pagesEnd: (_stream, run) => memory.applied(run),
    zeroPages: (_stream, run) => {
      memory.check(run);
      memory.writeZeros(run);
    },
    blob: () => undefined,
    roundEnd: () => undefined,
  });
  refusesOrTakes(
    () => {
      for (let left = 1 + random.below(3); left > 0; left -= 1) {
        const bytes = mutatedBytes(random, FRAMES);
        const cut = random.below(bytes.length + 1);
        decoder.write(bytes.subarray(0, cut));
        decoder.write(bytes.subarray(cut));
      }
    },
    'bad-frame',
    'out-of-range',
  );
  for (const guard of [0, REGION_PAGES + 1, 2 * REGION_PAGES + 2]) {
    const bytes = whole.subarray(guard * PAGE, (guard + 1) * PAGE);
    if (bytes.some((byte) => byte !== GUARD)) throw new Error('written outside of the regions of the guest');
  }
}

const FROM_SOURCE = SOURCE_SAMPLES.map((message) => Buffer.from(encodeSourceMessage(message)));
const FROM_TARGET = TARGET_SAMPLES.map((message) => Buffer.from(encodeTargetMessage(message)));

function messages(random: Random): void {
  const source = random.chance(2);
  const bytes = mutatedBytes(random, source ? FROM_SOURCE : FROM_TARGET);
  const decode = source ? decodeSourceMessage : decodeTargetMessage;
  refusesOrTakes(() => {
    const message = decode(bytes);
    // What is taken is of a known type and can be said again.
    if (source) encodeSourceMessage(message as never);
    else encodeTargetMessage(message as never);
  }, 'bad-message');
  clean();
}

const COMMAND = { execute: 'query-status', arguments: {}, id: 7 };
const QMP = [
  GREETING,
  reply(COMMAND, { running: true, status: 'running' }),
  refusal(COMMAND, 'GenericError', 'no'),
  event('STOP'),
  event('MIGRATION', { status: 'completed' }),
].map((line) => Buffer.from(`${line}\r\n`));

function qmp(random: Random): void {
  const lines = new QmpLines();
  try {
    for (let left = 1 + random.below(3); left > 0; left -= 1) {
      for (const line of lines.push(mutatedBytes(random, QMP))) parseQmpMessage(line, () => 0);
    }
  } catch (error) {
    if (!(error instanceof QmpConnectionError)) throw error;
  }
  clean();
}

export const DEFINITIONS = [
  { name: 'web', kind: 'embedded', memory: '64MiB', program: 'dirty', parameters: { pages: 100 } },
  {
    name: 'db',
    kind: 'qemu',
    memory: 1073741824,
    memoryObjects: [{ size: '1GiB', hugepages: '2MiB' }],
    cpus: 2,
    machine: 'pc-q35-7.2',
    boot: { kernel: '/boot/vmlinuz', append: 'console=ttyS0' },
    disks: [{ file: '/srv/a.qcow2', format: 'qcow2', serial: 'a1' }],
    nics: [{ tap: 'tap0', mac: '52:54:00:00:00:01' }],
    arguments: ['-device', 'virtio-rng-pci'],
  },
];

function definitions(random: Random): void {
  const value = mutatedJson(random, random.pick(DEFINITIONS));
  refusesOrTakes(() => {
    const { name } = validate(GuestDefinitionSchema, value, 'invalid-definition', 'the VM definition');
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) throw new Error(`a path could be made of ${name}`);
  }, 'invalid-definition');
  clean();
}

const DEFINITION_TEXTS = DEFINITIONS.map((definition) => Buffer.from(JSON.stringify(definition)));

/** Text as a body of the API has it: what the check lets pass the parser must be able to take. */
function json(random: Random): void {
  const bytes = mutatedBytes(random, DEFINITION_TEXTS);
  if (!refusesOrTakes(() => checkShape(bytes), 'invalid-request')) return;
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch {
    return;
  }
  const check = () => validate(GuestDefinitionSchema, value, 'invalid-definition', 'the VM definition');
  refusesOrTakes(check, 'invalid-definition');
  clean();
}

const CONFIGS = [
  `node: a\nlisten: 127.0.0.1:7800\npeers: { b: 'http://10.0.0.2:7800' }\nguestMemory: 2GiB\n` +
    `migration: { maxDowntime: 30ms, bandwidth: 1gbit, streams: 4 }\nlink: { heartbeat: 1s, silence: 10s }\n` +
    `lock: { overtakeLimit: 8, grace: 15s }\nshutdown: { migrations: cancel, timeout: 5s }\nlog: { level: info }\n`,
  `node: b\nanchors: &a [x, x]\nqemu: { binary: /usr/bin/qemu, writeLog: hash }\npeers: {}\n`,
].map((text) => Buffer.from(text));

function config(random: Random): void {
  const text = mutatedBytes(random, CONFIGS).toString();
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    // The YAML library's own errors, which are told with their line.
    if (error instanceof Error && /YAML|alias/i.test(`${error.name} ${error.message}`)) return;
    throw error;
  }
  const check = () => validate(AgentConfigSchema, value, 'invalid-request', 'the configuration');
  refusesOrTakes(check, 'invalid-request');
  clean();
}

/** Nothing that was read may have become a property of every object. */
function clean(): void {
  for (const key in {}) throw new Error(`every object has a property '${key}' now`);
}

const kind = (name: string, cases: number, run: (random: Random) => void): FuzzTargetKind => ({
  ...{ name, cases, ciCases: 2000 },
  open: () => Promise.resolve({ run }),
});

export const PURE_TARGETS: readonly FuzzTargetKind[] = [
  kind('frames', 200_000, frames),
  kind('messages', 300_000, messages),
  kind('qmp', 200_000, qmp),
  kind('definitions', 150_000, definitions),
  kind('json', 100_000, json),
  kind('config', 40_000, config),
];
