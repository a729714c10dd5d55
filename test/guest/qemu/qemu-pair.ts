import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Test } from 'tap';
import type { GuestKind, HostedGuest } from '../../../agent/guest/hosted-guest.js';
import type { QemuGuest } from '../../../agent/guest/qemu/qemu-guest.js';
import { qemuKind } from '../../../agent/guest/qemu/qemu-kind.js';
import { ALLOW_ALL_FILES } from '../../../scripts/lab/agent-process.js';
import { AgentConfigSchema } from '../../../shared/config.js';
import { type QemuDefinition, QemuDefinitionSchema } from '../../../shared/guest-definition.js';
import { PAGE_SIZE } from '../../../shared/page.js';
import { arriving, savedState } from '../../support/array-guest.js';

/** Two nodes on this machine, for QEMU guests without the engine. What is left of them at the end fails the test. */
export class QemuPair {
  readonly directory = mkdtempSync(join(tmpdir(), 'qemu-'));
  readonly source: GuestKind<QemuDefinition> = this.kind('source');
  readonly target: GuestKind<QemuDefinition> = this.kind('target');
  readonly #guests: HostedGuest[] = [];

  constructor(t: Test) {
    t.teardown(async () => {
      for (const guest of this.#guests) await guest.destroy();
      // What tests leave to be found by another agent.
      for (const kind of [this.kind('source'), this.kind('target')]) {
        for (const survivor of (await kind.survivors?.(() => undefined)) ?? []) await survivor.destroy();
      }
      const remains = this.remains();
      rmSync(this.directory, { recursive: true });
      if (remains.length > 0) throw new Error(`of the guests stayed behind: ${remains.join(' ')}`);
    });
  }

  /** A kind as another agent of that node would have it. */
  kind(node: string): GuestKind<QemuDefinition> {
    const config = AgentConfigSchema.parse({
      node,
      stateDirectory: join(this.directory, node),
      qemu: { allow: { ...ALLOW_ALL_FILES, arguments: ['-bios *', '-device pvpanic'] } },
    });
    return qemuKind(config, pino({ level: 'silent' }));
  }

  definition(fields: object = {}): QemuDefinition {
    const firmware = join(this.directory, 'firmware');
    if (!existsSync(firmware)) writeFileSync(firmware, alphabetFirmware());
    return QemuDefinitionSchema.parse({
      name: `web-${process.pid}`,
      kind: 'qemu',
      memory: '16MiB',
      accel: 'tcg',
      arguments: ['-bios', firmware, '-device', 'pvpanic'],
      ...fields,
    });
  }

  async boot(fields: object = {}): Promise<QemuGuest> {
    return this.keep(await this.source.boot(this.definition(fields), undefined));
  }

  /** A guest on the target, which waits for what `guest` is. */
  async incoming(guest: HostedGuest, migration = 'migration-1'): Promise<QemuGuest> {
    return await this.incomingTo(this.target, guest.definition as QemuDefinition, migration);
  }

  async incomingTo(
    kind: GuestKind<QemuDefinition>,
    definition: QemuDefinition,
    migration: string,
  ): Promise<QemuGuest> {
    return this.keep(await (await kind.incoming(definition, migration)).machine);
  }

  /** Has the guest destroyed at the end of the test. */
  keep(guest: HostedGuest): QemuGuest {
    this.#guests.push(guest);
    return guest as QemuGuest;
  }

  runDirectory(node: string, name = `web-${process.pid}`): string {
    return join(this.directory, node, 'run', name);
  }

  /** Files and processes of guests that there are. */
  remains(): string[] {
    const directories = ['source', 'target'].map((node) => join(this.directory, node, 'run'));
    const run = directories.flatMap((path) => (existsSync(path) ? readdirSync(path) : []));
    const ram = readdirSync('/dev/shm').filter((name) => name.includes(`:web-${process.pid}-`));
    return [...run, ...ram, ...this.#processes()];
  }

  #processes(): string[] {
    return readdirSync('/proc').filter((entry) => {
      if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return false;
      try {
        return readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(this.directory);
      } catch {
        return false;
      }
    });
  }
}

/** Copies all memory that is populated, as an engine would that sends everything once more. */
export async function copyMemory(from: HostedGuest, to: HostedGuest): Promise<void> {
  for (const { region, firstPage, pageCount } of await from.populated()) {
    const [start, end] = [firstPage * PAGE_SIZE, (firstPage + pageCount) * PAGE_SIZE];
    to.regions[region]!.memory.set(from.regions[region]!.memory.subarray(start, end), start);
  }
}

/** Moves a guest to one that waits for it, and returns how long it stood still, in ms. It does not resume it. */
export async function move(from: HostedGuest, to: HostedGuest): Promise<void> {
  const state = await savedState(from);
  await copyMemory(from, to);
  await to.loadState(arriving(state));
  await to.own?.();
}

/** All that is kept of a console. */
export function transcript(guest: HostedGuest): string {
  const { console } = guest;
  const parts: Uint8Array[] = [];
  for (let next = console.start; next < console.end;) {
    const part = console.read(next);
    parts.push(part);
    next += part.length;
  }
  return Buffer.concat(parts).toString('latin1');
}

/** Resolves once the guest has printed more than what is there now. */
export async function printsMore(guest: HostedGuest): Promise<void> {
  const { console } = guest;
  const before = console.end;
  let stop = () => undefined as void;
  await new Promise<void>((resolve) => {
    const look = () => {
      if (console.end > before) resolve();
    };
    stop = console.onOutput(look);
    look();
  });
  stop();
}

/** Where a text departs from the alphabet over and over, from wherever in it on; -1 if nowhere. */
export function firstBreak(text: string): number {
  const letter = (index: number) => text.charCodeAt(index) - 97;
  for (let index = 1; index < text.length; index += 1) {
    if (letter(index) !== (letter(index - 1) + 1) % 26) return index;
  }
  return -1;
}

/**
 * A firmware that prints the alphabet over and over on the serial port, and increments a byte of memory for each letter.
 * On a typed 'p' it panics. 16-bit code at F000:0000, which the reset vector jumps to.
 */
function alphabetFirmware(): Buffer {
  const firmware = Buffer.alloc(65_536, 0xf4);
  const code = [
    ...[0x31, 0xdb], //             xor bx, bx
    ...[0x8e, 0xdb], //             mov ds, bx
    ...[0xb0, 0x61], //             mov al, 'a'
    ...[0xba, 0xf8, 0x03], // next: mov dx, 0x3f8
    ...[0xee], //                   out dx, al
    ...[0xfe, 0x87, 0x00, 0x50], // inc byte [bx + 0x5000]
    ...[0x43], //                   inc bx
    ...[0xfe, 0xc0], //             inc al
    ...[0x3c, 0x7b], //             cmp al, 'z' + 1
    ...[0x75, 0x02], //             jne +2
    ...[0xb0, 0x61], //             mov al, 'a'
    ...[0xb9, 0xff, 0xff], //       mov cx, 0xffff
    ...[0xe2, 0xfe], //             loop $
    ...[0x88, 0xc4], //             mov ah, al
    ...[0xba, 0xfd, 0x03], //       mov dx, 0x3fd
    ...[0xec], //                   in al, dx
    ...[0xa8, 0x01], //             test al, 1
    ...[0x74, 0x0e], //             jz on
    ...[0xba, 0xf8, 0x03], //       mov dx, 0x3f8
    ...[0xec], //                   in al, dx
    ...[0x3c, 0x70], //             cmp al, 'p'
    ...[0x75, 0x06], //             jne on
    ...[0xb0, 0x01], //             mov al, 1
    ...[0xba, 0x05, 0x05], //       mov dx, 0x505
    ...[0xee], //                   out dx, al
    ...[0x88, 0xe0], //       on:   mov al, ah
    ...[0xeb, 0xce], //             jmp next
  ];
  firmware.set(code, 0);
  firmware.set([0xe9, 0x0d, 0x00], 0xfff0); // jmp 0
  return firmware;
}
