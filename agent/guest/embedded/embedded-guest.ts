import { setImmediate } from 'node:timers/promises';
import { MigrationError } from '../../../shared/errors.js';
import type { EmbeddedDefinition } from '../../../shared/guest-definition.js';
import { PAGE_SIZE, type Run } from '../../../shared/page.js';
import { unixNow } from '../../../shared/unix-clock.js';
import { formatBytes } from '../../../shared/units.js';
import type { GuestState, Region, StateSink, WriteLog } from '../guest.js';
import type { GuestConsole, HostedGuest } from '../hosted-guest.js';
import { wholeState } from '../whole-state.js';
import { zeroPieces } from '../zero-pages.js';
import { ConsoleTail } from './console-tail.js';
import { RAM_BASE } from './memory-map.js';
import { loadElf } from './elf.js';
import { MachineWorker } from './machine-worker.js';
import { buildProgram } from './programs/catalogue.js';
import type { Answer, Command, MachineCondition, Registers } from './worker-protocol.js';
import { takeWritten, writeMapBytes } from './write-maps.js';

/** Pages looked at between two turns of the event loop, so that a big guest does not hold up the agent. */
const SCAN_PAGES = 4096;

/** Positions in a guest's transcript are counts of bytes since it booted; see ConsoleTail. */
export type OutputListener = (position: number, data: Uint8Array) => void;

/**
 * The built-in machine as a guest: its memory shared with the worker thread that runs it. Beside what every guest
 * offers it has a console, and for the proofs its registers and count of instructions.
 */
export class EmbeddedGuest implements HostedGuest {
  readonly definition: EmbeddedDefinition;
  readonly image: Uint8Array | undefined;
  readonly writeLog: WriteLog;
  readonly console: GuestConsole;
  #regions: Region[];
  readonly #worker: MachineWorker;
  readonly #console = new ConsoleTail();
  readonly #changeListeners = new Set<() => void>();
  readonly #outputListeners = new Set<OutputListener>();
  #state: GuestState = 'paused';
  /** It ran before pauseForSwitchover(). */
  #resumeToSettle = false;
  /** Where its state goes. */
  #stateSink: StateSink | null = null;
  #exitCode: number | null = null;
  #failure: MigrationError | undefined;
  #destroyed = false;

  private constructor(
    definition: EmbeddedDefinition,
    image: Uint8Array | undefined,
    ram: SharedArrayBuffer,
    entry: number,
  ) {
    this.definition = definition;
    this.image = image;
    const name = 'ram';
    this.#regions = [{ name, memory: new Uint8Array(ram), handle: { name, buffer: ram } }];
    const mapBytes = writeMapBytes(definition.memory / PAGE_SIZE);
    const writeMaps = new SharedArrayBuffer(2 * mapBytes);
    const stopAt = definition.stopAtInstruction ?? null;
    this.#worker = new MachineWorker(
      definition.name,
      { ram, writeMaps, mapBytes, stopAt, entry },
      {
        output: (position, data) => this.#output(position, data),
        stopped: (condition) => this.#adopt(condition),
        failed: (error) => {
          this.#failure = error;
          this.#state = 'paused';
          this.#changed();
        },
      },
    );
    const maps = [0, 1].map((map) => new Uint8Array(writeMaps, map * mapBytes, mapBytes));
    this.writeLog = new StorePathLog((command) => this.#command(command), maps);
    this.console = consoleOf(this);
  }

  /**
   * A guest that has just been switched on, paused: resume() lets it run. `image` is the ELF executable of a
   * definition whose program is 'image'. Throws invalid-definition, invalid-image, target-out-of-memory.
   */
  static async boot(definition: EmbeddedDefinition, image?: Uint8Array): Promise<EmbeddedGuest> {
    const ram = allocate(definition);
    const memory = new Uint8Array(ram);
    let entry = RAM_BASE;
    if (definition.program === 'image') {
      entry = loadElf(requireImage(definition, image), memory);
    } else {
      memory.set(buildProgram(definition.program, definition.parameters, definition.memory));
    }
    return EmbeddedGuest.#start(new EmbeddedGuest(definition, image, ram, entry));
  }

  /**
   * A paused guest whose memory is all zero, for a migration to fill and to give a state. Throws
   * target-out-of-memory.
   */
  static async incoming(definition: EmbeddedDefinition, image?: Uint8Array): Promise<EmbeddedGuest> {
    return EmbeddedGuest.#start(new EmbeddedGuest(definition, image, allocate(definition), RAM_BASE));
  }

  static async #start(guest: EmbeddedGuest): Promise<EmbeddedGuest> {
    try {
      await guest.#worker.started();
      return guest;
    } catch (error) {
      await guest.destroy();
      throw error;
    }
  }

  get regions(): readonly Region[] {
    return this.#regions;
  }

  get state(): GuestState {
    return this.#state;
  }

  /** Why the guest is lost, if its thread has failed. */
  get failure(): MigrationError | null {
    return this.#failure ?? null;
  }

  /** What the guest powered itself off with, 0 for "pass"; null if it has not. */
  get exitCode(): number | null {
    return this.#exitCode;
  }

  figures(): Record<string, number | null> {
    return { retiredInstructions: this.retiredInstructions(), exitCode: this.#exitCode };
  }

  /** Instructions that it has executed since boot, wherever it ran; as of a moment ago while it runs. */
  retiredInstructions(): number {
    return this.#worker.retired();
  }

  /** The registers; of a running guest, those of some moment. */
  async registers(): Promise<Registers> {
    return (await this.#command({ type: 'registers' })).registers!;
  }

  async populated(): Promise<Run[]> {
    const runs: Run[] = [];
    const pages = this.definition.memory / PAGE_SIZE;
    for (let page = 0; page < pages;) {
      const chunkEnd = Math.min(page + SCAN_PAGES, pages);
      const memory = this.#memory();
      // A page that turns non-zero meanwhile is in the write-log by then.
      for (const { firstPage, pageCount, zero } of zeroPieces(memory, page, chunkEnd)) {
        if (zero) continue;
        const last = runs.at(-1);
        if (last && last.firstPage + last.pageCount === firstPage) {
          runs[runs.length - 1] = { ...last, pageCount: last.pageCount + pageCount };
        } else runs.push({ region: 0, firstPage, pageCount });
      }
      page = chunkEnd;
      await setImmediate();
    }
    return runs;
  }

  async pause(): Promise<void> {
    await this.#command({ type: 'pause' });
  }

  async pauseForSwitchover(state: StateSink): Promise<number> {
    // The machine stops when the command reaches it: counted from before that, the downtime is never told too short.
    const askedAt = unixNow();
    const ran = this.#state === 'running';
    await this.#command({ type: 'pause' });
    this.#resumeToSettle ||= ran;
    this.#stateSink = state;
    return askedAt;
  }

  async settle(): Promise<void> {
    if (this.#resumeToSettle) await this.resume();
  }

  async resume(): Promise<number> {
    this.#resumeToSettle = false;
    await this.#command({ type: 'resume' });
    return unixNow();
  }

  /** In one piece: it is some hundred bytes and the console's end. */
  async saveState(): Promise<void> {
    if (!this.#stateSink)
      throw new MigrationError('internal', 'a guest was not paused for its state to be saved');
    this.#stateSink((await this.#command({ type: 'save' })).state!);
  }

  async loadState(state: AsyncIterable<Uint8Array>): Promise<void> {
    const { console } = await this.#command({ type: 'load', state: await wholeState(state) });
    this.#console.load(console!.end, console!.tail);
  }

  async destroy(): Promise<void> {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#changeListeners.clear();
    this.#outputListeners.clear();
    await this.#worker.terminate();
    this.#regions = [];
  }

  // -- console

  /** Position of the oldest output that is kept. */
  get consoleStart(): number {
    return this.#console.start;
  }

  /** Position after the latest output: bytes printed since boot. */
  get consoleEnd(): number {
    return this.#console.end;
  }

  /** A copy of the output from `position` on, or from consoleStart if that is later. */
  readConsole(position: number): Uint8Array {
    return this.#console.read(position);
  }

  /** Queues input for the guest's UART. Rejects with limit-exceeded if more waits than is kept. */
  async sendInput(data: Uint8Array): Promise<void> {
    await this.#command({ type: 'input', data: Uint8Array.from(data) });
  }

  // -- events

  /** Calls `listener` with new output as it comes. Returns how to end that. */
  onOutput(listener: OutputListener): () => void {
    this.#outputListeners.add(listener);
    return () => this.#outputListeners.delete(listener);
  }

  /** Calls `listener` when `state` or `failure` has changed. Returns how to end that. */
  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener);
    return () => this.#changeListeners.delete(listener);
  }

  async #command(command: Command): Promise<Answer> {
    const answer = await this.#worker.command(command);
    this.#adopt(answer.condition);
    return answer;
  }

  #adopt({ running, exitCode }: MachineCondition): void {
    const state = exitCode >= 0 ? 'finished' : running ? 'running' : 'paused';
    this.#exitCode = exitCode >= 0 ? exitCode : null;
    if (state === this.#state) return;
    this.#state = state;
    this.#changed();
  }

  #changed(): void {
    for (const listener of [...this.#changeListeners]) listener();
  }

  #output(position: number, data: Uint8Array): void {
    this.#console.append(data);
    for (const listener of [...this.#outputListeners]) listener(position, data);
  }

  #memory(): Uint8Array {
    const region = this.#regions[0];
    if (!region) throw new MigrationError('guest-failed', `guest ${this.definition.name} is destroyed`);
    return region.memory;
  }
}

/** The write-log that the machine's stores keep; see Hart.logWrites. */
class StorePathLog implements WriteLog {
  readonly kind = 'store-path';
  readonly reason = "the built-in machine's own stores mark the pages that they write";
  readonly #command: (command: Command) => Promise<Answer>;
  readonly #maps: readonly Uint8Array[];
  /** A map that was taken must be empty before the machine gets it back: one harvest after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(command: (command: Command) => Promise<Answer>, maps: readonly Uint8Array[]) {
    this.#command = command;
    this.#maps = maps;
  }

  async start(): Promise<void> {
    await this.#command({ type: 'start-log' });
  }

  harvest(): Promise<Run[]> {
    const harvest = this.#last.then(async () => {
      const { map } = await this.#command({ type: 'harvest' });
      return takeWritten(this.#maps[map!]!);
    });
    this.#last = harvest.catch(() => undefined);
    return harvest;
  }

  async stop(): Promise<void> {
    await this.#command({ type: 'stop-log' });
  }
}

/** The guest's console as its node offers it. */
function consoleOf(guest: EmbeddedGuest): GuestConsole {
  return {
    get start() {
      return guest.consoleStart;
    },
    get end() {
      return guest.consoleEnd;
    },
    read: (position) => guest.readConsole(position),
    onOutput: (listener) => guest.onOutput(() => listener()),
    input: (data) => guest.sendInput(data),
  };
}

function allocate(definition: EmbeddedDefinition): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(definition.memory);
  } catch (error) {
    throw new MigrationError(
      'target-out-of-memory',
      `guest ${definition.name} needs ${formatBytes(definition.memory)} of memory, which this host does not give: ` +
        'stop other guests or use a host with more',
      { cause: error },
    );
  }
}

function requireImage(definition: EmbeddedDefinition, image: Uint8Array | undefined): Uint8Array {
  if (image) return image;
  throw new MigrationError(
    'invalid-definition',
    `guest ${definition.name} has program 'image' and no image came with it: give the ELF file`,
  );
}
